import pytest
import torch

from set_module.set_batch import SetBatch
from set_module.transport_pool import TransportPool

D, P = 3, 4


def build(**settings) -> TransportPool:
    torch.manual_seed(0)
    return TransportPool(D, references=P, **settings).double()


def random_sets(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in lengths]


def test_equals_sinkhorns_algorithm_on_each_set():
    pool, sets = build(iterations=3), random_sets(5, 1, 7)
    for pooled, x in zip(pool(SetBatch.from_list(sets)), sets, strict=True):
        kernel = (x @ pool.references_pD.T / pool.eps).exp()
        v = torch.ones(P, dtype=torch.float64)
        for _ in range(3):
            u = 1 / len(x) / (kernel @ v)
            v = 1 / P / (kernel.T @ u)
        plan = u[:, None] * kernel * v
        torch.testing.assert_close(pooled, 2 * (plan.T @ x).flatten(), rtol=1e-10, atol=1e-12)  # sqrt(4)


def test_the_plan_has_both_sums_after_convergence():
    sets = SetBatch.from_list(random_sets(5, 1, 7))
    for plan in build(iterations=300).plan(sets):
        torch.testing.assert_close(plan.sum(0), torch.full((P,), 1 / P, dtype=torch.float64))
        torch.testing.assert_close(plan.sum(1), torch.full((len(plan),), 1 / len(plan), dtype=torch.float64))


@pytest.mark.parametrize("settings", [{"references": 0}, {"iterations": 0}, {"eps": 0.0}], ids=str)
def test_what_does_not_fit_is_refused(settings):
    with pytest.raises(ValueError, match="choose >= 1, >= 1 and > 0"):
        TransportPool(D, **settings)
