from functools import partial

import pytest
import torch

from network.mil import MIL
from network.mlp_embed import MLPEmbed
from selection.grid import Grid
from set_module.additive_mil import AdditiveMIL
from set_module.dsmil import DSMIL
from set_module.set_batch import SetBatch
from set_module.trans_mil import TransMIL

IMAGES = torch.randint(256, (3, 1, 9, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build(classifier=DSMIL, **settings) -> MIL:
    torch.manual_seed(0)
    cut = {"patch_size": 4, "patch_num_min": 6, "patch_num_max": 6, "seed": 0}
    data = {"channels": 1, "image_size": [9, 8], "num_outputs": 2, "mean": [0.5], "std": [0.25]}
    parts = {"embed": partial(MLPEmbed, widths=[16]), "classifier": classifier}
    return MIL(**data | cut | parts | settings).eval()


def test_what_is_returned_is_what_the_classifier_knows_of_the_features():
    network = build(returns=["weights", "instance_logits"])
    found, features = network(IMAGES), network.encode(*network.cut(IMAGES))
    assert list(found) == ["output", "weights", "instance_logits"]
    torch.testing.assert_close(found["output"], build()(IMAGES))
    torch.testing.assert_close(found["output"], network.read(features))
    for name in network.returns:
        of_features = network.other_outputs()[name](features)
        assert isinstance(of_features, SetBatch)
        torch.testing.assert_close(found[name].values, of_features.values)


def test_the_evidence_is_the_attention():
    network = build(AdditiveMIL)
    patches, corners = network.cut(IMAGES)
    scores = network.scores(patches, corners, torch.tensor([0, 1, 1]))
    weights = network.classifier.outputs(network.encode(patches))["weights"]
    torch.testing.assert_close(scores.values, weights.values)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="no 'cluster_logits'; choose from weights, instance_logits"):
        build(returns=["cluster_logits"])


def test_a_classifier_that_takes_places_gets_those_of_the_patches():
    network = build(partial(TransMIL, width=None, heads=2, ppeg="places"), selection=Grid)
    patches, corners = network.cut(IMAGES)
    features = network.encode(patches, corners)
    torch.testing.assert_close(features.values[:, -2:], corners.values.float())
    torch.testing.assert_close(network.read(features), network(IMAGES))
    moved = corners.map(lambda corners_N2: corners_N2.flip(1))
    assert (network.read(network.encode(patches, moved)) - network(IMAGES)).abs().max() > 1e-6
    with pytest.raises(ValueError, match="give it the corners too"):
        network(patches)


@pytest.mark.parametrize("autocast", [True, False], ids=["bf16-mixed", "bf16-true"])
def test_places_in_a_large_image_are_exact_in_half_precision(autocast):
    classifier = partial(TransMIL, width=None, heads=2, ppeg="places")
    network = build(classifier, image_size=[2000, 2000], selection=Grid)
    network = network if autocast else network.bfloat16()
    corners = SetBatch(torch.tensor([[1025, 1027], [1993, 3]]), [2])
    patches = SetBatch(IMAGES[:2, :, :4, :4], [2])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        features = network.encode(patches, corners)
        assert network.read(features).isfinite().all()
    assert torch.equal(features.values[:, -2:].long(), corners.values)


def test_the_logits_of_the_first_patches_use_their_places_too():
    network = build(partial(TransMIL, width=None, heads=2, ppeg="places"))
    found = network.logits_at(IMAGES, None, [2, 6])
    patches, corners = network.cut(IMAGES)
    torch.testing.assert_close(found[6], network(IMAGES))
    torch.testing.assert_close(found[2], network.read(network.encode(patches.prefix(2), corners.prefix(2))))
