"""Runs that cannot be opened: the page shows the reason and stays usable."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from runs import REPOSITORY

from datamodule.digits import Digits

streamlit = pytest.importorskip("streamlit", reason="Streamlit is not installed: make install")


@pytest.fixture
def copy(trained, run_of, tmp_path, monkeypatch):
    """The run of patches, alone in a folder of its own, which is the current one."""
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    shutil.rmtree(tmp_path / run_of("cnn").relative_to(trained))
    monkeypatch.chdir(tmp_path)
    return tmp_path / run_of("patches").relative_to(trained)


@pytest.fixture
def opened(monkeypatch):
    """`opened()` -> the page, drawn once."""
    from streamlit.testing.v1 import AppTest

    def draw():
        streamlit.cache_data.clear()
        streamlit.cache_resource.clear()
        monkeypatch.setattr(sys, "argv", ["app.py"])
        page = AppTest.from_file(str(REPOSITORY / "src" / "explore" / "app.py"), default_timeout=60).run()
        assert not page.exception
        return page

    return draw


def plain(markdown):
    return markdown.replace("\\", "")


def test_a_whole_run_is_opened(copy, opened):
    page = opened()
    assert not page.error
    assert [title.value for title in page.title] == ["patch_set on digits"]


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("checkpoints/best.ckpt", "nothing", "cannot read the checkpoint"),
        (".hydra/config.yaml", None, "is missing or damaged"),
        (".hydra/config.yaml", "data: {}\nmodel: {}\n", "is missing or damaged"),
    ],
)
def test_damage_is_shown(path, content, words, copy, opened):
    (copy / path).unlink() if content is None else (copy / path).write_text(content)
    page = opened()
    assert words in page.error[0].value
    assert page.selectbox[0].label.startswith("Run (of 1")


def test_the_traceback_of_code_of_ones_own_is_in_the_terminal(copy, opened, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("in my data")

    monkeypatch.setattr(Digits, "setup", broken)
    assert "in my data (the traceback is in the terminal of this page)" in opened().error[0].value
    assert "in broken" in caplog.text


def test_what_people_have_typed_is_no_markdown(copy, opened):
    (copy / "checkpoints" / "best.ckpt").write_text("nothing")
    other = copy.parents[2] / "__debug__" / "$x$"
    shutil.copytree(copy, other / copy.name)
    shutil.rmtree(copy)
    assert r"/\_\_debug\_\_/\$x\$/" in opened().error[0].value


def test_data_of_other_classes_are_refused(copy, opened):
    record = json.loads((copy / "run.json").read_text())
    record["class_names"][3] = "drei"
    (copy / "run.json").write_text(json.dumps(record))
    assert "class 3 is '3' in these data, and was 'drei'" in opened().error[0].value


def test_two_runs_of_one_name_have_a_line_each(copy, opened):
    other = copy.parents[2] / "other" / copy.parent.name / copy.name
    for folder, accuracy in ((copy, 0.25), (shutil.copytree(copy, other), 0.75)):
        facts = {"checkpoint": f"{folder}/checkpoints/best.ckpt", "images": 355, "sizes": {"n=4": accuracy}}
        (folder / "evaluation.json").write_text(json.dumps(facts))
    page = opened()
    page.sidebar.selectbox[1].select_index(1).run()
    page.session_state["view"] = "Number of patches"
    page.run()
    assert not page.exception
    assert sorted(page.dataframe[0].value[4]) == [0.25, 0.75]


def test_runs_that_never_saved_or_lost_their_record_are_listed_with_the_reason(copy, opened):
    shutil.copytree(copy, copy.with_name("00-00-01"))
    (copy.with_name("00-00-01") / "run.json").write_text("{")
    shutil.rmtree(copy / "checkpoints")
    page = opened()
    listed = " ".join(plain(caption.value) for caption in page.sidebar.caption)
    assert "finished, without a checkpoint" in listed
    assert "damaged: run.json is no JSON" in listed
    assert "No run to open" in page.info[0].value


def test_data_that_are_not_there_are_named(copy, opened, monkeypatch, tmp_path):
    path = copy / ".hydra" / "config.yaml"
    text = path.read_text()
    begin, end = text.index("\ndata:\n"), text.index("\noptimizer:\n")
    folder = "  _target_: datamodule.image_folder.ImageFolder\n  root: ${oc.env:DATASET}/pets\n  memory_limit_gib: 1\n"
    monkeypatch.setenv("DATASET", str(tmp_path / "nowhere"))
    kept = [line for line in text[begin + 7 : end].splitlines() if "_target_" not in line]
    path.write_text(text[: begin + 7] + folder + "\n".join(kept) + text[end:])
    page = opened()
    assert "nowhere/pets" in plain(page.error[0].value)
    assert f"DATASET={tmp_path / 'nowhere'}" in plain(page.error[0].value)


def test_no_runs_at_all(tmp_path, monkeypatch, opened):
    monkeypatch.chdir(tmp_path)
    assert "python src/train.py data=digits" in opened().info[0].value


def test_a_newer_run_does_not_take_the_place_of_the_one_looked_at(copy, opened):
    page = opened()
    newer = copy.with_name("23-59-59")
    shutil.copytree(copy, newer)
    (newer / "run.json").write_text(json.dumps(json.loads((copy / "run.json").read_text()) | {"started": "2999"}))
    streamlit.cache_data.clear()
    page.run()
    assert page.sidebar.selectbox[0].options[0].endswith(newer.name)
    assert page.sidebar.selectbox[0].value == str(copy.relative_to(Path.cwd()))


def test_runs_on_the_same_images_load_them_once(copy, opened, monkeypatch):
    page, setup, loaded = opened(), Digits.setup, []
    monkeypatch.setattr(Digits, "setup", lambda self, stage: (loaded.append(stage), setup(self, stage)))
    shutil.copytree(copy, copy.with_name("23-59-59"))
    streamlit.cache_data.clear()
    shown = [page.run().sidebar.selectbox[0].select_index(index).run().main.caption[0].value for index in (0, 1)]
    assert not page.error
    assert shown[0] != shown[1]
    assert loaded == []


def test_a_filter_that_nothing_matches(copy, opened):
    page = opened()
    page.text_input[0].set_value("elephant").run()
    assert "these words" in page.info[0].value
    assert json.loads((copy / "run.json").read_text())["status"] == "finished"
