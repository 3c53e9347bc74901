"""Every network of sets takes vectors as elements, and what is for patches of images is refused."""

from functools import partial

import pytest
import torch
from configs import CONFIG, composed
from hydra.utils import instantiate

from network.cnn_embed import CNNEmbed
from network.mlp_embed import MLPEmbed
from network.padded_patches import PaddedPatches
from network.patch_set import PatchSet
from selection.grid import Grid
from set_module.position import SinusoidalPosition
from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch
from set_module.set_network import split_outputs, takes_bags

F, K = 3, 8  # features of a vector, outputs
VECTORS = (
    "+data.features=3",
    "+model.network.features=3",
    "data.channels=null",
    "data.image_size=null",
    "data.mean=[0.5,-1,20]",
    "data.std=[2,0.5,10]",
    "data.num_classes=8",
    "hparams.patch_size=null",
    "hparams.pool=[mean]",
)


def of_sets(name: str) -> bool:
    network = composed(f"model={name}").model.network
    return "sets" in network and network.position is None


MODELS = [path.stem for path in sorted((CONFIG / "model").glob("*.yaml")) if of_sets(path.stem)]
OF_PATCHES = ("cnn", "timm", "torchvision")
EMBEDS = [path.stem for path in sorted((CONFIG / "model" / "embed").glob("*.yaml")) if path.stem not in OF_PATCHES]
every_network = pytest.mark.parametrize("name", MODELS)


def build(*overrides: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return instantiate(composed(*VECTORS, *overrides).model, _convert_="all").network


def sets_of(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, F, generator=generator) for n in lengths]


@every_network
def test_the_order_of_vectors_means_nothing_and_each_of_them_counts(name):
    network = build(f"model={name}").double().eval()
    sets = [elements.double() for elements in sets_of(4, 1, 6)]

    def outputs_of(sets: list[torch.Tensor]) -> torch.Tensor:
        return split_outputs(network(SetBatch.from_list(sets)))[0]

    outputs = outputs_of(sets)
    assert outputs.shape == (3, K)
    torch.testing.assert_close(outputs_of([elements.flip(0) for elements in sets]), outputs)
    alone = torch.cat([outputs_of([elements]) for elements in sets])
    torch.testing.assert_close(alone, outputs)
    shifted = [elements + (torch.arange(len(elements)) == 0)[:, None] for elements in sets]
    assert ((outputs_of(shifted) - outputs).abs().amax(1) > 1e-6).all()


@every_network
def test_every_parameter_is_trained_by_vectors(name):
    network = build(f"model={name}")
    outputs, others = split_outputs(network(SetBatch.from_list(sets_of(4, 1, 6))))
    known = [others[name].values for name in others if name != "output"]
    sum(each.square().sum() for each in (outputs, *known)).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", EMBEDS)
def test_every_embedding_but_those_of_images_takes_vectors(name):
    network = build(f"model/embed={name}")
    assert takes_bags(network)
    assert network(SetBatch.from_list(sets_of(4, 1))).shape == (2, K)


def test_vectors_are_normalised_by_the_statistics_of_the_data():
    raw, unit = build(), build("data.mean=[0]", "data.std=[1]")
    sets = SetBatch.from_list(sets_of(4, 1, 6))
    scaled = sets.map(lambda values_NF: values_NF * torch.tensor([2, 0.5, 10]) + torch.tensor([0.5, -1, 20]))
    torch.testing.assert_close(raw(scaled), unit(sets), rtol=1e-4, atol=1e-5)


@every_network
def test_padded_vectors_have_the_same_outputs(name):
    network, sets = build(f"model={name}").eval(), SetBatch.from_list(sets_of(4, 1, 6))
    outputs = split_outputs(network(sets))[0]
    torch.testing.assert_close(split_outputs(PaddedPatches(network)(*sets.pad(torch.nan)))[0], outputs)


def of_vectors(**settings) -> PatchSet:
    facts = {"channels": None, "image_size": None, "mean": [0.0], "std": [1.0], "num_outputs": K, "features": F}
    cut = {"patch_size": None, "patch_num_min": 1, "patch_num_max": 4, "seed": 0, "sets": True}
    parts = {"embed": partial(MLPEmbed, widths=[4]), "pool": partial(ReducePool, reductions=["mean"])}
    return PatchSet(**facts | cut | parts | settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sets": False}, "^the elements are vectors, nothing is cut"),
        ({"position": SinusoidalPosition}, "leave out the position"),
        ({"embed": partial(CNNEmbed, widths=[4])}, "CNNEmbed embeds patches, and the elements are vectors: choose"),
        ({"features": None}, "give both of images, or features of vectors"),
        ({"mean": [0.0, 0.0]}, "mean has 2 entries for 3 features"),
    ],
)
def test_what_does_not_fit_vectors_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        of_vectors(**settings)


def test_other_elements_are_refused():
    network = of_vectors()
    with pytest.raises(ValueError, match=r"vectors have shape \[5, 2\]: give \[N, 3\]"):
        network(SetBatch(torch.zeros(5, 2), [5]))
    with pytest.raises(ValueError, match=r"are torch\.uint8: give float32"):
        network(SetBatch(torch.zeros(5, 3, dtype=torch.uint8), [5]))
    with pytest.raises(ValueError, match="the data must be sets"):
        network(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="have no places"):
        network.evidence(SetBatch(torch.zeros(5, 3), [5]), None, torch.zeros(1, dtype=torch.int64))


def test_an_embedding_of_vectors_alone_is_refused_for_patches():
    def embed(features: int) -> MLPEmbed:
        return MLPEmbed(features=features, widths=[4])

    image = {"features": None, "channels": 1, "image_size": [6, 6], "patch_size": 3, "sets": False, "selection": Grid}
    with pytest.raises(ValueError, match="embed embeds vectors, and the elements are patches"):
        of_vectors(embed=embed, **image)
