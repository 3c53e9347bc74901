"""A network of torchvision as an embedding: its features, what stays frozen, and weights that cannot be had."""

from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from network.patch_set import PatchSet
from network.torchvision_embed import TorchvisionEmbed
from process.errors import UserError

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A ResNet-18 of 7 classes, and a file of its weights."""
    network = resnet18(num_classes=7)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(network.state_dict(), path)
    network.fc = nn.Identity()
    return network.eval(), path


def test_features_are_those_of_the_network_with_these_weights(trained):
    network, path = trained
    embed = TorchvisionEmbed(1, 16, "resnet18", weights=str(path), resize=32)
    patches = torch.rand(3, 1, 16, 16)
    stretched = nn.functional.interpolate(patches, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = network((stretched.expand(-1, 3, -1, -1) - MEAN) / STD)
    assert embed.out_features == 512
    torch.testing.assert_close(embed(patches), expected)


def test_the_default_size_is_that_of_the_training():
    assert TorchvisionEmbed(3, 20, "resnet18", resize="default").resize == 224
    assert TorchvisionEmbed(3, 40, "resnet18").resize is None


def test_a_frozen_one_needs_no_gradient_and_keeps_batch_norm_in_evaluation(trained):
    before = trained[0].bn1.running_mean.clone()
    frozen, trains = (TorchvisionEmbed(3, 32, "resnet18", str(trained[1]), frozen=frozen) for frozen in (True, False))
    for embed, moves in ((frozen.train(), False), (trains.train(), True)):
        patches = torch.rand(2, 3, 32, 32, requires_grad=True)
        assert embed(patches).requires_grad is moves
        assert torch.equal(embed.trunk.bn1.running_mean, before) is not moves
        assert all(each.requires_grad is moves for each in embed.parameters())


def test_the_statistics_of_the_data_are_not_used():
    facts = {"patch_num_min": 2, "patch_num_max": 2, "seed": 0, "num_outputs": 3, "channels": 3}
    torch.manual_seed(0)
    network = PatchSet(
        **facts,
        image_size=[40, 40],
        mean=[0.3],
        std=[7.0],
        patch_size=32,
        embed=lambda **element: TorchvisionEmbed(**element, name="resnet18"),
        pool=lambda in_features: _Mean(in_features),
    )
    normalize, _ = network.embed
    pixels = torch.full((1, 3, 2, 2), 51, dtype=torch.uint8)
    torch.testing.assert_close(normalize(pixels), torch.full((1, 3, 2, 2), 0.2))


class _Mean(nn.Module):
    def __init__(self, in_features):
        super().__init__()
        self.out_features = in_features

    def forward(self, sets):
        return torch.stack([each.mean(0) for each in sets])


def test_what_cannot_be_built_is_named(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="no name='resnet19': choose resnet18"):
        TorchvisionEmbed(3, 32, "resnet19")
    with pytest.raises(ValueError, match="has no linear last layer"):
        TorchvisionEmbed(3, 32, "squeezenet1_0")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UserError, match="it is no file of tensors"):
        TorchvisionEmbed(3, 32, "resnet18", str(tmp_path / "text.pth"))
    with pytest.raises(UserError, match="No such file or directory: name a file of weights"):
        TorchvisionEmbed(3, 32, "resnet18", "nowhere.pth")
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no weights of resnet18: 100 of 120 are missing"):
        TorchvisionEmbed(3, 32, "resnet18", str(tmp_path / "other.pth"))

    def fails(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fails)
    with pytest.raises(UserError, match=r"cannot be had here .*no route to host.*: download https://.*weights=PATH"):
        TorchvisionEmbed(3, 32, "resnet18", "default")
