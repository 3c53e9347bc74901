"""Every network of sets of config/ can be exported as (patches, mask) -> logits."""

import warnings

import pytest
import torch
from configs import CONFIG, composed
from hydra.utils import instantiate
from torch._dynamo.testing import CompileCounterWithBackend

from network.padded_patches import PaddedPatches
from set_module.set_batch import SetBatch


def options(group: str) -> list[str]:
    return [f"{group}={path.stem}" for path in sorted((CONFIG / group).glob("*.yaml"))]


# the networks of sets, and what is not a set module (tests/set_module/test_every_set_module.py has these); a canvas
# takes images
CHOICES = [
    *(
        choice
        for choice in options("model")
        if choice != "model=canvas" and "patch_s" in (CONFIG / f"{choice.replace('=', '/')}.yaml").read_text()
    ),
    *options("model/embed"),
    *options("model/position"),
]
every_choice = pytest.mark.parametrize("choice", CHOICES)
traceable_choice = pytest.mark.parametrize(  # export.py refuses dtfd_mil
    "choice", [choice for choice in CHOICES if choice != "model=dtfd_mil"]
)


def build(choice: str) -> PaddedPatches:
    torch.manual_seed(0)
    config = composed(choice, "hparams.patch_size=7", "data=MNIST")
    return PaddedPatches(instantiate(config.model, _convert_="all").network).eval()


def patches_of(*lengths: int, low: int = 0, high: int = 256, corners: bool) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randint(low, high, (n, 1, 7, 7), dtype=torch.uint8, generator=generator) for n in lengths]
    padded = SetBatch.from_list(sets).pad()
    if not corners:
        return padded
    places = [torch.randint(22, (n, 2), generator=generator) for n in lengths]
    return (*padded, SetBatch.from_list(places).pad()[0])


def test_no_network_of_sets_is_left_out():
    of_sets = {"patch_set", "deep_sets", "set_transformer", "attention_mil", "bag_of_patches", "pointnet"}
    assert of_sets <= {choice.removeprefix("model=") for choice in CHOICES}


@pytest.mark.long
@traceable_choice
def test_onnx_equals_eager_on_a_second_all_negative_batch_of_another_size(choice, tmp_path):
    import onnxruntime

    network = build(choice)
    with_corners = network.network.position is not None
    inputs = patches_of(3, 1, 4, corners=with_corners)
    sizes = tuple({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for _ in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.onnx, about itself
        program = torch.onnx.export(network, inputs, dynamo=True, dynamic_shapes=sizes, verbose=False)
    program.save(tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    # below the mean: negative once normalised
    inputs = patches_of(2, 9, 1, 5, 6, high=30, corners=with_corners)
    names = [node.name for node in session.get_inputs()]
    (logits,) = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    torch.testing.assert_close(torch.from_numpy(logits), network(*inputs).detach(), rtol=1e-4, atol=1e-5)

    inputs[1][2] = False  # an empty set, which eager refuses
    (logits,) = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    assert torch.from_numpy(logits).isnan().all(1).tolist() == [False, False, True, False, False]


@pytest.mark.long
@traceable_choice
def test_compiles_whole_with_one_recompilation_over_eight_shapes(choice):
    network = build(choice).network
    counter = CompileCounterWithBackend("aot_eager")

    def logits(patches, corners):
        return network.read(network.encode(patches, corners))

    compiled = torch.compile(logits, backend=counter, fullgraph=True)
    for number in range(2, 10):  # more patches than 15: for fewer, convolutions choose another algorithm
        x, mask, *places = patches_of(*range(9, 9 + number), corners=network.position is not None)
        sets = [SetBatch.from_padded(tensor, mask) for tensor in (x, *places)]
        patches, corners = sets if places else (sets[0], None)
        with torch.no_grad():
            torch.testing.assert_close(compiled(patches, corners), logits(patches, corners), rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2
    torch._dynamo.reset()
