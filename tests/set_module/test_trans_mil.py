import pytest
import torch
from torch import Tensor

from set_module.set_batch import SetBatch
from set_module.trans_mil import TransMIL

F, K = 3, 2


def build(**settings) -> TransMIL:
    torch.manual_seed(0)
    return TransMIL(F, K, **{"width": 4, "heads": 2} | settings).double()


def random_sets(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, F, dtype=torch.float64, generator=generator) for n in lengths]


def published(module: TransMIL, x_nF: Tensor) -> tuple[Tensor, Tensor]:
    """Compute algorithm 2 of the paper for one bag: the output, and the last attention of the token [n, H]."""
    h_nD = module.embed(x_nF)
    if module.ppeg is not None:
        side = next(s for s in range(100) if s * s >= len(h_nD))
        h_nD = torch.cat([h_nD, h_nD[: side * side - len(h_nD)]])
    t = torch.cat([module.token_D[None], h_nD])
    for number, attention in enumerate(module.attentions):
        q, k, v = attention.project(module.norms[number](t)).chunk(3, dim=1)
        columns = slice(0, 2), slice(2, 4)
        weights = [(q[:, c] @ k[:, c].T / 2**0.5).softmax(1) for c in columns]
        t = t + attention.out(torch.cat([w @ v[:, c] for w, c in zip(weights, columns, strict=True)], dim=1))
        if number == 0 and module.ppeg is not None:
            grid = t[1:].T.unflatten(1, (side, side))[None]
            encoded = grid + sum(kernel(grid) for kernel in module.ppeg.kernels)
            t = torch.cat([t[:1], encoded[0].flatten(1).T])
    return module.out(module.norms[2](t[0])), torch.stack([w[0, 1 : 1 + len(x_nF)] for w in weights], dim=1)


@pytest.mark.parametrize("ppeg", ["none", "order"])
def test_equals_the_published_algorithm_one_bag_at_a_time(ppeg):
    module, sets = build(ppeg=ppeg), random_sets(7, 1, 16, 2)
    expected = torch.stack([published(module, x)[0] for x in sets])
    torch.testing.assert_close(module(SetBatch.from_list(sets)), expected, rtol=1e-12, atol=1e-12)


def test_places_in_a_full_square_make_the_same_grid_in_any_order():
    module, (x,) = build(ppeg="places", step=5), random_sets(9)
    corners = torch.tensor([[10.0 + 5 * (i // 3), 35.0 + 5 * (i % 3)] for i in range(9)], dtype=torch.float64)
    order, placed = torch.randperm(9), torch.cat([x, corners], dim=1)
    expected = build(ppeg="order")(SetBatch.from_list([x]))
    torch.testing.assert_close(module(SetBatch.from_list([placed])), expected)
    torch.testing.assert_close(module(SetBatch.from_list([placed[order]])), expected)


def test_bags_of_any_outline_keep_their_neighbours_in_a_batch():
    module, sets = build(ppeg="places"), random_sets(3, 1, 5)
    corners = [[[0, 0], [0, 1], [7, 0]], [[3, 3]], [[2, 2], [2, 3], [3, 2], [9, 9], [9, 9]]]
    placed = [torch.cat([x, torch.tensor(c).double()], dim=1) for x, c in zip(sets, corners, strict=True)]
    alone = torch.cat([module(SetBatch.from_list([x])) for x in placed])
    torch.testing.assert_close(module(SetBatch.from_list(placed)), alone)
    far = [placed[0] + torch.tensor([[0, 0, 0, 0, 0]] * 2 + [[0, 0, 0, 90, 0]]), *placed[1:]]
    torch.testing.assert_close(module(SetBatch.from_list(far)), alone)  # beyond the kernel of 7 nothing is seen
    near = [placed[0] - torch.tensor([[0, 0, 0, 0, 0]] * 2 + [[0, 0, 0, 6, 0]]), *placed[1:]]
    assert (module(SetBatch.from_list(near)) - alone)[0].abs().max() > 1e-6


@pytest.mark.parametrize("ppeg", ["none", "order"])
def test_landmarks_change_no_small_bag_and_the_token_row_is_that_of_all_rows(ppeg):
    exact, module = (build(ppeg=ppeg, landmarks=landmarks) for landmarks in (None, 5))
    small, large = random_sets(4, 30)
    sets = SetBatch.from_list([small, large])
    torch.testing.assert_close(module(sets)[0], exact(sets)[0])
    assert (module(sets)[1] - exact(sets)[1]).abs().max() > 1e-9
    for number in (0, 1):
        torch.testing.assert_close(
            module._attend_token(number, *first_of(module, sets)), first_rows(module, sets, number)
        )
    module(sets).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def first_of(module: TransMIL, sets: SetBatch) -> tuple[SetBatch, Tensor]:
    tokens = sets.map(module.embed)
    return tokens, tokens.lengths.cumsum(0) - tokens.lengths


def first_rows(module: TransMIL, sets: SetBatch, number: int) -> Tensor:
    tokens, first_B = first_of(module, sets)
    return module._attend(number, tokens).index_select(0, first_B)


@pytest.mark.parametrize("ppeg", ["none", "order"])
def test_weights_are_the_attention_of_the_token(ppeg):
    module, sets = build(ppeg=ppeg), random_sets(7, 1)
    weights = module.outputs(SetBatch.from_list(sets), ["weights"])["weights"]
    for weights_nH, x in zip(weights, sets, strict=True):
        torch.testing.assert_close(weights_nH, published(module, x)[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ppeg": "square"}, "no such ppeg='square': choose from none, order, places"),
        ({"landmarks": 0}, "landmarks=0: choose >= 1"),
        ({"heads": 3}, "heads=3 does not divide"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
