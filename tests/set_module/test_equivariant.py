"""The equivariant layers against their matrices, and their invariances."""

import pytest
import torch

from set_module.equivariant import EquivariantLayer, EquivariantLinear
from set_module.set_batch import SetBatch

D, OUT = 4, 3
POOL = {"mean": lambda s: s.mean(0), "max": lambda s: s.amax(0)}
EVERY = pytest.mark.parametrize("tied", [False, True], ids=["two matrices", "tied"])
POOLS = pytest.mark.parametrize("pool", POOL)


def random_sets(lengths=(5, 1, 3, 1, 8)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in lengths]


SAMPLES = {
    "normal": random_sets(),
    "negative": [-s.abs() - 1 for s in random_sets()],
    "ties": [torch.tensor([[1.0, 0, 2, 0], [1.0, 0, 2, -1]]).double(), torch.zeros(3, D).double()],
}


@EVERY
@POOLS
@pytest.mark.parametrize("sets", SAMPLES.values(), ids=SAMPLES.keys())
def test_equals_a_loop_over_the_sets_in_value_and_gradient(pool, tied, sets):
    torch.manual_seed(0)
    layer = EquivariantLinear(D, OUT, pool, tied).double()
    gamma = layer.gamma.weight
    lambda_ = gamma if tied else layer.lambda_.weight
    packed = SetBatch.from_list(sets)
    packed.values.requires_grad_()
    ours = layer(packed).values

    leaves = [s.clone().requires_grad_() for s in sets]
    theirs = torch.cat([s @ gamma.T - lambda_ @ POOL[pool](s) + layer.gamma.bias for s in leaves])
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)

    weight = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).view_as(ours)
    gradients = torch.autograd.grad((ours * weight).sum(), [packed.values, *layer.parameters()])
    expected = torch.autograd.grad((theirs * weight).sum(), [*leaves, *layer.parameters()])
    torch.testing.assert_close(gradients[0], torch.cat(expected[: len(sets)]), rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients[1:], expected[len(sets) :], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_with_the_mean_it_is_a_matrix_of_equal_entries_off_the_diagonal():
    """Theta has the form that the paper proves to be the only one (its theorem 3): Theta = lambda 1 + gamma (1 1^T)."""
    layer, (elements,) = EquivariantLinear(1, 1, "mean").double(), random_sets((4,))
    column = elements[:, :1]
    bias = layer.gamma.bias.detach()
    theta = torch.cat(
        [layer(SetBatch.from_list([unit[:, None]])).values - bias for unit in torch.eye(4).double()], dim=1
    )
    torch.testing.assert_close(theta.diag(), theta[0, 0].expand(4))
    off_diagonal = theta[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(off_diagonal, off_diagonal[0].expand(12))
    torch.testing.assert_close(layer(SetBatch.from_list([column])).values, theta @ column + bias)


@POOLS
def test_tied_sees_differences_only(pool):
    layer, sets = EquivariantLinear(D, OUT, pool, tied=True).double(), SetBatch.from_list(random_sets())
    torch.testing.assert_close(layer(sets.map(lambda x: x + 7)).values, layer(sets).values)
    alone = layer(SetBatch.from_list(random_sets((1,)))).values
    assert torch.equal(alone, layer.gamma.bias[None])


@POOLS
def test_the_layer_is_the_positive_part(pool):
    torch.manual_seed(0)
    layer, sets = EquivariantLayer(D, OUT, pool).double(), SetBatch.from_list(random_sets())
    linear = EquivariantLinear(D, OUT, pool).double()
    linear.load_state_dict(layer[0].state_dict())
    assert layer.out_features == OUT
    assert torch.equal(layer(sets).values, linear(sets).values.clamp(min=0))


@EVERY
@POOLS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_in_half_precision_and_near_fp32(pool, tied, dtype):
    layer = EquivariantLinear(D, OUT, pool, tied).to(dtype)
    sets = SetBatch.from_list([s.to(dtype) for s in random_sets((5, 1, 1000))])
    ours = layer(sets).values
    assert ours.dtype == dtype
    theirs = layer.float()(sets.map(torch.Tensor.float)).values
    torch.testing.assert_close(ours.float(), theirs, rtol=0.03, atol=0.03)


def test_refuses_another_pool():
    with pytest.raises(ValueError, match="no such pool: 'sum'; choose from mean, max"):
        EquivariantLinear(D, pool="sum")
