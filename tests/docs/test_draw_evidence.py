import runpy
import sys

from runs import REPOSITORY


def test_draws_the_votes_of_patches_and_the_weights_of_a_pool(train, tmp_path, monkeypatch):
    short = ("data=digits", "hparams.max_epochs=1", "loggers=none")
    folders = [str(train(*short, f"model={model}")) for model in ("bag_of_patches", "attention_mil")]
    picture = tmp_path / "evidence.png"
    arguments = ["draw_evidence.py", *folders, "--index", "3", "1", "--output", str(picture)]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(REPOSITORY / "docs" / "draw_evidence.py"), run_name="__main__")
    assert picture.read_bytes().startswith(b"\x89PNG")
