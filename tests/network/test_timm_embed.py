"""A network of timm as an embedding: its features, timm's own data configuration, and what cannot be had."""

import pytest
import torch
from torch import nn

from network.timm_embed import TimmEmbed
from process.errors import UserError

timm = pytest.importorskip("timm", reason="the extra timm is not installed")

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
SMALL = "resnet10t"  # its input size is 176


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network of 7 classes without its last layer, and the folder of files of its weights."""
    from safetensors.torch import save_file

    network = timm.create_model(SMALL, num_classes=7)
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"state_dict": network.state_dict()}, folder / "network.pth")
    save_file(network.state_dict(), folder / "network.safetensors")
    network.reset_classifier(0)
    return network.eval(), folder


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize(("resize", "side"), [("default", 176), (32, 32), (None, 16)])
def test_features_are_those_of_the_network_with_these_weights(trained, ending, resize, side):
    network, folder = trained
    embed = TimmEmbed(1, 16, SMALL, weights=str(folder / f"network.{ending}"), resize=resize)
    patches = torch.rand(2, 1, 16, 16)
    stretched = patches
    if side != 16:  # timm trained it with bicubic interpolation
        stretched = nn.functional.interpolate(patches, (side, side), mode="bicubic", antialias=True)
    with torch.no_grad():
        expected = network((stretched.expand(-1, 3, -1, -1) - MEAN) / STD)
    assert embed.out_features == 512
    torch.testing.assert_close(embed(patches), expected)
    assert not any(each.requires_grad for each in embed.parameters())


@pytest.mark.parametrize(
    ("name", "mean", "size"), [("vit_tiny_patch16_224.augreg_in21k", 0.5, 224), ("resnet18.a1_in1k", 0.485, 224)]
)
def test_the_normalisation_is_that_of_the_training(name, mean, size):
    embed = TimmEmbed(3, 20, name, resize="default")
    assert embed.mean[0].item() == pytest.approx(mean)
    assert embed.resize == size


def test_one_that_trains_on(trained):
    embed = TimmEmbed(3, 32, SMALL, str(trained[1] / "network.pth"), resize=None, frozen=False).train()
    before = embed.trunk.state_dict()["bn1.running_mean"].clone()
    assert embed(torch.rand(2, 3, 32, 32)).requires_grad
    assert not torch.equal(embed.trunk.state_dict()["bn1.running_mean"], before)


def test_what_cannot_be_built_is_named(trained, tmp_path):
    for name in ("resnet19", "hf-hub:timm/resnet18.a1_in1k", f"local-dir:{tmp_path}"):
        with pytest.raises(ValueError, match=r"timm has no name=.*: choose "):
            TimmEmbed(3, 32, name)
    with pytest.raises(ValueError, match=r"name='resnet18\.nowhere': Invalid pretrained tag"):
        TimmEmbed(3, 32, "resnet18.nowhere")
    with pytest.raises(ValueError, match=r"takes no patches of 32 pixels \(.*\): set resize=224"):
        TimmEmbed(3, 32, "vit_tiny_patch16_224", resize=None)
    with pytest.raises(ValueError, match="resize='large': choose a number of pixels, default, which is 224, or null"):
        TimmEmbed(3, 32, "resnet18", resize="large")
    with pytest.raises(ValueError, match="channels=2: networks of timm take 1"):
        TimmEmbed(2, 32, SMALL)
    with pytest.raises(UserError, match=r"weights=.*network.pth: no weights of resnet18: \d+ of 120 are missing"):
        TimmEmbed(3, 32, "resnet18", str(trained[1] / "network.pth"))
    with pytest.raises(UserError, match="timm has no weights of botnet50ts_256: weights=PATH, or null"):
        TimmEmbed(3, 32, "botnet50ts_256", "default")


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    words = (
        r"weights=default: they cannot be had here \(.*\): download https://huggingface.co/timm/resnet10t.*weights=PATH"
    )
    with pytest.raises(UserError, match=words) as raised:
        TimmEmbed(3, 32, SMALL, "default")
    assert "\n" not in str(raised.value)


def test_without_the_library_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(UserError, match="timm is not installed, which model/embed=timm needs: uv pip install timm"):
        TimmEmbed(3, 32, SMALL)
