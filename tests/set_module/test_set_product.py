import pytest
import torch
from torch import Tensor

from set_module import set_product
from set_module.set_batch import SetBatch
from set_module.set_product import set_products, set_weighted_sum

H, D = 2, 3
SIZES = {"sum": (4, 1, 2), "product for each set": (4, 1, 2), "one product": (3, 3)}
every_way = pytest.mark.parametrize("way", SIZES)


@pytest.fixture
def sets_of(monkeypatch):
    """Return a function that makes sets [N, D] of sizes that are served in a certain way."""

    def make(way: str) -> SetBatch:
        monkeypatch.setattr(set_product, "LARGE", 0 if way == "product for each set" else 10**9)
        generator = torch.Generator().manual_seed(0)
        lengths = SIZES[way]
        return SetBatch(torch.randn(sum(lengths), D, dtype=torch.float64, generator=generator), lengths)

    return make


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


@every_way
def test_a_weighted_sum_is_that_of_each_set(sets_of, way):
    sets = sets_of(way)
    weights = sets.with_values(random(len(sets.index), H))
    expected = torch.stack([w.T @ x for w, x in zip(weights, sets, strict=True)])
    torch.testing.assert_close(set_weighted_sum(weights, sets.values), expected, rtol=1e-12, atol=1e-12)


@every_way
def test_products_are_those_with_the_vectors_of_the_set(sets_of, way):
    sets = sets_of(way)
    vectors = random(len(sets), H, D)
    expected = torch.cat([x @ v.T for x, v in zip(sets, vectors, strict=True)])
    torch.testing.assert_close(set_products(sets, vectors), expected, rtol=1e-12, atol=1e-12)


@every_way
def test_first_and_second_derivatives(sets_of, way):
    sets = sets_of(way)
    x, w, v = sets.values.requires_grad_(), random(len(sets.index), H), random(len(sets), H, D)
    for function, inputs in (
        (lambda w, x: set_weighted_sum(sets.with_values(w), x), (w, x)),
        (lambda x, v: set_products(sets.with_values(x), v), (x, v)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@every_way
def test_half_precision_is_accumulated_in_fp32_also_under_autocast(sets_of, way):
    sets = sets_of(way)
    ones = sets.with_values(torch.ones(len(sets.index), 1) / 3)
    with torch.autocast("cpu", torch.bfloat16):
        sums = set_weighted_sum(ones, sets.values.bfloat16())
        products = set_products(sets.map(Tensor.bfloat16), torch.full((len(sets), 1, D), 1 / 3))
    assert sums.dtype == products.dtype == torch.float32
    exact = sets.values.bfloat16().double()
    torch.testing.assert_close(sums[0, 0].double(), exact[: SIZES[way][0]].sum(0) / 3, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(products[:, 0].double(), exact.sum(1) / 3, rtol=1e-5, atol=1e-6)
