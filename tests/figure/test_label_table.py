import pytest
import torch
from given_logits import shown_in_test
from torchmetrics.functional.classification import multilabel_f1_score, multilabel_precision, multilabel_recall

from figure import label_table
from figure.label_table import LabelTable, drawn_scores, scores

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(23, 5, generator=GENERATOR)
TARGETS = torch.randint(2, (23, 5), generator=GENERATOR).float()


def test_the_scores_over_all_batches_are_those_of_torchmetrics(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(label_table, "drawn_scores", lambda *a: given.append(a) or drawn_scores(*a))
    assert shown_in_test(LabelTable(), tmp_path, LOGITS, TARGETS) == ["labels_at_0.png"]
    ((counts_3K, names),) = given
    assert names == [f"class {number}" for number in range(5)]
    measures = (multilabel_precision, multilabel_recall, multilabel_f1_score)
    expected = [measure(LOGITS.sigmoid(), TARGETS.long(), num_labels=5, average=None) for measure in measures]
    assert torch.allclose(scores(counts_3K).float(), torch.stack(expected))
    assert counts_3K[2].tolist() == TARGETS.sum(0).tolist()


def test_a_label_that_is_never_there_has_no_recall_and_many_labels_are_cut():
    counts_3K = torch.tensor([[2, 0], [2, 0], [4, 0]])
    assert scores(counts_3K)[:, 1].isnan().all()
    small, large = (drawn_scores(counts_3K[:, :1].repeat(1, k), ["x"] * k) for k in (100, 300))
    assert small.height == large.height
