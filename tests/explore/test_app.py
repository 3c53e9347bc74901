"""The list, from which a person chooses; and runs that cannot be opened: the page shows why and stays usable."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from runs import REPOSITORY

from datamodule.digits import Digits

streamlit = pytest.importorskip("streamlit", reason="Streamlit is not installed: make install")
from explore.runs import found_runs  # noqa: E402


@pytest.fixture
def copy(trained, run_of, tmp_path, monkeypatch):
    """The run of patches, alone in a folder of its own, which is the current one."""
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    shutil.rmtree(tmp_path / run_of("cnn").relative_to(trained))
    monkeypatch.chdir(tmp_path)
    return tmp_path / run_of("patches").relative_to(trained)


@pytest.fixture
def listed(monkeypatch):
    """`listed()` -> the page, drawn once: no run is chosen."""
    from streamlit.testing.v1 import AppTest

    def draw():
        streamlit.cache_resource.clear()
        monkeypatch.setattr(sys, "argv", ["app.py"])
        page = AppTest.from_file(str(REPOSITORY / "src" / "explore" / "app.py"), default_timeout=60).run()
        assert not page.exception
        return page

    return draw


@pytest.fixture
def opened(listed):
    """`opened()` -> the page after the newest run was chosen."""

    def choose():
        page = listed().sidebar.selectbox[0].select_index(0).run()
        assert not page.exception
        return page

    return choose


def plain(markdown):
    return markdown.replace("\\", "")


def edit(run, key, value):
    """Change the config of a run, which is then that of somebody else: its signature does not fit any more."""
    path = run / ".hydra" / "config.yaml"
    config = OmegaConf.load(path)
    OmegaConf.update(config, key, value)
    OmegaConf.save(config, path)


def test_nothing_is_opened_before_it_is_chosen(copy, listed, monkeypatch):
    """A record is all that is read: neither the config nor the checkpoint, which may run code."""
    from explore import opened_run

    read = []
    for name in ("read_config", "open_source", "open_network"):
        kept = getattr(opened_run, name)
        monkeypatch.setattr(opened_run, name, lambda *parts, n=name, f=kept: (read.append(n), f(*parts))[1])
    page = listed()
    assert (page.sidebar.selectbox[0].value, len(page.sidebar.selectbox)) == (None, 1)
    assert "Choose a run" in page.info[0].value
    page.text_input[0].set_value("digits").run()
    assert not page.title
    assert not page.error
    assert not read

    page.sidebar.selectbox[0].select_index(0).run()
    assert read == ["read_config", "open_source", "open_network"]
    assert page.sidebar.selectbox[1].value is None
    assert not page.info


def test_a_run_that_is_compared_is_not_opened_before_it_is_chosen(copy, opened):
    shutil.copytree(copy, copy.with_name("23-59-59"))
    (copy.with_name("23-59-59") / "checkpoints" / "best.ckpt").write_text("nothing")
    page = opened()
    chosen = page.sidebar.selectbox[0].select(str(copy.relative_to(Path.cwd()))).run()
    assert not chosen.error
    assert "cannot read the checkpoint" in chosen.sidebar.selectbox[1].select_index(0).run().error[0].value


def test_a_whole_run_is_opened(copy, opened):
    page = opened()
    assert not page.error
    assert [title.value for title in page.title] == [r"patch\_set on digits"]


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
    assert "in my data (the traceback is in the terminal of this page)" in plain(opened().error[0].value)
    assert "in broken" in caplog.text


def test_what_people_have_typed_is_no_markdown(copy, opened):
    (copy / "checkpoints" / "best.ckpt").write_text("nothing")
    other = copy.parents[2] / "__debug__" / "$x$"
    shutil.copytree(copy, other / copy.name)
    shutil.rmtree(copy)
    assert r"\/\_\_debug\_\_\/\$x\$\/" in opened().error[0].value


THEIRS = """import pathlib
from datamodule.digits import Digits
pathlib.Path("ran").touch()
class Theirs(Digits): pass
"""


def test_a_run_of_somebody_else_is_opened_once_its_folder_is_trusted(copy, opened, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    edit(copy, "data._target_", "theirs.Theirs")
    page = opened()
    assert "was not made by you here" in page.error[0].value
    assert "theirs.Theirs" in plain(page.error[0].value)
    assert not Path("ran").exists()
    (button,) = page.button
    assert button.label == "Trust this folder and open it"

    button.click().run()
    assert not page.exception
    assert not page.error
    assert len(page.title) == 1
    assert Path("ran").exists()


@pytest.mark.parametrize("key", ["data", "data._target_", "data.num_classes", "model._target_", "comment"])
def test_nothing_in_the_config_of_somebody_else_is_run(key, copy, opened):
    edit(copy, key, "${call:os.system,touch ran}")
    page = opened()
    assert len(page.error) == 1
    assert not page.title
    assert not Path("ran").exists()
    if key != "data":  # that is no config at all
        assert "os.system" in plain(page.error[0].value)
        assert len(page.button) == 1


def test_data_of_other_classes_are_refused(copy, opened):
    record = json.loads((copy / "run.json").read_text())
    record["class_names"][3] = "drei"
    (copy / "run.json").write_text(json.dumps(record))
    assert "class 3 is '3' in these data, and was 'drei'" in plain(opened().error[0].value)


def test_two_runs_of_one_name_have_a_line_each(copy, opened):
    other = copy.parents[2] / "other" / copy.parent.name / copy.name
    for folder, accuracy in ((copy, 0.25), (shutil.copytree(copy, other), 0.75)):
        facts = {
            "checkpoint": f"{folder}/checkpoints/best.ckpt",
            "images": 355,
            "sizes": {"test_accuracy/n=4": accuracy},
        }
        (folder / "evaluation.json").write_text(json.dumps(facts))
    page = opened()
    page.sidebar.selectbox[1].select_index(0).run()
    page.session_state["view"] = "Number of patches"
    page.run()
    assert not page.exception
    assert sorted(page.dataframe[0].value[4]) == [0.25, 0.75]


def test_runs_that_never_saved_or_lost_their_record_are_listed_with_the_reason(copy, listed):
    shutil.copytree(copy, copy.with_name("00-00-01"))
    (copy.with_name("00-00-01") / "run.json").write_text("{")
    shutil.rmtree(copy / "checkpoints")
    page = listed()
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


def test_no_runs_at_all(tmp_path, monkeypatch, listed):
    monkeypatch.chdir(tmp_path)
    assert "python src/train.py data=digits" in listed().info[0].value


def test_a_newer_run_does_not_take_the_place_of_the_one_looked_at(copy, opened):
    page = opened()
    newer = copy.with_name("23-59-59")
    shutil.copytree(copy, newer)
    (newer / "run.json").write_text(json.dumps(json.loads((copy / "run.json").read_text()) | {"started": "2999"}))
    found_runs.clear()
    page.run()
    assert page.sidebar.selectbox[0].options[0].endswith(newer.name)
    assert page.sidebar.selectbox[0].value == str(copy.relative_to(Path.cwd()))


def test_runs_on_the_same_images_load_them_once(copy, opened, monkeypatch):
    page, setup, loaded = opened(), Digits.setup, []
    monkeypatch.setattr(Digits, "setup", lambda self, stage: (loaded.append(stage), setup(self, stage)))
    shutil.copytree(copy, copy.with_name("23-59-59"))
    found_runs.clear()
    shown = [page.run().sidebar.selectbox[0].select_index(index).run().main.caption[0].value for index in (0, 1)]
    assert not page.error
    assert shown[0] != shown[1]
    assert loaded == []


def test_a_filter_that_nothing_matches(copy, opened):
    page = opened()
    page.text_input[0].set_value("elephant").run()
    assert "these words" in page.info[0].value
    assert [title.value for title in page.title] == [r"patch\_set on digits"]  # the chosen one stays
    assert json.loads((copy / "run.json").read_text())["status"] == "finished"
