"""SetNorm against layer_norm of each set as a whole."""

import pytest
import torch
from torch.nn import functional as F

from set_module.set_batch import SetBatch
from set_module.set_norm import SetNorm

D = 4


def random_sets(lengths=(5, 1, 3, 1, 8)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in lengths]


def build() -> SetNorm:
    norm = SetNorm(D).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -1, 2, 3]))
        norm.bias.copy_(torch.tensor([1, 0, -2, 4]))
    return norm


SAMPLES = {
    "normal": random_sets(),
    "far from 0": [1e4 + s for s in random_sets()],
    "without spread": [torch.ones(n, D).double() for n in (3, 1)],
    "zero": [torch.zeros(n, D).double() for n in (3, 1)],
}


@pytest.mark.parametrize("sets", SAMPLES.values(), ids=SAMPLES.keys())
def test_equals_a_loop_over_the_sets_in_value_and_gradient(sets):
    norm, packed = build(), SetBatch.from_list(sets)
    packed.values.requires_grad_()
    ours = norm(packed).values
    leaves = [s.clone().requires_grad_() for s in sets]
    theirs = torch.cat([F.layer_norm(s, s.shape, eps=1e-5) * norm.weight + norm.bias for s in leaves])
    tolerance = 1e-10 if sets is SAMPLES["far from 0"] else 1e-12
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)

    weight = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).view_as(ours)
    gradients = torch.autograd.grad((ours * weight).sum(), [packed.values, norm.weight, norm.bias])
    expected = torch.autograd.grad((theirs * weight).sum(), [*leaves, norm.weight, norm.bias])
    expected = (torch.cat(expected[:-2]), *expected[-2:])
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=100 * tolerance, atol=100 * tolerance)


def test_every_set_has_mean_0_and_variance_1_before_it_is_scaled():
    for each in SetNorm(D).double()(SetBatch.from_list(random_sets())):
        torch.testing.assert_close(each.mean(), torch.zeros_like(each.mean()), rtol=0, atol=1e-12)
        torch.testing.assert_close(each.var(correction=0), torch.ones_like(each.mean()), rtol=1e-3, atol=0)


def test_keeps_what_tells_the_elements_apart():
    """SetNorm keeps the scale of an element, where layer_norm would make x and 2 x equal."""
    (small, large) = SetNorm(2)(SetBatch.from_list([torch.tensor([[1.0, -1.0], [2.0, -2.0]])])).values
    torch.testing.assert_close(large, 2 * small)


def test_sets_of_k_vectors_each_are_sets():
    norm, x = build(), torch.randn(3, 5, D, dtype=torch.float64)
    packed = norm(SetBatch(x.flatten(0, 1), torch.tensor([5, 5, 5]))).values
    torch.testing.assert_close(norm.of_vectors(x).flatten(0, 1), packed, rtol=1e-12, atol=1e-12)


def test_far_from_zero_does_not_cancel():
    values = 1e4 + torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    ours = SetNorm(1)(SetBatch.from_list([values])).values
    torch.testing.assert_close(ours, (values - 1e4 - 1.5) / 1.25**0.5, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_fp32(dtype):
    values = (100 * torch.randn(1000, D, generator=torch.Generator().manual_seed(0))).to(dtype)  # squares sum to 4e7
    norm = SetNorm(D)
    ours = norm.to(dtype)(SetBatch.from_list([values])).values
    assert ours.dtype == dtype
    theirs = norm.float()(SetBatch.from_list([values.float()])).values
    torch.testing.assert_close(ours, theirs.to(dtype), rtol=0, atol=0)
