from itertools import permutations, product

import pytest
import torch

from set_module.janossy_pool import JanossyPool
from set_module.set_batch import SetBatch

D = 3


def build(k: int) -> JanossyPool:
    torch.manual_seed(0)
    return JanossyPool(D, k=k, hidden=4, width=5).double()


def random_sets(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in lengths]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_equals_the_mean_over_all_tuples_in_value_and_gradient(k):
    pool, sets = build(k), [x.requires_grad_() for x in random_sets(4, 1, 2)]
    V, b = pool.places.weight.unflatten(0, (k, 4)), pool.places.bias.unflatten(0, (k, 4)).sum(0)
    expected = []
    for x in sets:
        tuples = permutations(range(len(x)), k) if len(x) >= k else product(range(len(x)), repeat=k)
        outputs = [pool.out((sum(V[j] @ x[i] for j, i in enumerate(each)) + b).relu()) for each in tuples]
        expected.append(torch.stack(outputs).mean(0))
    ours, theirs = pool(SetBatch.from_list(sets)), torch.stack(expected)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    inputs = (*sets, *pool.parameters())
    gradients = (torch.autograd.grad(each.square().sum(), inputs) for each in (ours, theirs))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_the_order_means_nothing_and_a_batch_equals_its_sets():
    pool, sets = build(2), random_sets(6, 1, 3)
    together = pool(SetBatch.from_list(sets))
    torch.testing.assert_close(pool(SetBatch.from_list([x.flip(0) for x in sets])), together)
    torch.testing.assert_close(torch.cat([pool(SetBatch.from_list([x])) for x in sets]), together)


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="k=0: choose >= 1"):
        build(0)
