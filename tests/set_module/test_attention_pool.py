import warnings

import pytest
import torch
from torch import nn

from set_module.attention_pool import AttentionPool
from set_module.set_batch import SetBatch

EITHER = pytest.mark.parametrize("gated", [False, True], ids=["tanh", "gated"])


@pytest.fixture
def published():
    """AttentionalAggregation of torch_geometric."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit, at import
        from torch_geometric.nn.aggr import AttentionalAggregation
    return AttentionalAggregation


def random_sets(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 6, dtype=torch.float64, generator=generator) for n in lengths]


def pool_of(heads: int = 1, gated: bool = False) -> AttentionPool:
    torch.manual_seed(1)
    return AttentionPool(6, hidden=4, heads=heads, gated=gated).double()


def loop(pool: AttentionPool, sets: list[torch.Tensor]) -> torch.Tensor:
    """Compute eq. 7 to 9 of the paper for each set, head and element in turn."""
    V, b, w = pool.hidden.weight, pool.hidden.bias, pool.score.weight
    rows = []
    for elements in sets:
        parts = []
        for head in range(len(w)):
            scores = []
            for h in elements:
                hidden = torch.tanh(V @ h + b)
                if pool.gate is not None:
                    hidden = hidden * torch.sigmoid(pool.gate.weight @ h + pool.gate.bias)
                scores.append(torch.exp(w[head] @ hidden))
            parts.append(sum(s / sum(scores) * h for s, h in zip(scores, elements, strict=True)))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@EITHER
@pytest.mark.parametrize("heads", [1, 3])
def test_equals_a_loop_over_the_sets_in_value_and_gradient(heads, gated):
    pool = pool_of(heads, gated)
    sets = [s.requires_grad_() for s in random_sets(5, 1, 3)]
    ours, theirs = pool(SetBatch.from_list(sets)), loop(pool, sets)
    assert ours.shape == (3, pool.out_features)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    direction = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).view_as(ours)
    inputs = (*sets, *pool.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, inputs, direction), torch.autograd.grad(theirs, inputs, direction), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_agrees_with_the_published_aggregation_with_the_same_weights(published):
    pool = pool_of()
    gate = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1, bias=False)).double()
    gate[0].load_state_dict(pool.hidden.state_dict())
    gate[2].load_state_dict(pool.score.state_dict())
    sets = SetBatch.from_list(random_sets(5, 1, 3, 40))
    torch.testing.assert_close(pool(sets), published(gate)(sets.values, sets.index), rtol=1e-5, atol=1e-5)


@EITHER
def test_weights_are_those_that_forward_uses(gated):
    pool = pool_of(heads=2, gated=gated)
    sets = SetBatch.from_list(random_sets(5, 1, 3))
    weights = pool.weights(sets)
    for pooled, elements, w in zip(pool(sets), sets, weights, strict=True):
        torch.testing.assert_close(w.sum(0), torch.ones(2, dtype=torch.float64))
        torch.testing.assert_close(pooled, (w.T @ elements).flatten())


def test_equal_scores_make_the_mean():
    pool = pool_of()
    nn.init.zeros_(pool.score.weight)
    sets = random_sets(5, 1, 3)
    torch.testing.assert_close(pool(SetBatch.from_list(sets)), torch.stack([s.mean(0) for s in sets]))


@EITHER
def test_a_set_of_one_is_its_element(gated):
    (element,) = random_sets(1)
    pooled = pool_of(heads=3, gated=gated)(SetBatch.from_list([element]))
    torch.testing.assert_close(pooled, element.repeat(1, 3))


def test_half_precision_is_weighted_in_fp32():
    pool = pool_of().bfloat16()
    sets = SetBatch.from_list([torch.ones(1000, 6, dtype=torch.bfloat16)])
    assert pool.weights(sets).values.dtype == torch.float32
    assert torch.equal(pool(sets), torch.ones(1, 6, dtype=torch.bfloat16))


@pytest.mark.parametrize("sizes", [{"hidden": 0}, {"hidden": 4, "heads": 0}])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match="=0: choose >= 1"):
        AttentionPool(6, **sizes)
