"""The residual block against its equation on each set."""

import torch
from torch.nn import functional as F

from set_module.residual import ResidualBlock
from set_module.set_batch import SetBatch

D = 4


def random_sets() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in (5, 1, 3)]


def build() -> ResidualBlock:
    torch.manual_seed(0)
    block = ResidualBlock(D).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return block


def test_equals_a_loop_over_the_sets_in_value_and_gradient():
    block, packed = build(), SetBatch.from_list(random_sets())
    packed.values.requires_grad_()
    ours = block(packed).values
    ours.square().sum().backward()

    norm_1, _, linear_1, norm_2, _, linear_2 = block.residual
    leaves = [s.clone().requires_grad_() for s in random_sets()]
    theirs = []
    for x in leaves:
        h = linear_1((F.layer_norm(x, x.shape) * norm_1.weight + norm_1.bias).relu())
        theirs.append(x + linear_2((F.layer_norm(h, h.shape) * norm_2.weight + norm_2.bias).relu()))
    torch.testing.assert_close(ours, torch.cat(theirs), rtol=1e-12, atol=1e-12)
    torch.cat(theirs).square().sum().backward()
    torch.testing.assert_close(packed.values.grad, torch.cat([s.grad for s in leaves]), rtol=1e-12, atol=1e-12)


def test_nothing_stands_on_the_path_of_the_identity():
    block, sets = build(), SetBatch.from_list(random_sets())
    with torch.no_grad():
        block.residual[-1].weight.zero_()
        block.residual[-1].bias.zero_()
    assert torch.equal(block(sets).values, sets.values)
