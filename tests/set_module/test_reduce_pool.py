import warnings

import pytest
import torch

from set_module.reduce_pool import REDUCTIONS, ReducePool
from set_module.set_batch import SetBatch


@pytest.fixture
def published():
    """The aggregators of torch_geometric."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit, at import
        from torch_geometric.nn import aggr
    return aggr


def random_sets(*lengths: int) -> SetBatch:
    generator = torch.Generator().manual_seed(0)
    return SetBatch.from_list([torch.randn(n, 6, dtype=torch.float64, generator=generator) for n in lengths])


def test_reductions_stand_side_by_side_in_their_order():
    values = torch.tensor([[1.0, -1.0], [3.0, -5.0], [7.0, 7.0]])
    pool = ReducePool(in_features=2, reductions=["max", "sum", "min", "mean", "std"])
    pooled = pool(SetBatch(values, torch.tensor([2, 1])))
    assert pool.out_features == 10
    expected = [[3, -1, 4, -6, 1, -5, 2, -3, 1, 2], [7, 7, 7, 7, 7, 7, 7, 7, 0, 0]]
    torch.testing.assert_close(pooled, torch.tensor(expected, dtype=torch.float))


@pytest.mark.parametrize(
    ("name", "sum_scale", "aggregation"),
    [
        ("sum", None, "SumAggregation"),
        ("sum", "sqrt", "VariancePreservingAggregation"),
        ("mean", None, "MeanAggregation"),
        ("max", None, "MaxAggregation"),
        ("min", None, "MinAggregation"),
        ("std", None, "StdAggregation"),
        ("softmax", None, "SoftmaxAggregation"),
    ],
)
def test_agrees_with_the_published_aggregation_in_value_and_gradient(published, name, sum_scale, aggregation):
    sets = random_sets(5, 1, 3, 64)
    values = sets.values.requires_grad_()
    ours = ReducePool(6, [name], sum_scale)(sets)
    theirs = getattr(published, aggregation)()(values, sets.index)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    direction = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).view_as(ours)
    (our_grad,), (their_grad,) = (torch.autograd.grad(pooled, values, direction) for pooled in (ours, theirs))
    torch.testing.assert_close(our_grad, their_grad, rtol=1e-5, atol=1e-5)


def test_a_number_scales_the_sum_and_nothing_else():
    sets = random_sets(5, 1, 3)
    names = list(REDUCTIONS)
    plain, scaled = (ReducePool(6, names, scale)(sets).chunk(len(names), dim=1) for scale in (None, 1 / 3))
    for name, one, other in zip(names, plain, scaled, strict=True):
        torch.testing.assert_close(other, one / 3 if name == "sum" else one, rtol=1e-12, atol=1e-12)


def test_the_scaled_sum_of_equal_variances_has_that_variance():
    generator = torch.Generator().manual_seed(0)
    sets = SetBatch.from_list([torch.randn(n, 20_000, generator=generator) for n in (1, 7, 50)])
    torch.testing.assert_close(ReducePool(20_000, ["sum"], "sqrt")(sets).var(1), torch.ones(3), rtol=0.05, atol=0)


def test_the_sum_is_scaled_before_it_is_infinite_in_half_precision():
    sets = SetBatch.from_list([torch.full((1000, 1), 100.0, dtype=torch.float16)])
    assert ReducePool(1, ["sum"], 0.001)(sets).item() == pytest.approx(100, rel=1e-3)
    assert ReducePool(1, ["sum"], "sqrt")(sets).item() == pytest.approx(1000**0.5 * 100, rel=1e-3)


def test_works_under_autocast():
    pool = ReducePool(2, list(REDUCTIONS), "sqrt")
    values = torch.randn(5, 2, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        pool(SetBatch(values, torch.tensor([4, 1]))).float().sum().backward()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("reductions", [["mean", "median"], ["Max"]])
def test_unknown_reduction_is_refused_with_the_valid_ones(reductions):
    with pytest.raises(ValueError, match="choose from sum, mean, max, min, std, logsumexp, softmax"):
        ReducePool(2, reductions)


@pytest.mark.parametrize("reductions", [[], "mean"])
def test_a_list_of_at_least_one_is_asked_for(reductions):
    with pytest.raises(ValueError, match="give a list of at least one"):
        ReducePool(2, reductions)


@pytest.mark.parametrize("sum_scale", ["n", "", 0, -1.0, torch.inf, torch.nan, True, False])
def test_other_scales_are_refused(sum_scale):
    with pytest.raises(ValueError, match="give null, sqrt or a number > 0"):
        ReducePool(2, ["sum"], sum_scale)


def test_a_scale_without_a_sum_is_refused():
    with pytest.raises(ValueError, match="add sum to the reductions"):
        ReducePool(2, ["mean"], "sqrt")
