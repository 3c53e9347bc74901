"""A learning rate in two cycles: the value at each step, and what is refused."""

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from two_cycles import TwoCycles


def rates(build, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler, found = build(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_each_cycle_is_a_onecycle():
    # OneCycleLR has its peak at step pct_start * length - 1, TwoCycles at 0.3 * (length - 1)
    found = rates(lambda optimizer: TwoCycles(optimizer, 62, share=21 / 62, second=0.5), 62)
    for cycle, peak in ((found[:21], 0.4), (found[21:], 0.2)):
        share = (0.3 * (len(cycle) - 1) + 1) / len(cycle)
        expected = rates(lambda x: OneCycleLR(x, peak, total_steps=len(cycle), pct_start=share), len(cycle) - 1)  # noqa: B023
        assert cycle[:-1] == pytest.approx(expected)
        assert cycle[-1] == pytest.approx(peak / 250000)


@pytest.mark.parametrize(("share", "second"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.0)])
def test_cycles_that_are_none_are_refused(share, second):
    with pytest.raises(ValueError, match=r"choose a (share of the steps between 0 and 1|number > 0)"):
        rates(lambda optimizer: TwoCycles(optimizer, 10, share, second), 1)
