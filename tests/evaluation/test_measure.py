"""The rows of the table that evaluate.py prints."""

from evaluation.measure import rows


def test_a_part_with_one_result_keeps_its_name_and_one_with_several_is_one_row():
    classes = {"test_accuracy/class=cat": 0.5, "test_accuracy/class=a/b": None}
    assert rows({"test_loss": 1.0, "per_class": classes, "confusion_matrix": [[1]]}, 1) == {"test_loss": 1.0} | classes
    labels = {"test_f1/label=cat": 0.5, "test_precision/label=cat": None}
    sizes = {"test_f1/n=4": 0.25}
    assert rows({"per_label": labels, "sizes": sizes}, 1) == {"label=cat": "f1 0.5000, precision -"} | sizes


def test_of_many_parts_the_worst_are_shown():
    counts = {f"test_mae/count={n}": float(n) for n in range(30)}
    shown = rows({"per_count": counts}, 1)
    assert next(iter(shown)) == "test_mae/count=29"
    assert shown["20 other counts"] == "in evaluation.json; verbosity=2 shows all"
    assert rows({"per_count": counts}, 2) == counts
