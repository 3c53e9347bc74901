import runpy
import sys

from runs import REPOSITORY


def test_draws_the_patches_of_a_run(train, tmp_path, monkeypatch):
    folder = train("data=digits", "hparams.max_epochs=1", "loggers=none")
    picture = tmp_path / "patches.png"
    monkeypatch.setattr(sys, "argv", ["draw_patches.py", str(folder), "--output", str(picture)])
    runpy.run_path(str(REPOSITORY / "docs" / "draw_patches.py"), run_name="__main__")
    assert picture.read_bytes().startswith(b"\x89PNG")
