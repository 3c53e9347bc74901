import json
import runpy
import sys

import pytest
from runs import REPOSITORY


def test_runs_that_differ_in_the_seed_alone_are_one_row_and_one_curve(tmp_path, monkeypatch, capsys):
    folders = []
    for pool, seed, shift in ((["max"], 0, 0.0), (["max"], 1, 0.02), (["mean"], 0, 0.05)):
        folder = tmp_path / f"{pool[0]}{seed}"
        folder.mkdir()
        settings = {"data": "MNIST", "hparams.pool": pool, "hparams.seed": seed}
        sizes = {"test_accuracy/n=1": 0.5 + shift, "test_accuracy/n=64": 0.9 + shift}
        (folder / "run.json").write_text(json.dumps({"settings": settings}))
        (folder / "evaluation.json").write_text(json.dumps({"sizes": sizes}))
        folders.append(str(folder))
    picture = tmp_path / "accuracy.png"
    monkeypatch.setattr(sys, "argv", ["draw_accuracy.py", *folders, "--output", str(picture)])
    runpy.run_path(str(REPOSITORY / "docs" / "draw_accuracy.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [
        "| patches | 1 | 64 | n |",
        "| --- | --- | --- | --- |",
        "| `hparams.pool=[mean]` | 0.5500 | 0.9500 | 1 |",
        "| `hparams.pool=[max]` | 0.5100 ± 0.0141 | 0.9100 ± 0.0141 | 2 |",
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_runs_evaluated_at_other_sizes_are_refused(tmp_path, monkeypatch):
    for name, size in (("a", 1), ("b", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"settings": {"model": name}}))
        sizes = {f"test_accuracy/n={size}": 0.5}
        (tmp_path / name / "evaluation.json").write_text(json.dumps({"sizes": sizes}))
    folders = [str(tmp_path / name) for name in "ab"]
    monkeypatch.setattr(sys, "argv", ["draw_accuracy.py", *folders, "--output", str(tmp_path / "x.png")])
    with pytest.raises(SystemExit, match="make them the same"):
        runpy.run_path(str(REPOSITORY / "docs" / "draw_accuracy.py"), run_name="__main__")
