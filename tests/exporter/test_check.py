"""A file that differs from its network is not written."""

from functools import partial

import pytest
import torch
from tasks import classification
from torch import nn

from datamodule.loader import MemorySource, SetSource
from exporter.check import agreement
from exporter.exporter import Exporter
from exporter.formats import ONNX, PT2
from exporter.interface import Images, Patches, random_input
from exporter.sample import Sample
from exporter.score import Score
from network.canvas import Canvas
from network.cnn import CNN
from network.flat_embed import IdentityEmbed
from network.masked_autoencoder import MaskedAutoencoder
from network.mil import MIL
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from process.errors import UserError
from selection.attention_sampling import AttentionSampling
from selection.fixed import FixedPlaces
from selection.glimpse import Glimpses
from selection.grid import Grid
from set_module.dtfd_mil import DTFDMIL
from set_module.janossy_pool import JanossyPool
from set_module.position import SinusoidalPosition
from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch
from set_module.trans_mil import TransMIL
from task.regression import Regression

FACTS = {"channels": 1, "image_size": [8, 8], "num_outputs": 3, "mean": [0.5], "std": [0.5]}
TASK = classification()


@pytest.fixture
def cnn():
    torch.manual_seed(0)
    return CNN(**FACTS, widths=[4]).eval()


class Wrong(PT2):
    """A format that changes a single logit in batches of one size."""

    def open(self, content, names):
        run = super().open(content, names)
        return lambda images: run(images) + (len(images) == 7) * 1e-3 * torch.eye(7, 3)[: len(images)]


def test_a_difference_in_one_batch_of_one_format_leaves_no_file(cnn, tmp_path):
    with pytest.raises(UserError, match=r"differs from its original by 0\.001 in an output.*in a batch of 7"):
        list(Exporter(1, [8, 8], "grid", {"pt2": PT2(), "wrong": Wrong()}).export(cnn, TASK, tmp_path, {}, None))
    assert not list(tmp_path.iterdir())
    ((path, _, found),) = Exporter(1, [8, 8], "grid", {"onnx": None, "pt2": PT2()}).export(
        cnn, TASK, tmp_path, {}, None
    )
    assert path.name == "model.pt2"
    assert (found.metric, found.score) == (None, None)
    assert found.difference < 1e-6


@pytest.mark.parametrize("broken", [lambda x: x * torch.nan, lambda x: x[:, :2], lambda x: x[:1]])
def test_nan_and_other_shapes_are_differences(cnn, broken):
    interface = Images(cnn, [8, 8], "grid")
    with pytest.raises(UserError, match="no file is written"):
        agreement(interface, lambda images: broken(cnn(images)), (1, 8, 8), None, Score(TASK))


def test_accuracy_is_that_of_the_test_images(cnn):
    images = torch.randint(256, (10, 1, 8, 8), dtype=torch.uint8)
    labels = cnn(images).argmax(1)
    labels[:3] = (labels[:3] + 1) % 3
    sample = Sample(MemorySource(images, labels))
    found = agreement(Images(cnn, [8, 8], "grid"), cnn, (1, 8, 8), sample, Score(TASK))
    assert (found.metric, found.score, found.tested) == ("accuracy", pytest.approx(0.7), 10)


def test_bags_are_given_to_networks_of_bags(tmp_path):
    def embed(channels, patch_size):
        flat = nn.Sequential(nn.Flatten(), nn.Linear(channels * patch_size**2, 4))
        flat.out_features = 4
        return flat

    pool = lambda in_features: ReducePool(in_features, reductions=["mean"])  # noqa: E731
    count = {"patch_size": 8, "patch_num_min": 1, "patch_num_max": 4, "seed": 0, "sets": True}
    network = PatchSet(**FACTS, **count, embed=embed, pool=pool).eval()
    assert len(set(random_input(network, 32, [1, 8, 8], seed=0).lengths.tolist())) > 3
    ((path, interface, _),) = Exporter(1, [8, 8], "grid", {"pt2": PT2()}).export(network, TASK, tmp_path, {}, None)
    assert path.name == "model_patches.pt2"
    assert isinstance(interface, Patches)


