import pytest
import torch

from set_module.set_batch import SetBatch
from set_module.sort_pool import SortPool


def random_sets(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, dtype=torch.float64, generator=generator) for n in lengths]


def pool_of(pieces: int, knots: list[float] | None = None) -> SortPool:
    torch.manual_seed(1)
    pool = SortPool(3, pieces).double()
    if knots is not None:
        with torch.no_grad():
            pool.knots_KD.copy_(torch.tensor(knots, dtype=torch.float64)[:, None].expand(-1, 3))
    return pool


def loop(pool: SortPool, sets: list[torch.Tensor]) -> torch.Tensor:
    """Set by set, feature by feature, rank by rank: interpolated between the two nearest knots."""
    rows = []
    for elements in sets:
        n = len(elements)
        row = []
        for d in range(elements.shape[1]):
            total = torch.zeros((), dtype=elements.dtype)
            for i, element in enumerate(sorted(elements[:, d], key=torch.Tensor.item, reverse=True)):
                place = pool.pieces * i / max(n - 1, 1)
                left = min(int(place), pool.pieces - 1)
                low, high = pool.knots_KD[left, d], pool.knots_KD[left + 1, d]
                total = total + element * (low + (place - left) * (high - low))
            row.append(total)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("pieces", [1, 3, 20])
def test_equals_a_loop_over_the_sets_in_value_and_gradient(pieces):
    pool = pool_of(pieces)
    sets = [s.requires_grad_() for s in random_sets(5, 1, 3, 1, 30)]
    ours, theirs = pool(SetBatch.from_list(sets)), loop(pool, sets)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    direction = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).view_as(ours)
    inputs = (*sets, pool.knots_KD)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, direction), torch.autograd.grad(theirs, inputs, direction), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("knots", "statistic"),
    [
        ([1, 1, 1], lambda s: s.sum(0)),
        ([1, 0, 0], lambda s: s.amax(0)),
        ([0, 1, 0], lambda s: s.median(0).values),
        ([0, 0, 1], lambda s: s.amin(0)),
        ([1, 0, -1], lambda s: s.amax(0) - s.amin(0)),
    ],
    ids=["sum", "max", "median", "min", "range"],
)
def test_knots_make_the_statistics_of_three(knots, statistic):
    sets = random_sets(3, 3)
    pooled = pool_of(2, knots)(SetBatch.from_list(sets))
    torch.testing.assert_close(pooled, torch.stack([statistic(s) for s in sets]))


def test_a_set_of_one_is_weighted_by_the_first_knot():
    values = torch.tensor([[-2.0, 0.0, 3.0]], dtype=torch.float64)
    beside = random_sets(4)  # padding to 4 must not come before the negative one
    pooled = pool_of(2, [2, 5, 7])(SetBatch.from_list([values, *beside]))
    assert pooled[0].tolist() == [-4.0, 0.0, 6.0]


def test_ties_keep_the_whole_gradient():
    values = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)
    pool_of(2, [4, 2, 1])(SetBatch.from_list([values])).sum().backward()
    assert values.grad.sum(0).tolist() == [7.0, 7.0, 7.0]


@pytest.mark.parametrize("disturbance", [torch.nan, torch.inf, -torch.inf])
def test_infinities_and_nan_stay_in_their_set(disturbance):
    sets = random_sets(2, 5, 3)
    pool = pool_of(3)
    calm = pool(SetBatch.from_list(sets))
    sets[0][1] = disturbance
    disturbed = pool(SetBatch.from_list(sets))
    assert not disturbed[0].isfinite().any()
    assert torch.equal(disturbed[1:], calm[1:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_fp32(dtype):
    sets = SetBatch.from_list([torch.ones(1000, 3, dtype=dtype)])
    pooled = pool_of(4, [1, 1, 1, 1, 1]).to(dtype)(sets)
    assert torch.equal(pooled, torch.full((1, 3), 1000, dtype=dtype))


def test_pieces_below_one_are_refused():
    with pytest.raises(ValueError, match="pieces=0: choose >= 1"):
        SortPool(3, pieces=0)
