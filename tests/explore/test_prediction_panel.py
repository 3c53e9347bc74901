import re

from explore.prediction_panel import COLOURS, MOST_BARS, bars


def test_a_bar_is_as_long_as_its_probability_and_the_true_class_is_marked():
    page = bars(["cat", "dog"], [[0.25, 0.75]], before=[0.5, 0.5], label=0)
    assert re.findall(r"width:([\d.]+)%;background", page) == ["25.00", "75.00"]
    assert re.findall(r'ps-true"[^>]*>(\w+) ✓', page) == ["cat"]
    assert page.count('class="ps-mark" style="left:calc(50.00%') == 2


def test_what_has_not_moved_has_no_mark():
    assert 'class="ps-mark"' not in bars(["cat", "dog"], [[0.25, 0.75]], before=[0.25, 0.75])


def test_of_many_classes_the_likeliest_and_the_true_one_are_shown():
    row = [1.0] + 99 * [0.0]
    page = bars([f"class{k}" for k in range(100)], [row, row], label=99)
    assert page.count('class="ps-name') == MOST_BARS + 1
    assert page.index("class0") < page.index("class99")
    assert all(colour in page for colour in COLOURS)


def test_names_are_text():
    assert "<script>" not in bars(["<script>", "b"], [[0.5, 0.5]])