def test_sets_of_vectors_are_values_and_a_mask(tmp_path):
    pool = lambda in_features: ReducePool(in_features, reductions=["mean"])  # noqa: E731
    count = {"patch_size": None, "patch_num_min": 1, "patch_num_max": 4, "seed": 0, "sets": True}
    facts = {**FACTS, "channels": None, "image_size": None, "features": 2, "num_outputs": 1}
    network = PatchSet(**facts, **count, embed=IdentityEmbed, pool=pool).eval()
    sets = SetBatch(torch.arange(10.0).reshape(5, 2), [1, 4])
    targets = network(sets)[:, 0].detach() + torch.tensor([1.0, 2.0])
    exporter = Exporter(None, None, None, {"pt2": PT2()}, features=2)
    task = Regression((), num_outputs=1, loss=nn.L1Loss())
    ((path, interface, found),) = exporter.export(network, task, tmp_path, {}, Sample(SetSource(sets, targets)))
    assert (path.name, interface.words, found.metric) == ("model.pt2", "values, mask", "mae")
    assert (found.score, found.tested) == (pytest.approx(1.5), 2)
    program = torch.export.load(path).module()
    values, mask = sets.pad()
    padded = torch.cat([values, torch.full((2, 3, 2), torch.nan)], 1), torch.cat([mask, torch.zeros(2, 3).bool()], 1)
    torch.testing.assert_close(program(*padded), network(sets))


def test_of_a_dictionary_the_output_alone_is_exported(cnn, tmp_path):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = cnn

        def forward(self, images, index_B=None):
            return {"output": self.cnn(images), "other": images}

    ((path, _, _),) = Exporter(1, [8, 8], None, {"pt2": PT2()}).export(Named().eval(), TASK, tmp_path, {}, None)
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(torch.export.load(path).module()(images), cnn(images))


def test_a_masked_autoencoder_is_exported_with_the_mean_features_of_all_patches():
    facts = {"channels": 1, "image_size": [8, 8], "mean": [0.5], "std": [0.5], "seed": 0, "patch_size": 4}
    parts = {"embed": partial(MLPEmbed, widths=[8]), "position": SinusoidalPosition, "heads": 2}
    torch.manual_seed(0)
    network = MaskedAutoencoder(**facts, **parts, patch_num_min=4, patch_num_max=4, selection=Grid).eval()
    images = random_input(network, 3, (1, 8, 8), seed=0)
    interface = Patches(network)
    outputs_BD = interface.module(*interface.inputs(images))
    torch.testing.assert_close(outputs_BD, interface.outputs(images))
    features = network.encode(*network.cut(images))
    torch.testing.assert_close(outputs_BD, torch.stack([each.mean(0) for each in features]))
    assert not torch.allclose(outputs_BD, network(images)["output"], atol=1e-3)  # it sees one patch of four


@pytest.mark.parametrize(
    ("classifier", "remedy"),
    [
        (DTFDMIL, "choose another model, such as clam"),
        (partial(TransMIL, width=None, heads=2, ppeg="order"), "ppeg=none model.network.classifier.landmarks=null"),
        (partial(TransMIL, width=None, heads=2, landmarks=5), "ppeg=none model.network.classifier.landmarks=null"),
    ],
)
def test_a_classifier_whose_graph_depends_on_the_data_is_refused(classifier, remedy, tmp_path):
    count = {"patch_size": 8, "patch_num_min": 1, "patch_num_max": 4, "seed": 0, "sets": True}
    network = MIL(**FACTS, **count, embed=partial(MLPEmbed, widths=[4]), classifier=classifier)
    with pytest.raises(UserError, match=f"no file can hold this network: .*{remedy}"):
        Exporter(1, [8, 8], None, {"pt2": PT2()}).export(network, TASK, tmp_path, {}, None)
    assert not list(tmp_path.iterdir())


