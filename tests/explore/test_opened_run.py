"""A run as it is opened, and what is measured of it, against evaluate's own way."""

import json
import os

import pytest
import torch

from command import cli
from explore.measured import logits, some
from explore.numbers_view import recorded
from explore.opened_run import OpenedRun, data_key, open_data, open_network, read_config
from process.errors import UserError


@pytest.fixture
def opened(run_of):
    cli.register_resolvers()

    def run(comment):
        folder = run_of(comment)
        config = read_config(folder)
        source, names = open_data(config)
        return OpenedRun(folder, "", open_network(folder, config), source, names)

    return run


def test_what_kind_of_network_it_is(opened):
    patches, cnn = opened("patches"), opened("cnn")
    assert (patches.cuts, patches.chooses, patches.bags) == (True, True, False)
    assert (cnn.cuts, cnn.chooses, cnn.bags) == (False, False, False)
    assert patches.class_names == [str(digit) for digit in range(10)]
    assert not patches.network.training


@pytest.mark.parametrize("comment", ["patches", "cnn"])
def test_what_is_measured_is_what_the_run_recorded(comment, opened):
    run = opened(comment)
    seen = []
    said = logits(run, torch.arange(len(run.source)), None, seen.append)
    accuracy = (said.argmax(1) == run.source.labels).float().mean().item()
    recorded_accuracy = json.loads((run.folder / "run.json").read_text())["metrics"]["test_accuracy"]
    assert accuracy == pytest.approx(recorded_accuracy, abs=1e-6)
    assert seen[-1] == 1


def test_a_number_of_patches_is_that_of_the_network(opened):
    run = opened("patches")
    index = torch.tensor([3, 200])
    said = logits(run, index, 5, lambda _: None)
    run.network.patch_num = 5
    assert torch.allclose(said, run.network(run.source.images(index), index), atol=1e-6)


def test_some_are_all_over():
    assert some(100, 4).tolist() == [0, 25, 50, 75]
    assert some(3, 500).tolist() == [0, 1, 2]


def test_runs_on_the_same_images_share_them(run_of):
    cli.register_resolvers()
    key = data_key(read_config(run_of("patches")))
    config = read_config(run_of("cnn"))
    config.data.flip = True  # which test images are never
    assert data_key(config) == key
    config.data.image_size = [9, 9]
    assert data_key(config) != key


def test_what_evaluate_wrote_is_read(tmp_path):
    checkpoint, result = tmp_path / "run" / "checkpoints" / "best.ckpt", tmp_path / "run" / "evaluation.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    run = OpenedRun(tmp_path / "run", "", None, range(7), [])
    assert recorded(run) == {}
    sizes = {"test_accuracy/n=4": 0.5, "test_accuracy/n=16": 0.75}
    facts = {"checkpoint": f"/before/it/moved/{checkpoint.relative_to(tmp_path)}", "images": 7, "sizes": sizes}

    def read(**others):
        result.write_text(json.dumps(facts | others))
        return recorded(run)

    assert read() == {4: 0.5, 16: 0.75}
    assert read(checkpoint=str(checkpoint.with_name("last.ckpt"))) == {}
    assert read(images=8) == {}, "of other data"
    assert read() != {}
    later = result.stat().st_mtime + 1
    os.utime(checkpoint, (later, later))
    assert recorded(run) == {}, "the run went on"


def test_a_config_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config\.yaml is missing or damaged"):
        read_config(tmp_path)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("data: [")
    with pytest.raises(UserError, match=r"config\.yaml is missing or damaged"):
        read_config(tmp_path)
