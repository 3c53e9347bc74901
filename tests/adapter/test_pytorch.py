"""Each private name of torch that we use is where it was, and does what we use it for."""

import torch
from torch import nn

from adapter import pytorch
from set_module.set_batch import SetBatch


def test_pytree_reaches_tensors_in_tuples_and_sets():
    sets = SetBatch(torch.ones(3, 2), torch.tensor([1, 2]))
    tensor, (doubled, none) = pytorch.map_tensors(lambda x: 2 * x, (torch.ones(1), (sets, None)))
    assert tensor.tolist() == [2.0]
    assert doubled.values.tolist() == [[2.0, 2.0]] * 3
    assert none is None


def test_conv_forward_takes_another_weight():
    conv, x = nn.Conv2d(2, 3, 3, stride=2, padding=1, padding_mode="reflect"), torch.randn(1, 2, 8, 8)
    assert torch.equal(pytorch.convolve(conv, x, conv.weight), conv(x))
    assert torch.equal(pytorch.convolve(conv, x, 0 * conv.weight), conv.bias[:, None, None].expand(1, 3, 4, 4))


def test_the_build_is_read_without_importing_torch():
    assert pytorch.build() == (torch.__version__, torch.version.cuda)
    if torch.version.cuda:
        assert pytorch.architectures() == torch._C._cuda_getArchFlags().split()
