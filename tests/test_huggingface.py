"""Tables of Hugging Face's library from the command line: training, exact resume in workers, evaluation."""

import io
import json

import pytest
from PIL import Image
from resumed import SAVING, assert_same
from runs import record
from sklearn.datasets import load_digits

datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")

OPTIONS = (
    "data=huggingface",
    "data.channels=1",
    "data.image_size=[8,8]",
    "hparams.patch_size=5",
    "hparams.patch_num_max=4",
    "hparams.batch_size=16",
    "hparams.max_epochs=2",
    "sizes=[2]",
    "loggers=none",
)


def png(pixels_HW):
    file = io.BytesIO()
    Image.fromarray((pixels_HW * 15).astype("uint8")).save(file, "png")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    digits = load_digits()
    names = [f"digit {number}" for number in range(10)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})

    def table(chosen):
        columns = {"image": list(map(png, digits.images[chosen])), "label": digits.target[chosen].tolist()}
        return datasets.Dataset.from_dict(columns, features=features)

    folder = tmp_path_factory.mktemp("tables") / "digits"
    parts = {"train": slice(100), "validation": slice(100, 120), "test": slice(120, 150)}
    datasets.DatasetDict({name: table(chosen) for name, chosen in parts.items()}).save_to_disk(str(folder))
    return folder


@pytest.mark.long
@pytest.mark.parametrize("rows", [(), ("data.memory_limit_gib=0", "data.num_workers=2")], ids=["memory", "workers"])
def test_a_run_on_a_table_resumes_bit_for_bit(root, train, broken_off, resume, command, rows):
    options = (*OPTIONS, *SAVING, f"data.path={root}", *rows)
    whole, broken = train(*options), broken_off(*options, batch=9)
    assert resume(broken) == 0
    assert_same(whole, broken)
    facts = record(whole)
    assert facts["class_names"] == [f"digit {number}" for number in range(10)]
    assert {"train": 100, "valid": 20, "test": 30}.items() <= facts["data"].items()
    assert command("evaluate", f"run={whole}", "sizes=[4]") == 0
    measured = json.loads((whole / "evaluation.json").read_text())
    assert measured["test_loss"] == pytest.approx(facts["metrics"]["test_loss"], rel=1e-5)


def test_a_folder_without_tables_is_one_line_and_no_run(tmp_path, command, capsys):
    (tmp_path / "empty").mkdir()
    assert command("train", *OPTIONS, f"data.path={tmp_path / 'empty'}") == 1
    errors = capsys.readouterr().err
    assert "cannot be opened" in errors
    assert errors.count("\n") == 1
