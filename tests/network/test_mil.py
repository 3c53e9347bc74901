from functools import partial

import pytest
import torch

from network.mil import MIL
from network.mlp_embed import MLPEmbed
from set_module.additive_mil import AdditiveMIL
from set_module.dsmil import DSMIL
from set_module.set_batch import SetBatch

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