def test_a_pool_whose_graph_depends_on_the_data_is_refused(tmp_path):
    count = {"patch_size": 8, "patch_num_min": 1, "patch_num_max": 4, "seed": 0, "sets": True}
    network = PatchSet(**FACTS, **count, embed=partial(MLPEmbed, widths=[4]), pool=JanossyPool)
    with pytest.raises(UserError, match=r"no file can hold this network: .*choose another model/pool"):
        Exporter(1, [8, 8], None, {"pt2": PT2()}).export(network, TASK, tmp_path, {}, None)


def canvas(selection):
    torch.manual_seed(0)
    patches = {"patch_size": 3, "patch_num_min": 1, "patch_num_max": 4, "test_patch_num": 4, "seed": 0}
    network = Canvas(**FACTS, **patches, selection=selection, body=partial(CNN, widths=[4])).eval()
    for parameter in network.cutout.parameters():
        torch.nn.init.normal_(parameter)  # the choice shall differ from image to image
    return network


@pytest.mark.long
@pytest.mark.parametrize("selection", [Glimpses, FixedPlaces])
def test_a_file_chooses_the_places_that_the_network_chooses(selection, tmp_path):
    network, formats = canvas(selection), {"onnx": ONNX(), "pt2": PT2()}
    images = torch.randint(256, (50, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    expected = network(images)
    sample = Sample(MemorySource(images, expected.argmax(1)))
    exporter = Exporter(1, [8, 8], None, formats)
    written = exporter.export(network, TASK, tmp_path, {}, sample)
    for path, interface, found in written:
        assert interface.words == f"images, 4 patches of each (patches={network.cutout.mode})"
        assert (found.score, found.tested) == (1.0, 50)
        run = formats[path.suffix[1:]].open(path.read_bytes(), interface.names)
        torch.testing.assert_close(run(images), expected, rtol=1e-4, atol=1e-4)
    assert exporter.compared is None, "nothing is lost, so there is nothing to compare"


def test_other_places_than_the_own_ones_are_measured_beside_them(tmp_path):
    network = canvas(Glimpses)
    images = torch.randint(256, (50, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    exporter = Exporter(1, [8, 8], "even", {"pt2": PT2()})
    exporter.export(network, TASK, tmp_path, {}, Sample(MemorySource(images, network(images).argmax(1))))
    assert exporter.compared.run == 1.0
    assert exporter.compared.file < 1.0
    assert exporter.compared.better == ("null", 1.0)


def test_a_choice_that_depends_on_rounding_is_not_compared():
    network = canvas(Glimpses)
    images = torch.randint(256, (7, 1, 8, 8), dtype=torch.uint8)
    images[:3] = 0
    interface = Images(network, [8, 8], None)
    assert interface.compared(images).all()
    interface.module.is_decided = lambda images: images.flatten(1).any(1)
    assert interface.compared(images).tolist() == 3 * [False] + 4 * [True]
    assert interface.compared(images[:3]) == slice(None), "a comparison of nothing would always agree"


def test_a_choice_that_no_file_can_hold_is_refused():
    network = canvas(FixedPlaces)
    network.cutout.mode = "another"
    with pytest.raises(UserError, match="no file can hold how model/selection=another chooses its places: patches="):
        Images(network, [8, 8], None)
    assert Images(network, [8, 8], "grid").module.num_patches == 9


@pytest.mark.parametrize(("patches", "lazy"), [(None, False), ("even", False), (None, True)])
def test_patches_weighed_by_an_attention_map_are_refused_with_what_works(tmp_path, patches, lazy):
    count = {"patch_size": 4, "patch_num_min": 2, "patch_num_max": 2, "seed": 0}
    pool = partial(ReducePool, reductions=["mean"])
    network = PatchSet(**FACTS, **count, embed=partial(MLPEmbed, widths=[8]), pool=pool, selection=AttentionSampling)
    with pytest.raises(
        UserError, match=r"^model/selection=attention_sampling weighs .* train with model/selection=topk"
    ):
        Exporter(1, [8, 8], patches, {"pt2": PT2()}, lazy=lazy).export(network, TASK, tmp_path, {}, None)
    assert not list(tmp_path.iterdir())
