import json
import re
import runpy
import sys

import numpy as np
import pytest
import torch
from configs import composed
from hydra.utils import instantiate
from runs import REPOSITORY, real_data
from tiny_mnist import write_idx

from set_module.set_batch import SetBatch

FILE = REPOSITORY / "docs" / "single_file.py"


@pytest.fixture(scope="module")
def page():
    return runpy.run_path(str(FILE))


def test_cuts_patches_out_of_their_images_from_corner_to_corner(page):
    torch.manual_seed(0)
    images = torch.arange(3 * 28 * 28).view(3, 28, 28)  # a pixel is its own address
    patches, index = page["cut"](images, 1, 2000)
    image, place = patches[:, 0, 0] // 784, patches[:, 0, 0] % 784
    assert torch.equal(image, index)
    assert (place // 28).unique().tolist() == (place % 28).unique().tolist() == list(range(14))
    inside = torch.arange(15)[:, None] * 28 + torch.arange(15)
    assert torch.equal(patches, patches[:, :1, :1] + inside)
    lengths = page["cut"](images[:1].expand(500, 28, 28), 2, 4)[1].bincount()
    assert lengths.unique().tolist() == [2, 3, 4]


def test_pools_each_set_by_itself(page):
    torch.manual_seed(0)
    features, index = torch.randn(6, 4), torch.tensor([2, 0, 2, 1, 0, 2])
    sets = [features[index == i] for i in range(3)]
    expected = torch.stack([torch.cat([x.mean(0), x.amax(0), x.std(0, correction=0)]) for x in sets])
    torch.testing.assert_close(page["pool"](features, index, 3), expected, rtol=0, atol=2e-4)


def test_the_network_is_that_of_the_bare_command(page):
    config = composed()
    torch.manual_seed(0)
    theirs = instantiate(config.model, _convert_="all").network
    ours = page["PatchSet"]()
    weights = dict(zip(ours.state_dict(), (p.detach() for p in theirs.parameters()), strict=True))
    ours.load_state_dict(weights)
    patches = torch.randint(256, (9, 15, 15), dtype=torch.uint8)
    index = torch.tensor([0, 0, 1, 2, 2, 2, 2, 2, 2])
    expected = theirs(SetBatch(patches[:, None], index.bincount()))
    torch.testing.assert_close(ours(patches, index, 3), expected, rtol=1e-3, atol=1e-3)
    order = torch.tensor([8, 2, 4, 0, 7, 1, 3, 6, 5])  # the order of the elements means nothing
    torch.testing.assert_close(ours(patches[order], index[order], 3), expected, rtol=1e-3, atol=1e-3)
    ours(patches, index, 3).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in ours.parameters())


def test_the_settings_are_those_of_the_bare_command(page):
    hparams = composed().hparams
    assert (page["BATCH"], page["LEARNING_RATE"]) == (hparams.batch_size, hparams.lr)
    assert (page["FEWEST"], page["MOST"], page["P"]) == (
        hparams.patch_num_min,
        hparams.patch_num_max,
        hparams.patch_size,
    )
    assert f'"--epochs", type=int, default={hparams.max_epochs}' in FILE.read_text()


@pytest.fixture
def part_of_mnist(tmp_path):
    """Write the first 10000 training and 2000 test images: with all of them, testing would take most of the time."""
    raw = real_data("MNIST/raw")
    for part, size in (("train", 10000), ("t10k", 2000)):
        for name, header, shape in (("images-idx3", 16, (-1, 28, 28)), ("labels-idx1", 8, (-1,))):
            content = np.fromfile(raw / f"{part}-{name}-ubyte", np.uint8, offset=header).reshape(shape)
            write_idx(tmp_path / "data/MNIST/raw" / f"{part}-{name}-ubyte", content[:size])
    return tmp_path / "data"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_is_as_accurate_as_train_py_after_a_few_images(page, part_of_mnist, train, command, monkeypatch, capsys):
    """Compare both after 40 steps, where a wrong rate or loss is visible; docs/accuracies.md has those of full runs."""
    monkeypatch.setenv("DATASET", str(part_of_mnist))
    monkeypatch.setattr(sys, "argv", ["single_file.py", "--images", "5000", "--epochs", "1"])
    page["main"]()
    ours = float(re.search(r"with 16 patches: ([\d.]+)", capsys.readouterr().out)[1])
    short = ("hparams.max_epochs=1", "data.limit_train=5000", "data.valid=100", "loggers=none", "callbacks=[basic]")
    folder = train(*short)
    assert command("evaluate", f"run={folder}", "sizes=[16]") == 0
    theirs = json.loads((folder / "evaluation.json").read_text())["sizes"]["test_accuracy/n=16"]
    assert ours == pytest.approx(theirs, abs=0.04)
