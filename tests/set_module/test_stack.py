"""Stack: depth layers with weights of their own, each as wide as the output of the one before."""

from functools import partial

import pytest
import torch
from torch import nn

from set_module.equivariant import EquivariantLayer
from set_module.set_batch import SetBatch
from set_module.stack import Stack


def test_layers_act_one_after_another():
    stack = Stack(4, partial(EquivariantLayer, out_features=6), depth=3)
    sets = SetBatch(torch.randn(5, 4), torch.tensor([2, 3]))
    assert len(stack) == 3
    assert stack.out_features == 6
    assert torch.equal(stack(sets).values, stack[2](stack[1](stack[0](sets))).values)


def test_every_layer_has_its_own_weights():
    stack = Stack(4, EquivariantLayer, depth=2)
    assert not torch.equal(stack[0][0].gamma.weight, stack[1][0].gamma.weight)


def test_a_width_is_that_of_all_layers():
    stack = Stack(4, EquivariantLayer, depth=2, width=6)
    sets = SetBatch(torch.randn(5, 4), torch.tensor([2, 3]))
    assert stack.out_features == 6
    assert torch.equal(stack(sets).values, stack[2](stack[1](sets.map(stack[0]))).values)


def test_a_norm_comes_last():
    stack = Stack(4, EquivariantLayer, depth=2, norm=nn.LayerNorm)
    sets = SetBatch(torch.randn(5, 4), torch.tensor([2, 3]))
    expected = torch.nn.functional.layer_norm(stack[1](stack[0](sets)).values, [4])
    torch.testing.assert_close(stack(sets).values, expected)


def test_refuses_no_layer_and_no_width():
    with pytest.raises(ValueError, match="width=0: choose >= 1"):
        Stack(4, EquivariantLayer, depth=1, width=0)
    with pytest.raises(ValueError, match="depth=0: choose >= 1, or encoder=none"):
        Stack(4, EquivariantLayer, depth=0)
