"""Bags of features from the command line: training, exact resume, evaluation, prediction with attention, export."""

import csv
import json

import numpy as np
import onnxruntime
import pytest
import torch
from bags import features_of, write_bag, write_bags
from configs import composed
from hydra.utils import instantiate
from resumed import SAVING, assert_same
from runs import record

from run.checkpoint import load_weights
from set_module.set_batch import SetBatch

LENGTHS = [12, 3, 20, 7, 9, 16, 5, 11] * 3
OPTIONS = ("model=attention_mil", "model/embed=linear", "hparams.max_epochs=2", "hparams.batch_size=4", "loggers=none")


@pytest.fixture
def root(tmp_path):
    return write_bags(tmp_path / "slides", LENGTHS, width=6, split=["train"] * 16 + ["test"] * 8)


@pytest.fixture
def run(root, train):
    return train("data=feature_bags", f"data.root={root}", *OPTIONS)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def network(run, root):
    module = instantiate(composed("data=feature_bags", f"data.root={root}", *OPTIONS).model, _convert_="all").network
    weights = load_weights(run / "checkpoints" / "best.ckpt")
    module.load_state_dict({name.removeprefix("network."): value for name, value in weights.items()}, strict=False)
    return module.eval()


@pytest.mark.long
def test_facts_are_read_from_the_files_and_the_test_is_that_of_all_elements(run, root, command):
    facts = record(run)
    assert facts["class_names"] == ["0", "1"]
    assert {"train": 12, "valid": 4, "test": 8}.items() <= facts["data"].items()
    assert {"test_accuracy", "test_auroc", "test_auroc/n=1"} <= facts["metrics"].keys()
    assert "test_auroc/n=4" not in facts["metrics"], "a bag of 3 has no 4 elements"
    assert command("evaluate", f"run={run}", "sizes=[2]") == 0
    result = json.loads((run / "evaluation.json").read_text())
    assert result["test_loss"] == pytest.approx(facts["metrics"]["test_loss"], rel=1e-5)
    assert list(result["sizes"]) == ["test_accuracy/n=2", "test_auroc/n=2"]


def test_predictions_come_with_the_attention_of_each_element_and_its_place(run, root, command, tmp_path):
    places = np.arange(10).reshape(5, 2)
    write_bag(tmp_path / "new" / "features" / "a.h5", features_of(1, 5, 6), coords=places, instance_labels=np.arange(5))
    write_bag(tmp_path / "new" / "features" / "b" / "c.npy", features_of(2, 4, 6))
    for path in (root / "features").iterdir():
        path.unlink()  # the training data are not needed
    assert command("predict", f"run={run}", "input=new", "output=new.csv") == 0
    found = rows(tmp_path / "new.csv")
    assert [row["file"].rpartition("features/")[2] for row in found] == ["a.h5", "b/c.npy"]
    written = rows(tmp_path / "new_attention" / "a.csv")
    assert list(written[0]) == ["element", "x", "y", "attention", "instance_label"]
    assert [[int(row["x"]), int(row["y"])] for row in written] == places.tolist()
    assert [(row["element"], row["instance_label"]) for row in written] == [(str(i), str(i)) for i in range(5)]
    assert list(rows(tmp_path / "new_attention" / "b" / "c.csv")[0]) == ["element", "attention"]

    write_bags(root, LENGTHS, width=6)
    module, sets = network(run, root), SetBatch.from_list([torch.from_numpy(features_of(1, 5, 6))])
    with torch.no_grad():
        expected, weights = module(sets).softmax(1)[0], module.pool.weights(module.encode(sets)).values[:, 0]
    assert [float(found[0][f"p({name})"]) for name in "01"] == pytest.approx(expected.tolist(), abs=1e-6)
    assert [float(row["attention"]) for row in written] == pytest.approx(weights.tolist(), abs=1e-6)


@pytest.mark.long
def test_bags_that_cannot_be_read_and_pools_without_weights(root, train, command, tmp_path, capsys):
    run = train("data=feature_bags", f"data.root={root}", "hparams.max_epochs=1", "loggers=none")
    write_bag(root / "features" / "3.npy", features_of(3, 4, 5))
    capsys.readouterr()
    assert command("predict", f"run={run}", f"input={root}") == 0
    shown = capsys.readouterr()
    assert "3.npy: 5 features, and the network takes 6" in shown.out + shown.err
    assert "no attention is written: the pool of this network has no weights" in shown.out + shown.err
    assert len(rows(run / "predictions.csv")) == len(LENGTHS) - 1
    assert not (run / "predictions_attention").exists()
    assert command("predict", f"run={run}", f"input={root}/features/3.npy", "output=3.csv") == 1
    assert capsys.readouterr().err.strip().endswith("3.npy: 5 features, and the network takes 6")
    assert not (tmp_path / "3.csv").exists()
    assert command("predict", f"run={run}", "input=nowhere") == 1
    assert "input=nowhere: no features are there" in capsys.readouterr().err


@pytest.mark.long
def test_attention_may_be_left_out(run, root, command):
    assert command("predict", f"run={run}", f"input={root}", "attention=false") == 0
    assert not (run / "predictions_attention").exists()


@pytest.mark.long
def test_exported_files_take_values_and_a_mask_of_bags_in_half_precision_too(run, root, command, capsys):
    for number, length in enumerate(LENGTHS):
        write_bag(root / "features" / f"{number}.npy", features_of(number, length, 6, np.float16))
    assert command("export", f"run={run}", "output=files") == 0
    assert "accuracy" in capsys.readouterr().out
    values, mask = SetBatch.from_list(
        [torch.from_numpy(features_of(number, LENGTHS[number], 6)) for number in (0, 1)]
    ).pad()
    session = onnxruntime.InferenceSession("files/model.onnx")
    (logits,) = session.run(None, {"values": values.numpy(), "mask": mask.numpy()})
    with torch.no_grad():
        expected = network(run, root)(SetBatch.from_padded(values, mask))
    torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("reading", [("data.memory_limit_gib=0",), ("data.memory_limit_gib=0", "data.num_workers=1")])
def test_a_run_that_crashed_within_an_epoch_goes_on_exactly(root, train, broken_off, resume, reading):
    words = ("data=feature_bags", f"data.root={root}", *OPTIONS, "data.max_elements=6", "data.draw=runs", *reading)
    whole, crashed = train(*words, *SAVING), broken_off(*words, *SAVING, batch=5)
    assert resume(crashed) == 0
    assert_same(whole, crashed)


def test_all_unusable_files_are_one_line_and_exit_code_1(root, command, capsys):
    (root / "features" / "3.npy").unlink()
    write_bag(root / "features" / "5.npy", features_of(5, 16, 7))
    assert command("train", "data=feature_bags", f"data.root={root}", *OPTIONS) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert f"missing in {root}/features" in line
    assert "): 3; 7 features, not 6 as the others: 5" in line


def test_a_root_without_a_table_is_refused_before_a_run_folder_exists(command, tmp_path, capsys):
    assert command("train", "data=feature_bags", "data.root=nowhere") == 1
    assert f"{tmp_path}/nowhere: no such folder: set data.root to the folder of bags.csv" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()
