"""Labels are numbers: data whose classes are named or ordered in another way would be measured, or learned, wrongly."""

import json
import re
import shutil

import pytest
from module_run import trained
from runs import record

from command.classes import refuse_other_classes
from process.errors import UserError


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["b", "zz"], "class 0 is 'b' in these data, and was 'A ä' where"),
        (["A ä"], "class 1 is no class in these data, and was 'b' where"),
        (["A ä", "b", "c"], "class 2 is 'c' in these data, and was no class where"),
    ],
)
def test_the_first_class_that_differs_is_named(tmp_path, names, words):
    (tmp_path / "run.json").write_text(json.dumps({"status": "finished", "class_names": ["A ä", "b"]}))
    refuse_other_classes(tmp_path, ["A ä", "b"])
    with pytest.raises(UserError, match=re.escape(words)):
        refuse_other_classes(tmp_path, names)


@pytest.mark.parametrize("text", ['{"status": "finished"}', "{", None])
def test_without_recorded_names_any_do(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    refuse_other_classes(tmp_path, ["a"])


@pytest.fixture(scope="module")
def run_of_other_classes(tmp_path_factory):
    options = ("data=digits", "model=cnn", "hparams.max_epochs=1", "loggers=none", "callbacks=[basic]")
    folder = trained(tmp_path_factory.mktemp("run"), *options)
    facts = record(folder)
    facts["class_names"] = ["zero", *facts["class_names"][1:]]
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "run={}"),
        ("visualize", "run={}"),
        ("export", "run={}", "output={}/files"),
        ("train", "resume={}", "hparams.max_epochs=2"),
    ],
)
def test_every_command_that_needs_labels_refuses(run_of_other_classes, command, tmp_path, capsys, arguments):
    folder = shutil.copytree(run_of_other_classes, tmp_path / "copy")
    name, *settings = (argument.format(folder) for argument in arguments)
    capsys.readouterr()
    assert command(name, *settings) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: class 0 is '0' in these data, and was 'zero' where")
    assert "\n" not in error
    assert record(folder) == record(run_of_other_classes), "nothing was begun"
    assert not any((folder / "files").glob("*"))
