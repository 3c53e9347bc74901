import pytest
import torch
from torchvision.models import vgg11, vgg11_bn

from network.vgg import VGG11


@pytest.mark.parametrize(("batch_norm", "published"), [(False, vgg11), (True, vgg11_bn)], ids=["plain", "bn"])
@pytest.mark.parametrize("size", [(32, 32), (64, 96)], ids=["32x32", "64x96"])
def test_features_equal_torchvisions(batch_norm, published, size):
    with torch.device("meta"):
        theirs = published(weights=None, init_weights=False).features
    ours = VGG11(3, size, 10, mean=[0.5], std=[0.25], batch_norm=batch_norm).double().eval()
    theirs = theirs.to_empty(device="cpu").double().eval()
    theirs.load_state_dict(ours.features.state_dict())
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(images)
        assert expected.abs().max() > 0
        torch.testing.assert_close(ours.features(images), expected, rtol=1e-10, atol=1e-12)


def test_glorot_initialisation_with_zero_biases():
    torch.manual_seed(0)
    model = VGG11(3, [32, 32], 10, mean=[0.5], std=[0.25], batch_norm=False)
    last = model.features[18]
    assert last.weight.std().item() == pytest.approx((2 / (9 * 512 + 9 * 512)) ** 0.5, rel=0.01)
    assert not last.bias.any()
