"""The weights and errors of PMA; test_mab.py compares its output with the published one."""

import pytest
import torch

from set_module.pma import PMA
from set_module.set_batch import SetBatch

D, H, K = 8, 2, 3
LENGTHS = (5, 1, 3)


def random_sets() -> SetBatch:
    values = torch.randn(sum(LENGTHS), D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return SetBatch(values, torch.tensor(LENGTHS))


@pytest.mark.parametrize("norm", ["post", "pre", "set", "none"])
def test_weights_sum_to_one_over_each_set_for_each_seed_and_head(norm):
    weights = PMA(D, H, K, norm=norm).double().weights(random_sets())
    assert weights.values.shape == (sum(LENGTHS), K * H)
    assert (weights.values > 0).all()
    for each in weights:
        torch.testing.assert_close(each.sum(0), torch.ones(K * H, dtype=torch.float64))


@pytest.mark.parametrize("norm", ["post", "pre", "none"])  # of a set norm, every element is part
def test_elements_without_weight_may_be_left_out_and_no_others(norm):
    torch.manual_seed(0)
    pma, sets = PMA(D, heads=1, norm=norm).double(), random_sets()
    with torch.no_grad():
        pma.mab.attention.project.weight[: 2 * D] *= 100  # so sharp that most weights are 0
    for elements, weights in zip(sets, pma.weights(sets), strict=True):
        pooled = pma(SetBatch.from_list([elements]))
        kept = weights[:, 0] > 1e-14
        torch.testing.assert_close(pma(SetBatch.from_list([elements[kept]])), pooled, rtol=1e-12, atol=1e-12)
        if len(elements) > 1:
            assert not kept.all()
            without_largest = torch.arange(len(elements)) != weights[:, 0].argmax()
            assert not torch.allclose(pma(SetBatch.from_list([elements[without_largest]])), pooled, rtol=1e-3)


def test_refuses_no_seeds():
    with pytest.raises(ValueError, match="seeds=0: give at least one seed"):
        PMA(D, H, seeds=0)
