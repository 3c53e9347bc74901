import runpy
import sys

from runs import REPOSITORY


def test_draws_votes_weights_of_a_pool_and_gradients(train, tmp_path, monkeypatch):
    short = ("data=digits", "hparams.max_epochs=1", "loggers=none")
    folders = [str(train(*short, f"model={model}")) for model in ("bag_of_patches", "attention_mil", "deep_sets")]
    picture = tmp_path / "evidence.png"
    arguments = ["draw_evidence.py", *folders, "--index", "3", "1", "--output", str(picture)]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(REPOSITORY / "docs" / "draw_evidence.py"), run_name="__main__")
    assert picture.read_bytes().startswith(b"\x89PNG")
