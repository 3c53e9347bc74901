import pytest
import torch
from torch.nn import functional as F

from network.cnn import CNN


def build(widths: list[int]) -> CNN:
    return CNN(3, [9, 6], 4, mean=[0.5], std=[0.25], widths=widths)


def test_equals_its_layers_written_out():
    model = build([4, 5]).eval()
    images = torch.randint(256, (2, 3, 9, 6), dtype=torch.uint8)
    hidden = (images / 255 - 0.5) / 0.25
    for conv, _, norm, _ in model.features:
        hidden = F.max_pool2d(F.conv2d(hidden, conv.weight, padding=1), 2, ceil_mode=True)
        hidden = F.batch_norm(hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
    assert hidden.shape == (2, 5, 3, 2)
    torch.testing.assert_close(model(images), model.head[2](hidden.flatten(1)), rtol=1e-4, atol=1e-5)


def test_no_width_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        build([])
