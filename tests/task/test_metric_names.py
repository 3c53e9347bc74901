import re

import pytest

from task.metrics import names


def test_as_they_are_logged():
    entries = ["accuracy", "top_5", "MulticlassCohenKappa", "MatthewsCorrCoef", "AUROC", {"FBetaScore": {"beta": 2.0}}]
    assert names(entries) == ["accuracy", "top_5", "cohen_kappa", "matthews_corr_coef", "auroc", "f_beta_score"]
    assert names([{"f1": {"average": "weighted"}}]) == ["f1"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["acuracy"], "acuracy: no such metric; did you mean accuracy?"),
        (["kappa"], "kappa: no such metric; there are accuracy, f1, "),
        (["top_0"], "top_0: no such metric"),
        ([5], "5: write the name of a metric, or {name: {argument: value}}"),
        ([{"f1": "macro"}], "write the name of a metric, or {name: {argument: value}}"),
        (["CohenKappa", "MulticlassCohenKappa"], "there are two metrics cohen_kappa: leave one of them out"),
    ],
)
def test_refused_before_anything_is_imported(entries, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        names(entries)
