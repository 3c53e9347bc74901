"""Every reduction against a loop over the sets, in value and gradient."""

import pytest
import torch

from set_module.reduce import set_argmax, set_logsumexp, set_max, set_mean, set_min, set_std, set_sum
from set_module.set_batch import SetBatch
from set_module.softmax import set_softmax_sum

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
        grads = packed.with_values(packed.values.grad)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n", [2, 3, 7, 64, 1000])
def test_std_of_equal_elements_is_zero_in_value_and_gradient_whatever_they_are(n, dtype):
    values = 100 * torch.randn(1, 200, generator=torch.Generator().manual_seed(0))  # their mean is often rounded
    values[0, :6] = torch.tensor([0.1, 1 / 3, 1e-30, 1e4, 6e4, -0.7])
    values = values.to(dtype).repeat(n, 1).requires_grad_()
    std = set_std(SetBatch.from_list([values, values[:1]]))
    std.sum().backward()
    assert not std.any()
    assert not values.grad.any()


def relative_error(ours, exact):
    return float((ours.double() - exact).norm().detach() / exact.norm().detach())


NEAR = {
    "one rounding apart": [[1.0, 1 + 2**-23], [0.7, 0.70000005], [1e4, 1e4 + 2**-10]],
    "a few of many differ": [[3.3] * 60 + [3.3000002] * 4, [0.1] * 999 + [0.1 + 2**-26]],
    "the first is far from the others": [[1e4, *torch.linspace(-1, 1, 63).tolist()]],
    "far from 0": [[1e4, 1e4 + 1, 1e4 + 2, 1e4 + 3], [-1e6, -1e6 + 0.5, -1e6 + 0.125]],
}


@pytest.mark.parametrize("sample", NEAR.values(), ids=NEAR.keys())
def test_std_of_nearly_equal_elements_is_that_of_double_precision(sample):
    for elements in sample:
        values = torch.tensor(elements)[:, None].requires_grad_()
        exact = values.detach().double().requires_grad_()
        ours, theirs = set_std(SetBatch.from_list([values])), exact.std(0, correction=0)
        ours.sum().backward()
        theirs.sum().backward()
        assert relative_error(ours[0], theirs) < 1e-6
        assert relative_error(values.grad, exact.grad) < 1e-5


@pytest.mark.parametrize("reduction", [f for f in LOOP if f not in (set_max, set_min)], ids=lambda f: f.__name__)
def test_sums_of_long_sets_are_those_of_double_precision(reduction):
    generator = torch.Generator().manual_seed(0)
    lengths = (100, 1_000_000, 1, 513)
    sets = [torch.rand(n, 2, generator=generator) + torch.tensor([0.0, 5.0]) for n in lengths]
    sets[1][:, 0] = 0.1  # one running sum of it in fp32 is wrong by 1 %
    weight = torch.linspace(1, 2, 2 * len(sets)).view(-1, 2)
    results = []
    for each in (sets, [s.double() for s in sets]):
        leaves = [s.clone().requires_grad_() for s in each]
        reduced = reduction(SetBatch.from_list(leaves))
        if each is not sets:
            reduced = torch.stack([LOOP[reduction](leaf) for leaf in leaves])
        (reduced * weight).sum().backward()
        results.append((reduced, [leaf.grad.nan_to_num(0) for leaf in leaves]))
    (ours, our_grads), (exact, exact_grads) = results
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-12)
    for grad, exact_grad in zip(our_grads, exact_grads, strict=True):
        assert not exact_grad.any() or relative_error(grad, exact_grad) < 2e-5


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


@EVERY
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_integers_are_refused(reduction, dtype):
    with pytest.raises(TypeError, match=f"the elements are {dtype}: convert them first"):
        reduction(SetBatch.from_list([torch.ones(3, 2, dtype=dtype)]))


def test_argmax_is_the_first_largest_of_each_set_and_nan_stays_in_its_set():
    sets = SetBatch.from_list([*SAMPLES["ties"], torch.full((2, 2), torch.nan, dtype=torch.float64)])
    assert set_argmax(sets).tolist() == [[0, 0], [3, 3], [4, 4]]
    sets = SetBatch.from_list(random_sets())
    first = sets.lengths.cumsum(0) - sets.lengths
    expected = torch.stack([start + x.argmax(0) for start, x in zip(first, sets, strict=True)])
    assert torch.equal(set_argmax(sets), expected)
