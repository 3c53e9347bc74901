import pytest
import torch

from set_module.latent_pool import LatentPool
from set_module.set_batch import SetBatch


def test_rounds_after_the_second_share_its_weights():
    torch.manual_seed(0)
    pool = LatentPool(4, latents=3, heads=2, depth=1, rounds=3).double()
    sets = SetBatch.from_list([torch.randn(n, 4, dtype=torch.float64) for n in (5, 1)])
    z = pool.latents_kD
    for number in (0, 1, 1):
        z = pool.read[number](z, sets)
        z = pool.relate[number][0](z, z)
    torch.testing.assert_close(pool(sets), pool.norm(z).mean(1))
    for weights in pool.weights(sets):
        torch.testing.assert_close(weights.sum(0), torch.ones(6, dtype=torch.float64))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="latents=0, rounds=2, depth=2: choose latents and rounds >= 1"):
        LatentPool(4, latents=0)
