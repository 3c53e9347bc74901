"""MAB against its equations; SAB, ISAB and PMA, which consist of it, against PyG and torch with copied weights."""

import warnings

import pytest
import torch
from torch import nn

from set_module.isab import ISAB
from set_module.mab import MAB
from set_module.pma import PMA
from set_module.sab import SAB
from set_module.set_batch import SetBatch
from set_module.stack import Stack

with warnings.catch_warnings():  # of torch_geometric, about torch
    warnings.simplefilter("ignore")
    from torch_geometric.nn.aggr.utils import (
        InducedSetAttentionBlock,
        PoolingByMultiheadAttention,
        SetAttentionBlock,
    )

D, H, K = 8, 2, 3
LENGTHS = (5, 1, 3, 1, 8)


def random_sets() -> SetBatch:
    values = torch.randn(sum(LENGTHS), D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return SetBatch(values.requires_grad_(), torch.tensor(LENGTHS))


def perturbed(module: nn.Module) -> nn.Module:
    """Change every initial value: a missing scale would have no effect if it were 1."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.double()


def copy(mab: MAB, theirs: nn.Module, names: dict[str, str]) -> None:
    """Copy the weights of a MAB into a published block, {name here: name there}."""
    names = {"project.": "in_proj_", "out.": "out_proj."} | names
    attention = names.pop("attention.")
    there = dict(theirs.named_parameters())
    copied = set()
    for name, parameter in mab.named_parameters():
        for prefix, target in names.items():
            if name.removeprefix("attention.").startswith(prefix):
                target = (attention if name.startswith("attention.") else "") + target
                copied.add(target + name.rsplit(prefix, 1)[1])
                there[target + name.rsplit(prefix, 1)[1]].data.copy_(parameter.data)
    assert copied == set(there)


PYG = {
    "attention.": "attn.",
    "norm_attention.": "layer_norm1.",
    "feed_forward.0.": "lin.",
    "norm_feed_forward.": "layer_norm2.",
}
TORCH = {
    "attention.": "self_attn.",
    "norm_attention.": "norm1.",
    "feed_forward.0.": "linear1.",
    "feed_forward.2.": "linear2.",
    "norm_feed_forward.": "norm2.",
}


def assert_same_value_and_gradient(ours, theirs, sets):
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    weight = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).view_as(ours)
    gradients = [torch.autograd.grad((o * weight).sum(), sets.values, retain_graph=True) for o in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def standardised(x_nD, dims, norm):
    centred = x_nD - x_nD.mean(dims, keepdim=True)
    return centred / (centred.square().mean(dims, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


EQUATIONS = {
    "post": lambda n1, n2, att, ff, x, y: (lambda h: n2(h + ff(h)))(n1(x + att(x, y))),
    "none": lambda n1, n2, att, ff, x, y: (lambda h: h + ff(h))(x + att(x, y)),
    "pre": lambda n1, n2, att, ff, x, y: (lambda h: h + ff(n2(h)))(x + att(n1(x), n1(y))),
    "set": lambda n1, n2, att, ff, x, y: (lambda h: h + ff(n2(h)))(x + att(n1(x), n1(y))),
}


@pytest.mark.parametrize("x_is", ["self", "elements", "shared vectors"])
@pytest.mark.parametrize("expansion", [None, 2])
@pytest.mark.parametrize("norm", EQUATIONS)
def test_mab_is_its_equation_on_each_set(norm, expansion, x_is):
    torch.manual_seed(0)
    mab, y = perturbed(MAB(D, H, norm, expansion)), random_sets()
    shared = torch.randn(K, D, dtype=torch.float64)
    x = {"self": y, "elements": y.map(torch.cos), "shared vectors": shared}[x_is]
    ours = mab(x, y)

    dims = (0, 1) if norm == "set" else 1
    norm_1, norm_2 = (lambda v, n=n: standardised(v, dims, n) for n in (mab.norm_attention, mab.norm_feed_forward))
    layers = [layer for layer in mab.feed_forward if isinstance(layer, nn.Linear)]

    def feed_forward(h):
        h = (h @ layers[0].weight.T + layers[0].bias).clamp(min=0)
        return h if expansion is None else h @ layers[1].weight.T + layers[1].bias

    def attend(one, other):  # equal to a loop, in test_attention.py
        return mab.attention(one[None], other[None])[0]

    xs = [shared] * len(LENGTHS) if x_is == "shared vectors" else x
    theirs = torch.cat(
        [EQUATIONS[norm](norm_1, norm_2, attend, feed_forward, one, other) for one, other in zip(xs, y, strict=True)]
    )
    ours = ours.flatten(0, 1) if x_is == "shared vectors" else ours.values
    assert_same_value_and_gradient(ours, theirs, y)


def test_sab_equals_torch_geometric():
    sets, ours, theirs = random_sets(), perturbed(SAB(D, H)), SetAttentionBlock(D, H).double()
    copy(ours.mab, theirs.mab, PYG)
    padded, mask = sets.pad()
    assert_same_value_and_gradient(ours(sets).values, theirs(padded, mask)[mask], sets)


def test_isab_equals_torch_geometric():
    sets, ours, theirs = random_sets(), perturbed(ISAB(D, H, points=K)), InducedSetAttentionBlock(D, K, H).double()
    copy(ours.gather, theirs.mab1, PYG)
    copy(ours.scatter, theirs.mab2, PYG)
    theirs.ind.data.copy_(ours.points_mD)
    padded, mask = sets.pad()
    assert_same_value_and_gradient(ours(sets).values, theirs(padded, mask)[mask], sets)


@pytest.mark.parametrize("seeds", [1, K])
@pytest.mark.parametrize("self_attention", [False, True])
def test_pma_equals_torch_geometric(seeds, self_attention):
    sets, ours = random_sets(), perturbed(PMA(D, H, seeds, self_attention))
    theirs, then = PoolingByMultiheadAttention(D, seeds, H).double(), SetAttentionBlock(D, H).double()
    copy(ours.mab, theirs.mab, PYG)
    theirs.seed.data.copy_(ours.seeds_kD)
    theirs.lin.load_state_dict(ours.feed_forward[0].state_dict())
    expected = theirs(*sets.pad())
    if self_attention:
        copy(ours.self_attention, then.mab, PYG)
        expected = then(expected)
    assert_same_value_and_gradient(ours(sets), expected.flatten(1), sets)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_stack_of_sabs_is_the_encoder_of_torch_without_positions(norm):
    sets = random_sets()
    last = nn.LayerNorm if norm == "pre" else None
    ours = perturbed(Stack(D, lambda in_features: SAB(in_features, H, norm, expansion=4), depth=2, norm=last))
    layer = nn.TransformerEncoderLayer(D, H, 4 * D, dropout=0, batch_first=True, norm_first=norm == "pre")
    theirs = nn.TransformerEncoder(layer, 2, ours[2] if last else None, enable_nested_tensor=False).double()
    for one, other in zip(list(ours)[:2], theirs.layers, strict=True):
        copy(one.mab, other, TORCH)
    padded, mask = sets.pad()
    expected = theirs(padded, src_key_padding_mask=~mask)[mask]
    assert_same_value_and_gradient(ours(sets).values, expected, sets)


def test_dropout_is_of_both_summands_and_off_in_evaluation():
    sets = random_sets()
    mab = MAB(D, H, "none", dropout=1.0).double()
    assert torch.equal(mab(sets, sets).values, sets.values)  # X + 0 + 0
    without = MAB(D, H, "none").double()
    without.load_state_dict(mab.state_dict())
    assert torch.equal(mab.eval()(sets, sets).values, without(sets, sets).values)


def test_refuses_an_unknown_norm():
    with pytest.raises(ValueError, match="no such norm: 'batch'; choose from post, pre, set, none"):
        MAB(D, H, "batch")


@pytest.mark.parametrize("expansion", [0, -1])
def test_refuses_a_hidden_layer_without_features(expansion):
    with pytest.raises(ValueError, match=f"expansion={expansion}: choose >= 1"):
        MAB(D, H, expansion=expansion)


def test_isab_refuses_no_points():
    with pytest.raises(ValueError, match="points=0: give at least one inducing point"):
        ISAB(D, H, points=0)
