"""Packed attention against a loop over sets and heads, and against torch's own on padded sets."""

import pytest
import torch
from torch import nn

from set_module.attention import MultiheadAttention
from set_module.set_batch import SetBatch

B, D, H, K = 4, 8, 2, 3
LENGTHS = pytest.mark.parametrize("lengths", [(5, 1, 3, 2), (4, 4, 4, 4), (1, 1, 1, 1)], ids=str)


def build() -> MultiheadAttention:
    torch.manual_seed(0)
    return MultiheadAttention(D, H).double()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


def loop(attention: MultiheadAttention, x_nD: torch.Tensor, y_mD: torch.Tensor) -> torch.Tensor:
    """Compute attention within one set, for each head and each query in turn."""
    w_q, w_k, w_v = attention.project.weight.split(D)
    b_q, b_k, b_v = attention.project.bias.split(D)
    q, k, v = x_nD @ w_q.T + b_q, y_mD @ w_k.T + b_k, y_mD @ w_v.T + b_v
    rows = []
    for query in q:
        heads = []
        for head in torch.arange(D).split(D // H):
            weights = (k[:, head] @ query[head] / (D // H) ** 0.5).exp()
            heads.append((weights / weights.sum()) @ v[:, head])
        rows.append(torch.cat(heads))
    return torch.stack(rows) @ attention.out.weight.T + attention.out.bias


def assert_same_value_and_gradient(ours, theirs, leaves):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weight = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).view_as(ours)
    gradients = [torch.autograd.grad((each * weight).sum(), leaves) for each in (ours, theirs)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@LENGTHS
def test_elements_look_at_the_elements_of_their_set(lengths):
    attention, x = build(), random(sum(lengths), D)
    sets = SetBatch(x, torch.tensor(lengths))
    theirs = torch.cat([loop(attention, s, s) for s in sets])
    assert_same_value_and_gradient(attention(sets, sets).values, theirs, [x, *attention.parameters()])


@LENGTHS
def test_elements_look_at_others_of_the_same_sets(lengths):
    attention, x, y = build(), random(sum(lengths), D), random(sum(lengths), D)
    sets = SetBatch(x, torch.tensor(lengths))
    others = sets.with_values(y)
    pairs = zip(sets, others, strict=True)
    theirs = torch.cat([loop(attention, one, other) for one, other in pairs])
    assert_same_value_and_gradient(attention(sets, others).values, theirs, [x, y, *attention.parameters()])


@LENGTHS
def test_shared_vectors_look_at_the_elements(lengths):
    attention, x, y = build(), random(K, D), random(sum(lengths), D)
    sets = SetBatch(y, torch.tensor(lengths))
    theirs = torch.stack([loop(attention, x, s) for s in sets])
    assert_same_value_and_gradient(attention(x, sets), theirs, [x, y, *attention.parameters()])


@LENGTHS
def test_elements_look_at_the_vectors_of_their_set(lengths):
    attention, x, y = build(), random(sum(lengths), D), random(B, K, D)
    sets = SetBatch(x, torch.tensor(lengths))
    theirs = torch.cat([loop(attention, s, vectors) for s, vectors in zip(sets, y, strict=True)])
    assert_same_value_and_gradient(attention(sets, y).values, theirs, [x, y, *attention.parameters()])


def test_vectors_of_a_set_look_at_each_other():
    attention, x = build(), random(B, K, D)
    theirs = torch.stack([loop(attention, vectors, vectors) for vectors in x])
    assert_same_value_and_gradient(attention(x, x), theirs, [x, *attention.parameters()])


@LENGTHS
def test_equals_torch_on_padded_sets(lengths):
    attention, x = build(), random(sum(lengths), D)
    theirs = nn.MultiheadAttention(D, H, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(attention.project.weight)
        theirs.in_proj_bias.copy_(attention.project.bias)
        theirs.out_proj.weight.copy_(attention.out.weight)
        theirs.out_proj.bias.copy_(attention.out.bias)
    sets = SetBatch(x, torch.tensor(lengths))
    padded, mask = sets.pad()
    expected, _ = theirs(padded, padded, padded, key_padding_mask=~mask)
    assert_same_value_and_gradient(attention(sets, sets).values, expected[mask], [x])


@LENGTHS
def test_weights_are_those_that_the_values_are_summed_by(lengths):
    attention, x, y = build(), random(K, D), random(sum(lengths), D)
    sets = SetBatch(y, torch.tensor(lengths))
    v = torch.nn.functional.linear(y, attention.project.weight[2 * D :], attention.project.bias[2 * D :])
    for weights, values, attended in zip(
        attention.weights(x, sets), sets.with_values(v), attention(x, sets), strict=True
    ):
        weights_nKH = weights.unflatten(1, (K, H))
        torch.testing.assert_close(weights_nKH.sum(0), torch.ones(K, H).double())
        summed = torch.einsum("nkh,nhe->khe", weights_nKH, values.unflatten(1, (H, -1))).flatten(1)
        torch.testing.assert_close(attention.out(summed), attended, rtol=1e-12, atol=1e-12)


@LENGTHS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_in_half_precision_and_near_fp32(lengths, dtype):
    attention = build().to(dtype)
    sets = SetBatch(torch.randn(sum(lengths), D).to(dtype), torch.tensor(lengths))
    ours = attention(sets, sets).values
    assert ours.dtype == dtype
    single = sets.map(torch.Tensor.float)
    torch.testing.assert_close(ours.float(), attention.float()(single, single).values, rtol=0.02, atol=0.02)


def test_sets_of_one_size_lose_nothing_to_each_other_when_one_is_nan():
    attention, x = build(), random(B * 2, D)
    disturbed = x.detach().clone()
    disturbed[2] = torch.nan
    ours, theirs = (
        attention(sets, sets).values for sets in (SetBatch(v, torch.tensor([2] * B)) for v in (x, disturbed))
    )
    assert theirs[2:4].isnan().all()
    others = [0, 1, 4, 5, 6, 7]
    assert torch.equal(ours[others], theirs[others])


@pytest.mark.parametrize("heads", [3, 0, -2, 16])
def test_refuses_heads_that_do_not_divide_the_features(heads):
    with pytest.raises(ValueError, match=rf"heads={heads} does not divide in_features=8: choose a divisor"):
        MultiheadAttention(8, heads)
