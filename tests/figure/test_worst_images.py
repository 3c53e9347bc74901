from types import SimpleNamespace

import pytest
import torch
from given_logits import noise, shown_in_test
from torch.nn import functional

from figure import worst_images
from figure.worst_images import Case, WorstImages, cases_of, common_limits, picture_of, words_of, worst
from set_module.set_batch import SetBatch

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(23, 5, generator=GENERATOR) * 3
LABELS = torch.randint(5, (23,), generator=GENERATOR)
IMAGES = noise(23, 3, 6, 5)
CLASSIFIER = SimpleNamespace(test_logits=True)


def test_keeps_the_images_of_the_largest_loss_of_all_batches(tmp_path, monkeypatch):
    drawn, kept, tile = [], [], worst_images.tile
    monkeypatch.setattr(worst_images, "tile", lambda *arguments: drawn.append(arguments[2]) or tile(*arguments))
    monkeypatch.setattr(worst_images, "worst", lambda *arguments: kept.append(worst(*arguments)) or kept[-1])
    assert shown_in_test(WorstImages(7), tmp_path, LOGITS, LABELS, IMAGES) == ["worst_images_at_0.png"]
    loss_N = functional.cross_entropy(LOGITS, LABELS, reduction="none")
    expected = loss_N.argsort(descending=True)[:7].tolist()
    assert [case.index for case in drawn] == expected
    assert all(torch.equal(case.image, IMAGES[case.index]) for case in drawn)
    for case in drawn:
        probability_K = LOGITS[case.index].softmax(0)
        label, predicted = int(LABELS[case.index]), int(probability_K.argmax())
        assert words_of(SimpleNamespace(), SimpleNamespace(test_logits=True), case) == (
            f"{probability_K[label]:.3f} true: {label}",
            f"{probability_K[predicted]:.3f} predicted: {predicted}",
        )
    assert max(len(cases) for cases in kept) == 7


def test_fewer_images_than_asked_for(tmp_path):
    assert shown_in_test(WorstImages(100), tmp_path, LOGITS, LABELS, IMAGES) == ["worst_images_at_0.png"]


def test_logits_that_are_not_numbers_are_the_worst(tmp_path):
    logits_BK = LOGITS[:4].clone()
    logits_BK[2] = torch.nan
    cases = cases_of(CLASSIFIER, logits_BK, (IMAGES[:4], LABELS[:4], torch.arange(4)), 2)
    assert cases[0].index == 2
    assert cases[0].loss > 1e30
    assert shown_in_test(WorstImages(4), tmp_path, logits_BK, LABELS[:4], IMAGES[:4])


def test_a_case_does_not_keep_its_batch():
    (case,) = cases_of(CLASSIFIER, LOGITS[:4], (IMAGES[:4], LABELS[:4], torch.arange(4)), 1)
    assert case.image.untyped_storage().nbytes() == IMAGES[0].numel()


def test_a_bag_is_shown_with_its_elements():
    bags = SetBatch(IMAGES[:6], torch.tensor([1, 3, 2]))
    cases = cases_of(CLASSIFIER, LOGITS[:3], (bags, LABELS[:3], torch.tensor([7, 8, 9])), 3)
    (case,) = [case for case in cases if case.index == 8]
    assert torch.equal(case.image, IMAGES[1:4])
    assert picture_of(None, case)[1] == "bag 8, 3 elements"


def test_sets_of_vectors_are_drawn_between_the_same_limits():
    sets = SetBatch(torch.tensor([[0.0, 1.0], [2.0, 3.0], [8.0, -1.0]]), torch.tensor([2, 1]))
    batch = (sets, torch.tensor([1.0, 8.0]), torch.arange(2))
    cases = cases_of(SimpleNamespace(test_values=True), torch.zeros(2), batch, 2)
    low_F, high_F = common_limits(cases)
    assert (low_F.tolist(), high_F.tolist()) == ([0.0, -1.0], [8.0, 3.0])
    first, second = (picture_of(None, case, (low_F, high_F)) for case in cases)
    assert (first[1], second[1]) == ("set 1, 1 elements", "set 0, 2 elements")
    assert first[0].convert("L").getpixel((first[0].width - 12, 12)) < 100, "at the right, above"


def test_values_and_labels_have_a_loss_of_their_own():
    regression, multilabel = SimpleNamespace(test_values=True), SimpleNamespace(test_labels=True)
    outputs_BK = torch.tensor([[1.0, 2.0], [0.0, -3.0], [4.0, 0.5]])
    batch = (IMAGES[:3], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), torch.arange(3))
    assert [(case.index, case.loss) for case in cases_of(regression, outputs_BK, batch, 3)] == [
        (2, 2.25),
        (1, 2.0),
        (0, 1.0),
    ]
    loss_BK = torch.log1p((-outputs_BK).exp()) * batch[1] + torch.log1p(outputs_BK.exp()) * (1 - batch[1])
    loss_B = loss_BK.mean(1)
    for case in cases_of(multilabel, outputs_BK, batch, 3):
        assert case.loss == pytest.approx(float(loss_B[case.index]))
    trainer = SimpleNamespace(datamodule=SimpleNamespace(class_names=["cat", "dog"]))
    (worst_value,) = cases_of(regression, outputs_BK, batch, 1)
    assert words_of(trainer, regression, worst_value) == ("true: 0, 0", "predicted: 4, 0.5")
    case = Case(1.0, IMAGES[0], 0, torch.tensor([1.0, 1.0]), torch.tensor([0.2, 0.6]))
    assert words_of(trainer, multilabel, case) == ("true: cat, dog", "predicted: dog")


def test_a_number_below_one_is_refused():
    with pytest.raises(ValueError, match=r"worst_images\.count=0"):
        WorstImages(0)
