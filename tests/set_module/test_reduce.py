"""Every reduction against a loop over the sets, in value and gradient."""

import pytest
import torch

from set_module.reduce import set_logsumexp, set_max, set_mean, set_min, set_std, set_sum
from set_module.set_batch import SetBatch
from set_module.set_softmax import set_softmax_sum

LOOP = {
    set_sum: lambda s: s.sum(0),
    set_mean: lambda s: s.mean(0),
    set_max: lambda s: s.amax(0),
    set_min: lambda s: s.amin(0),
    set_std: lambda s: s.std(0, correction=0),
    set_logsumexp: lambda s: s.logsumexp(0),
    set_softmax_sum: lambda s: (s.softmax(0) * s).sum(0),
}
EVERY = pytest.mark.parametrize("reduction", LOOP, ids=lambda f: f.__name__)


def random_sets(lengths=(5, 1, 3, 1, 8)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 4, dtype=torch.float64, generator=generator) for n in lengths]


SAMPLES = {
    "normal": random_sets(),
    "negative": [-s.abs() - 1 for s in random_sets()],
    "relu, max often 0": [(s - 1).relu() for s in random_sets()],
    "ties": [
        torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, -1.0]]).double(),
        torch.tensor([[2.0, 2.0]]).double(),
    ],
    "far from 0": [1e6 + s for s in random_sets()],
}


@EVERY
@pytest.mark.parametrize("sets", SAMPLES.values(), ids=SAMPLES.keys())
def test_equals_a_loop_over_the_sets_in_value_and_gradient(reduction, sets):
    packed = SetBatch.from_list(sets)
    packed.values.requires_grad_()
    ours = reduction(packed)
    weight = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).view_as(ours)
    (ours * weight).sum().backward()

    leaves = [s.clone().requires_grad_() for s in sets]
    theirs = torch.stack([LOOP[reduction](s) for s in leaves])
    (theirs * weight).sum().backward()
    expected = torch.cat([s.grad for s in leaves])
    if reduction is set_std:  # where the std is 0, its gradient is NaN in torch (0 / 0) and 0 here
        expected = expected.nan_to_num(0)
    tolerance = 1e-8 if sets is SAMPLES["far from 0"] else 1e-12
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(packed.values.grad, expected, rtol=tolerance, atol=tolerance)


@EVERY
def test_gradcheck(reduction):
    packed = SetBatch.from_list(random_sets((3, 2, 4)))
    values = packed.values.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: reduction(packed.with_values(v)), values)


@EVERY
def test_order_means_nothing(reduction):
    sets = random_sets()
    generator = torch.Generator().manual_seed(1)
    shuffled = [s[torch.randperm(len(s), generator=generator)] for s in sets]
    ours, other = reduction(SetBatch.from_list(sets)), reduction(SetBatch.from_list(shuffled))
    if reduction in (set_max, set_min):
        assert torch.equal(ours, other)
    else:
        torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-12)


@EVERY
@pytest.mark.parametrize("disturbance", [torch.nan, torch.inf, 1e30])
def test_a_disturbed_set_changes_no_bit_of_another(reduction, disturbance):
    sets = random_sets()
    disturbed = [s + disturbance if i == 2 else s for i, s in enumerate(sets)]
    results = []
    for each in (sets, disturbed):
        packed = SetBatch.from_list(each)
        packed.values.requires_grad_()
        pooled = reduction(packed)
        pooled.sum().backward()
        grads = packed.with_values(packed.values.grad).to_list()
        results.append((pooled, grads))
    for i in (0, 1, 3, 4):
        assert torch.equal(results[0][0][i], results[1][0][i])
        assert torch.equal(results[0][1][i], results[1][1][i])


@EVERY
def test_a_batch_equals_its_sets_one_by_one(reduction):
    sets = random_sets()
    together = reduction(SetBatch.from_list(sets))
    for row, each in zip(together, sets, strict=True):
        assert torch.equal(row, reduction(SetBatch.from_list([each]))[0])


@EVERY
def test_nan_is_not_hidden(reduction):
    values = torch.tensor([[1.0], [torch.nan], [2.0]])
    assert reduction(SetBatch.from_list([values])).isnan().all()


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_fp32(reduction, dtype):
    values = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    ours = reduction(SetBatch.from_list([values]))
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, reduction(SetBatch.from_list([values.float()])).to(dtype), rtol=0, atol=0)
    ours.sum().backward()
    assert values.grad.dtype == dtype
    assert values.grad.isfinite().all()


def test_a_thousand_ones_in_bf16_are_a_thousand():
    ones = SetBatch.from_list([torch.ones(1000, 1, dtype=torch.bfloat16)])
    assert set_sum(ones).item() == 1000
    assert set_mean(ones).item() == 1


@pytest.mark.parametrize("reduction", [set_max, set_min], ids=lambda f: f.__name__)
def test_a_max_of_zero_has_its_whole_gradient(reduction):
    values = torch.tensor([[0.0], [0.0], [0.0]], requires_grad=True)
    reduction(SetBatch.from_list([values[:1], values[1:]])).sum().backward()
    assert values.grad.flatten().tolist() == [1.0, 0.5, 0.5]  # ties share, nothing is lost


def test_std_of_sets_without_spread_is_zero_in_value_and_gradient():
    values = torch.tensor([[3.0], [2.0], [2.0]], requires_grad=True)
    std = set_std(SetBatch.from_list([values[:1], values[1:]]))
    std.sum().backward()
    assert std.flatten().tolist() == [0.0, 0.0]
    assert values.grad.flatten().tolist() == [0.0, 0.0, 0.0]


def test_std_far_from_zero_does_not_cancel():
    values = 1e4 + torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    torch.testing.assert_close(set_std(SetBatch.from_list([values])), torch.tensor([[1.25**0.5]]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("reduction", [set_logsumexp, set_softmax_sum], ids=lambda f: f.__name__)
def test_exponentials_do_not_overflow(reduction):
    values = torch.tensor([[1e4, -1e4], [1e4, -1e4]], requires_grad=True)
    pooled = reduction(SetBatch.from_list([values]))
    torch.testing.assert_close(pooled, LOOP[reduction](values)[None])
    pooled.sum().backward()
    assert values.grad.flatten().tolist() == [0.5] * 4


def test_logsumexp_counts_infinities_as_torch_does():
    inf = torch.inf
    sets = [torch.tensor([[1.0, inf, -inf, inf], [2.0, 1.0, 1.0, -inf]]), torch.tensor([[-inf, inf, 0.0, 1.0]])]
    assert torch.equal(set_logsumexp(SetBatch.from_list(sets)), torch.stack([s.logsumexp(0) for s in sets]))
