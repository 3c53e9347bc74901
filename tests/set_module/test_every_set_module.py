"""Properties of every set module: a new one is added to a table below, in one line."""

import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from set_module.additive_mil import AdditiveMIL
from set_module.attention_pool import AttentionPool
from set_module.clam import CLAM
from set_module.dsmil import DSMIL
from set_module.equivariant import EquivariantLayer, EquivariantLinear
from set_module.isab import ISAB
from set_module.latent_pool import LatentPool
from set_module.pma import PMA
from set_module.reduce_pool import ReducePool
from set_module.residual import ResidualBlock
from set_module.sab import SAB
from set_module.set_batch import SetBatch
from set_module.set_norm import SetNorm
from set_module.sort_pool import SortPool
from set_module.stack import Stack
from set_module.trans_mil import TransMIL
from set_module.transport_pool import TransportPool

D = 8  # features of an element
POOLS = {  # set -> vector
    "reduce": partial(ReducePool, reductions=["sum", "mean", "max", "min", "std"]),
    "reduce, soft": partial(ReducePool, reductions=["logsumexp", "softmax"]),
    "reduce, sum / sqrt(n)": partial(ReducePool, reductions=["sum"], sum_scale="sqrt"),
    "attention": partial(AttentionPool, hidden=4, heads=2),
    "gated attention": partial(AttentionPool, hidden=4, gated=True),
    "sort": partial(SortPool, pieces=3),
    "DSMIL": partial(DSMIL, num_outputs=3, hidden=4),
    "additive MIL": partial(AdditiveMIL, num_outputs=3, hidden=4, widths=[5]),
    "CLAM": partial(CLAM, num_outputs=3, hidden=4),
    "CLAM, multi-branch": partial(CLAM, num_outputs=3, hidden=4, gated=False, multi_branch=True),
    "TransMIL": partial(TransMIL, num_outputs=3, width=4, heads=2),
    "latent": partial(LatentPool, latents=3, heads=2, depth=1, expansion=None),
    "transport": partial(TransportPool, references=3, iterations=3),
    "PMA": partial(PMA, heads=2),
    "PMA, 3 seeds": partial(PMA, heads=2, seeds=3, self_attention=True),
    "PMA, set norm": partial(PMA, heads=2, seeds=3, norm="set", expansion=2),
}
ENCODERS: dict[str, partial] = {  # set -> set
    "set norm": partial(SetNorm),
    "residual": partial(ResidualBlock),
    "equivariant": partial(EquivariantLinear, out_features=5),
    "equivariant, tied mean": partial(EquivariantLinear, pool="mean", tied=True),
    "deep sets": partial(Stack, layer=EquivariantLayer, depth=2),
    "SAB": partial(SAB, heads=2),
    "SAB, transformer": partial(Stack, layer=partial(SAB, heads=4, norm="pre", expansion=4), depth=2),
    "SAB, set norm": partial(SAB, heads=2, norm="set"),
    "SAB, no norm": partial(SAB, heads=1, norm="none"),
    "ISAB": partial(ISAB, heads=2, points=3),
    "ISAB, set norm": partial(ISAB, heads=2, points=3, norm="set"),
}
LENGTHS = (5, 1, 3, 1, 8)

every_module = pytest.mark.parametrize("name", [*POOLS, *ENCODERS])
every_dtype = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return {**POOLS, **ENCODERS}[name](in_features=D)


def random_sets(*lengths: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator).to(dtype) for n in lengths]


