"""export.py: the files give the logits of the network, to programs without this repository."""

import json
import re
import shutil
import subprocess
import sys

import onnxruntime
import pytest
import torch
from configs import composed
from hydra.utils import instantiate
from module_run import trained

from exporter.interface import interfaces
from run.checkpoint import load_weights

ALONE = """
import json, sys, torch
extra = {"metadata.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra)
images = torch.load("images.pt")
torch.save([program.module()(images[:n]) for n in (1, 2, 5)], "logits.pt")
print(json.dumps([json.loads(extra["metadata.json"])["class_names"], sorted({"network", "hydra"} & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def patch_set(tmp_path_factory):
    options = ("hparams.max_epochs=1", "model/position=learned", "loggers=none")
    return trained(tmp_path_factory.mktemp("patch_set"), "data=digits", *options)


@pytest.fixture
def images():
    return torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def network_of(folder, *options):
    network = instantiate(composed("data=digits", *options).model, _convert_="all").network
    weights = load_weights(folder / "checkpoints" / "best.ckpt")
    network.load_state_dict({name.removeprefix("network."): value for name, value in weights.items()}, strict=False)
    return network.eval()


@pytest.mark.processes
def test_four_files_that_agree_with_the_network(patch_set, images, command, tmp_path, capsys):
    assert command("export", f"run={patch_set}", "output=files") == 0
    files = sorted(path.name for path in (tmp_path / "files").iterdir())
    assert files == ["model.onnx", "model.pt2", "model_patches.onnx", "model_patches.pt2"]
    shown = capsys.readouterr()
    assert "16 patches of each (patches=even)" in shown.out  # of 64, as there are no more places
    assert "as the run tests, on all 355 test images" in " ".join(shown.out.replace("│", " ").split())
    assert "Warning" not in shown.out + shown.err

    network = network_of(patch_set, "model/position=learned", "model/selection=all")
    with torch.no_grad():
        expected, patches, corners = network(images), *network.cut(images)
    session = onnxruntime.InferenceSession(tmp_path / "files" / "model.onnx")
    assert [(node.name, node.shape) for node in session.get_inputs()] == [("images", ["batch", 1, 8, 8])]
    for n in (1, 2, 5):
        (logits,) = session.run(["logits"], {"images": images[:n].numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), expected[:n], rtol=1e-4, atol=1e-5)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == [str(digit) for digit in range(10)]
    assert facts["run"] == str(patch_set)

    session = onnxruntime.InferenceSession(tmp_path / "files" / "model_patches.onnx")
    assert [node.name for node in session.get_inputs()] == ["patches", "mask", "corners"]
    assert all(node.shape[:2] == ["batch", "slots"] for node in session.get_inputs())
    padded = [torch.nn.functional.pad(patches.pad()[0], (0, 0) * 3 + (0, 2), value=9), torch.zeros(5, 18).bool()]
    padded[1][:, :16] = True
    padded.append(torch.nn.functional.pad(corners.pad()[0], (0, 0, 0, 2), value=3))
    (logits,) = session.run(
        None, dict(zip(("patches", "mask", "corners"), map(torch.Tensor.numpy, padded), strict=True))
    )
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5)

    torch.save(images, tmp_path / "images.pt")
    path = tmp_path / "files" / "model.pt2"
    alone = [sys.executable, "-c", ALONE, str(path)]
    done = subprocess.run(alone, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[str(digit) for digit in range(10)], []]
    for n, logits in zip((1, 2, 5), torch.load(tmp_path / "logits.pt"), strict=True):
        torch.testing.assert_close(logits, expected[:n], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run=nowhere"], "no run folder"),
        ([], "which run? run=FOLDER"),
        (["run={}", "patches=random"], "patches=random: choose even"),
        (["run={}", "patches=even", "model/selection=grid"], "patches=even: this network draws no patches"),
        (["run={}", "formats.onnx=null", "formats.pt2=null"], "formats: none is left"),
        (["run={}", "formats=null"], "formats: none is left"),
        (["run={}", "formats.onnx=x"], "formats.onnx=x: null leaves it out"),
        (["run={}", "exporter=null"], "exporter=null: must be the settings in its YAML"),
        (["run={}", "ckpt={}/run.json"], "cannot read the checkpoint"),
        (["run={}", "hparams.patch_size=3"], "does not fit"),
        (["run={}", "output=file"], "cannot write into file: choose another place, output=FOLDER"),
        (["run={}", "output=~nobody_at_all/x"], "Could not determine home directory.: name a folder"),
    ],
)
def test_one_clear_line(patch_set, command, tmp_path, capsys, arguments, line):
    (tmp_path / "file").touch()
    before = sorted(patch_set.iterdir())
    assert command("export", *[argument.format(patch_set) for argument in arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert line in error
    assert {path.name for path in set(patch_set.iterdir()) - set(before)} <= {"export.log"}


def test_broken_weights_are_blamed_and_nothing_is_written(patch_set, command, tmp_path, capsys):
    broken = torch.load(patch_set / "checkpoints" / "best.ckpt", weights_only=True)
    next(reversed(broken["state_dict"].values())).fill_(torch.nan)
    torch.save(broken, tmp_path / "nan.ckpt")
    assert command("export", f"run={patch_set}", "ckpt=nan.ckpt", "formats.onnx=null", "output=files") == 1
    assert "the network's own outputs are not finite" in capsys.readouterr().err
    assert not (tmp_path / "files").exists()


def test_a_damaged_record_costs_the_names_alone(patch_set, command, tmp_path):
    copy = shutil.copytree(patch_set, tmp_path / "copy")
    (copy / "run.json").write_text("{")
    assert command("export", f"run={copy}", "tested=null", "formats.onnx=null", "output=files") == 0


def test_what_an_earlier_export_left_is_named(patch_set, command, tmp_path, capsys):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "model.onnx").touch()
    assert command("export", f"run={patch_set}", "tested=null", "formats.onnx=null", "output=files") == 0
    assert "files of an earlier export, not written now: model.onnx" in capsys.readouterr().out


@pytest.mark.parametrize(("mode", "patches"), [("all", "all"), ("grid", "grid"), ("random", "even")])
def test_patches_are_those_of_the_network_or_evenly_spaced(mode, patches):
    config = composed("data=digits", f"model/selection={mode}", "hparams.patch_size=3", "run=x", name="export")
    (images, _) = interfaces(instantiate(config.model, _convert_="all").network, (1, 8, 8), config.patches)
    assert images.module.mode == patches
    assert images.module.num_patches == {"all": 36, "grid": 9, "even": 36}[patches]


def test_a_file_that_is_less_accurate_than_the_run_names_the_better_option(command, train, capsys):
    folder = train("data=digits", "hparams.patch_size=3", "hparams.max_epochs=4", "loggers=none")
    assert command("export", f"run={folder}", "patches=grid", "formats.onnx=null") == 0
    line = re.search(
        r"model.\* is less accurate than the run: (0.\d+) \(patches=grid\), (0.\d+) as the run tests, on all 355 test "
        r"images; patches=(\w+) is more accurate: (0.\d+)",
        capsys.readouterr().out,
    )
    assert line is not None
    file, run, better = float(line[1]), float(line[2]), float(line[4])
    assert file < run - 0.005
    assert better > max(file, run - 0.02)
    assert line[3] == "even"


def test_without_the_test_set_noise_is_compared(patch_set, command, tmp_path, capsys):
    assert command("export", f"run={patch_set}", "tested=null", "formats.onnx=null", "output=files") == 0
    assert (tmp_path / "files" / "model.pt2").exists()
    shown = capsys.readouterr().out
    assert "noise alone" in shown
    assert "accuracy" not in shown


def test_what_is_missing_is_named(patch_set, command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert command("export", f"run={patch_set}") == 1
    assert "ONNX needs onnx, onnxscript and onnxruntime: uv pip install" in capsys.readouterr().err
