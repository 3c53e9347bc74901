import pytest
import torch

from set_module.set_batch import SetBatch
from set_module.smooth_mil import SmoothMIL

D, K = 3, 2


def build(**settings) -> SmoothMIL:
    torch.manual_seed(0)
    return SmoothMIL(D, K, hidden=4, **settings).double()


def placed(*corners: list[list[int]]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randn(len(each), D, dtype=torch.float64, generator=generator) for each in corners]
    return [torch.cat([x, torch.tensor(each).double()], dim=1) for x, each in zip(sets, corners, strict=True)]


SETS = placed([[0, 0], [0, 5], [5, 5], [20, 0]], [[7, 7]], [[10, 10], [10, 10], [15, 5]])


def smoothed(module: SmoothMIL, x: torch.Tensor) -> torch.Tensor:
    """Smooth the values of attention by the dense matrix of one set."""
    f = module.attention.scores(SetBatch.from_list([x[:, :-2]])).values
    cells = (x[:, -2:] - x[:, -2:].amin(0)) // module.step
    near = ((cells[:, None] - cells[None]).abs().amax(2) <= 1).double() - torch.eye(len(x), dtype=torch.float64)
    degree = near.sum(1)
    matrix = near / (degree[:, None] * degree[None]).sqrt().clamp(min=1)
    matrix = torch.where(degree[:, None] > 0, matrix, torch.eye(len(x), dtype=torch.float64))
    g = f
    for _ in range(module.smoothings):
        g = module.alpha * matrix @ g + (1 - module.alpha) * f
    return g


def test_equals_the_dense_graph_of_each_set():
    module = build(step=5)
    expected = torch.stack([module.bag(smoothed(module, x).softmax(0).T @ x[:, :-2])[0] for x in SETS])
    torch.testing.assert_close(module(SetBatch.from_list(SETS)), expected, rtol=1e-12, atol=1e-12)


def test_order_means_nothing_and_without_neighbours_it_is_plain_attention():
    module, plain = build(step=5), build(alpha=0.0)
    outputs = module(SetBatch.from_list(SETS))
    torch.testing.assert_close(module(SetBatch.from_list([x.flip(0) for x in SETS])), outputs)
    assert (plain(SetBatch.from_list(SETS)) - outputs)[0].abs().max() > 1e-6
    far = placed([[0, 0], [0, 50], [90, 5]])
    torch.testing.assert_close(plain(SetBatch.from_list(far)), module(SetBatch.from_list(far)))


def test_what_does_not_fit_is_refused():
    for settings, message in (({"alpha": 1.0}, r"alpha=1\.0: choose 0"), ({"step": 0}, "step=0: choose >= 1")):
        with pytest.raises(ValueError, match=message):
            build(**settings)