def output(module: nn.Module, sets: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return one tensor per set: the vector of a pool, the elements of an encoder."""
    out = module(SetBatch.from_list(sets))
    return list(out)


def output_and_gradient(module: nn.Module, sets: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    leaves = [s.clone().requires_grad_() for s in sets]
    outputs = output(module, leaves)
    sum((o * torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view_as(o)).sum() for o in outputs).backward()
    return [o.detach() for o in outputs], [leaf.grad for leaf in leaves]


@every_module
def test_says_how_many_features_come_out(name):
    module = build(name)
    for each in output(module.double(), random_sets(*LENGTHS)):
        assert each.shape[-1] == module.out_features


@every_module
@every_dtype
@pytest.mark.parametrize("lengths", [LENGTHS, (1, 700, 2)], ids=str)
def test_order_means_nothing(name, lengths, dtype, tolerance):
    """Invariance of a pool, equivariance of an encoder, in value and gradient."""
    module = build(name).to(dtype)
    sets = random_sets(*lengths, dtype=dtype)
    generator = torch.Generator().manual_seed(2)
    orders = [torch.randperm(len(s), generator=generator) for s in sets]
    ours = output(module, sets)
    shuffled = output(module, [s[order] for s, order in zip(sets, orders, strict=True)])
    for one, other, order in zip(ours, shuffled, orders, strict=True):
        expected = one[order] if name in ENCODERS else one
        scale = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(other, expected, rtol=0, atol=tolerance * scale)


@every_module
@pytest.mark.parametrize("disturbance", [torch.nan, torch.inf, 1e30])
def test_a_disturbed_set_changes_no_bit_of_another(name, disturbance):
    module = build(name).double()
    sets = random_sets(*LENGTHS)
    disturbed = [s + disturbance if i == 2 else s for i, s in enumerate(sets)]
    (ours, our_grads), (theirs, their_grads) = (output_and_gradient(module, each) for each in (sets, disturbed))
    for i in (0, 1, 3, 4):
        assert torch.equal(ours[i], theirs[i])
        assert torch.equal(our_grads[i], their_grads[i])


@every_module
@every_dtype
def test_a_batch_equals_its_sets_one_by_one(name, dtype, tolerance):
    module = build(name).to(dtype)
    sets = random_sets(*LENGTHS, dtype=dtype)
    for together, alone in zip(output(module, sets), (output(module, [s])[0] for s in sets), strict=True):
        torch.testing.assert_close(together, alone, rtol=tolerance, atol=tolerance)


@every_module
def test_what_stands_in_the_padding_is_not_looked_at(name):
    module = build(name).double()
    results = []
    for fill in (0.0, 1e4, torch.nan):
        x, mask = SetBatch.from_list(random_sets(*LENGTHS)).pad(fill)
        x.requires_grad_()
        out = module(SetBatch.from_padded(x, mask))
        out = out.values if isinstance(out, SetBatch) else out
        out.square().sum().backward()
        results.append((out, x.grad))
    assert not results[0][1][~mask].any()
    for out, grad in results[1:]:
        assert torch.equal(out, results[0][0])
        assert torch.equal(grad, results[0][1])


@every_module
def test_sets_of_one_and_equal_elements_have_finite_values_and_gradients(name):
    module = build(name)
    for sets in ([torch.zeros(1, D)], [torch.ones(4, D), torch.zeros(3, D), -torch.ones(1, D)]):
        for tensors in output_and_gradient(module, sets):
            assert all(tensor.isfinite().all() for tensor in tensors)
    for parameter_name, parameter in module.named_parameters():
        if parameter_name.startswith("cluster."):  # which only CLAMLoss trains
            continue
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@every_module
def test_gradcheck(name):
    module = build(name).double()
    sets = SetBatch.from_list(random_sets(3, 1, 2))

    def function(values, *parameters):
        out = torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (sets.with_values(values),))
        return out.values if isinstance(out, SetBatch) else out

    names = [parameter_name for parameter_name, _ in module.named_parameters()]
    assert torch.autograd.gradcheck(function, (sets.values.requires_grad_(), *module.parameters()))


@every_module
def test_trains_under_bf16_autocast(name):
    module = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, gradients = output_and_gradient(module, random_sets(*LENGTHS, dtype=torch.float32))
    assert all(tensor.isfinite().all() for tensor in (*outputs, *gradients))


@pytest.mark.long
@every_module
def test_compiles_whole_with_one_recompilation_over_eight_shapes(name):
    module = build(name)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    for number in range(2, 10):
        sets = SetBatch.from_list(random_sets(*range(3, 3 + number), dtype=torch.float32))
        results = []
        for each in (compiled, module):
            values = sets.values.clone().requires_grad_()
            out = each(sets.with_values(values))
            out = out.values if isinstance(out, SetBatch) else out
            out.square().sum().backward()
            results.append((out, values.grad))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2
    torch._dynamo.reset()


@pytest.mark.long
@every_module
def test_onnx_of_padded_sets_equals_eager_on_other_sizes(name, tmp_path):
    import onnxruntime

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = build(name)

        def forward(self, x_BSD: torch.Tensor, mask_BS: torch.Tensor) -> torch.Tensor:
            out = self.module(SetBatch.from_padded(x_BSD, mask_BS))
            return out.values if isinstance(out, SetBatch) else out

    padded = Padded().eval()
    x, mask = SetBatch.from_list(random_sets(4, 2, 3, dtype=torch.float32)).pad()
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.onnx, about itself
        program = torch.onnx.export(padded, (x, mask), dynamo=True, dynamic_shapes=(sizes, sizes), verbose=False)
    program.save(tmp_path / "module.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "module.onnx")

    negative = [-s.abs() - 1 for s in random_sets(1, 6, 2, 7, 3, dtype=torch.float32)]
    x, mask = SetBatch.from_list(negative).pad()
    inputs = {node.name: tensor.numpy() for node, tensor in zip(session.get_inputs(), (x, mask), strict=True)}
    (theirs,) = session.run(None, inputs)
    torch.testing.assert_close(torch.from_numpy(theirs), padded(x, mask).detach(), rtol=1e-4, atol=1e-5)
