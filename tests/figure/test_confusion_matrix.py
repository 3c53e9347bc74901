import numpy
import pytest
import torch
from given_logits import GivenLogits, shown_in_test
from torch.nn import functional

from figure import confusion_matrix
from figure.confusion_matrix import BLUE, WIDTH, ConfusionMatrix, drawn_matrix

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
PREDICTED = torch.tensor([0, 0, 1, 1, 1, 2, 0, 2, 2, 2])
LOGITS = functional.one_hot(PREDICTED, 4) * 9.0 - 4


def test_counts_all_batches_in_rows_of_the_true_class(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        confusion_matrix, "drawn_matrix", lambda *arguments: seen.append(arguments) or drawn_matrix(*arguments)
    )
    assert shown_in_test(ConfusionMatrix(), tmp_path, LOGITS, LABELS) == ["confusion_matrix_at_0.png"]
    ((counts_KK, names),) = seen
    assert counts_KK.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 4, 0], [0, 0, 0, 0]]
    assert names == ["class 0", "class 1", "class 2", "class 3"]


def test_without_a_logger_that_takes_pictures_nothing_is_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(confusion_matrix, "multiclass_confusion_matrix", None)
    assert shown_in_test(ConfusionMatrix(), tmp_path, LOGITS, LABELS, loggers=[]) == []
    assert "no confusion matrix" not in caplog.text


def test_a_failure_is_a_warning_and_the_test_goes_on(tmp_path, caplog):
    assert shown_in_test(ConfusionMatrix(), tmp_path, LOGITS, LABELS + 100) == []  # a matrix of 4 has no row 100
    assert caplog.text.count("no confusion matrix: ") == 1


def test_of_a_part_of_the_batches_there_is_no_matrix(tmp_path):
    labels = LABELS.clone()
    labels[-1] = 100
    assert shown_in_test(ConfusionMatrix(), tmp_path, LOGITS, labels) == []


def test_the_colour_is_the_share_of_the_row(monkeypatch):
    monkeypatch.setattr(confusion_matrix, "WITH_NUMBERS", 0)
    monkeypatch.setattr(confusion_matrix, "WITH_NAMES", 0)
    picture = drawn_matrix(torch.tensor([[400, 0, 0], [3, 3, 6], [0, 0, 0]]), ["a", "b", "c"])
    pixels_HWC = numpy.asarray(picture)[-3 * 64 :, : 3 * 64]
    cells = pixels_HWC[32::64, 32::64].astype(int)
    assert tuple(cells[0, 0]) == BLUE
    assert tuple(cells[0, 1]) == tuple(cells[2, 2]) == (255, 255, 255)
    assert tuple(cells[1, 0]) == tuple(cells[1, 1])
    assert cells[1, 2].sum() < cells[1, 0].sum() < cells[0, 1].sum()


@pytest.mark.parametrize("classes", [1, 2, 20, 21, 100, 101, 1000])
def test_any_number_of_classes_fits(classes):
    names = [f"class with a long name, {number}" for number in range(classes)]
    picture = drawn_matrix(torch.eye(classes, dtype=torch.long) * 123_456, names)
    assert max(picture.size) <= max(WIDTH, classes) + 200
    strong = numpy.asarray(picture).min(axis=2) < 128
    assert strong.any(axis=1).sum() > classes  # the diagonal is there


def test_a_model_that_gives_no_logits_has_no_matrix(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(GivenLogits, "test_step", lambda *_: None)
    assert shown_in_test(ConfusionMatrix(), tmp_path, LOGITS, LABELS) == []
    assert caplog.text.count("no confusion matrix: ") == 1


def test_of_more_classes_there_is_no_picture(tmp_path):
    assert shown_in_test(ConfusionMatrix(), tmp_path, torch.zeros(3, 1001), torch.zeros(3, dtype=torch.long)) == []
