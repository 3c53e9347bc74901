import numpy
import pytest
import torch
from given_logits import shown_in_test

from figure import scatter
from figure.scatter import JITTER, LEFT, SIDE, Scatter, drawn_panel, limits, spread

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def test_all_batches_are_drawn_in_their_order(tmp_path, monkeypatch):
    given, drawn = [], scatter.drawn_panels
    monkeypatch.setattr(scatter, "drawn_panels", lambda *pairs: given.append(pairs) or drawn(*pairs))
    true_NK, predicted_NK = torch.rand(2, 23, 6).unbind(0)
    assert shown_in_test(Scatter(), tmp_path, predicted_NK, true_NK) == ["scatter_at_0.png"]
    ((shown_true_NK, shown_predicted_NK),) = given
    assert torch.equal(shown_true_NK, true_NK[:, :4])
    assert torch.equal(shown_predicted_NK, predicted_NK[:, :4])


def test_a_value_is_to_the_right_of_its_truth_and_as_high_as_its_prediction():
    true_N = torch.tensor([0.5, 10.25, 0.5])
    pixels = numpy.array(drawn_panel(true_N, torch.tensor([0.5, 0.5, 10.25])).convert("L"))[
        :SIDE, LEFT + 1 : LEFT + SIDE
    ]
    low, high = limits(true_N, true_N)
    near, far = (round((value - low) / (high - low) * SIDE) for value in (0.5, 10.25))
    for x, y in ((near, near), (far, near), (near, far)):
        assert pixels[SIDE - y - 1, x - 1] < 60
    assert pixels[SIDE - far - 1, far - 1] > 60, "only the line of equal values"


def test_counts_are_spread_and_other_values_are_not():
    count_N = torch.arange(8).float().repeat(20)
    shift_N = spread(count_N) - count_N
    assert 0.25 < float(shift_N.abs().max()) < JITTER + 1e-6
    assert torch.equal(spread(count_N + 0.5), count_N + 0.5)


def test_a_few_wild_predictions_do_not_set_the_scale_and_nan_is_left_out():
    true_N = torch.linspace(0, 1, 1000)
    predicted_N = true_N.clone()
    predicted_N[:3] = 1e9
    assert limits(true_N, predicted_N)[1] < 2
    predicted_N[3:] = torch.nan
    assert drawn_panel(true_N, predicted_N).size == drawn_panel(true_N, true_N).size
    assert drawn_panel(true_N, torch.full_like(true_N, torch.nan)).size == drawn_panel(true_N, true_N).size
