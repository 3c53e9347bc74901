import subprocess
import sys

import pytest
from given_logits import Given, noise
from PIL import Image
from pytorch_lightning import Trainer
from recorder import Recorder
from runs import REPOSITORY

from figure.show import Tolerated, class_name, is_wanted, show, takers
from logger.metrics_csv import MetricsCSV


def trainer(*loggers) -> Trainer:
    return Trainer(accelerator="cpu", logger=list(loggers), callbacks=[], enable_checkpointing=False)


def test_pictures_go_to_the_loggers_that_take_them(tmp_path):
    both = trainer(MetricsCSV(tmp_path), recorder := Recorder(tmp_path))
    assert is_wanted(both)
    assert takers(both, "log_image") == [recorder]
    show(both, "pictures/x", Image.new("RGB", (7, 3), (1, 2, 3)))
    with Image.open(tmp_path / "pictures" / "x_at_0.png") as shown:
        assert shown.size == (7, 3)
        assert shown.getpixel((0, 0)) == (1, 2, 3)
    assert not is_wanted(trainer(MetricsCSV(tmp_path)))
    assert not is_wanted(trainer())


def test_on_other_ranks_nobody_takes_them(tmp_path, monkeypatch):
    other = trainer(Recorder(tmp_path))
    monkeypatch.setattr(Trainer, "is_global_zero", False)
    assert takers(other, "log_image") == []


def test_names_that_the_font_lacks_become_numbers(tmp_path):
    named = trainer()
    assert class_name(named, 3) == "3"  # nobody knows a name
    named.datamodule = Given(noise(1, 1, 2, 2), None, 1, ["Café", "猫", ""])
    assert [class_name(named, label) for label in range(4)] == ["Cafe", "class 1", "2", "3"]


def test_two_processes_show_what_one_does(tmp_path):
    """Counts and worst images are those of all ranks."""
    options = (
        *("data=digits", "model=lenet", "hparams.lr=1e-30", "hparams.max_epochs=1", "trainer=ddp"),
        *("trainer.accelerator=cpu", "callbacks=[basic,pictures]", "loggers=none"),
        "+loggers.recorder={_target_: recorder.Recorder, folder: '${hydra:runtime.output_dir}'}",
    )
    environment = {"PYTHONPATH": str(REPOSITORY / "tests" / "support"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    shown = []
    for ranks in (1, 2):
        command = [sys.executable, str(REPOSITORY / "src" / "train.py"), *options, f"trainer.devices={ranks}"]
        folder = tmp_path / str(ranks)
        folder.mkdir()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        paths = {path.name.split("_at_")[0]: path for path in folder.rglob("pictures/*.png")}
        assert sorted(paths) == ["confusion_matrix", "inputs", "worst_images"]
        shown.append([paths[name].read_bytes() for name in ("confusion_matrix", "worst_images")])
    assert shown[0] == shown[1]


def test_the_first_error_is_a_warning(caplog):
    tolerated = Tolerated("picture")
    for reason in ("out of memory", "again"):
        with tolerated:
            raise RuntimeError(reason)
    assert caplog.messages == ["no picture: RuntimeError: out of memory"]
    assert tolerated.failed
    with pytest.raises(KeyboardInterrupt), tolerated:
        raise KeyboardInterrupt
