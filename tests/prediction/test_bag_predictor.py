import csv

import pytest
import torch
from bags import features_of, write_bag
from tasks import classification
from torch import nn

from datamodule.unlabelled_bags import UnlabelledBags
from network.flat_embed import IdentityEmbed
from network.patch_set import PatchSet
from prediction.attention_files import AttentionFiles
from prediction.bag_predictor import BagPredictor
from process.errors import UserError
from set_module.attention_pool import AttentionPool
from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch

TASK = classification(num_classes=2)
FACTS = {"channels": None, "image_size": None, "mean": [0.0], "std": [1.0], "patch_size": None, "patch_mode": None}
COUNTS = {"patch_num_min": 1, "patch_num_max": 4, "seed": 0}
SETS = SetBatch(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), [2, 7])


def network(pool):
    torch.manual_seed(0)
    return PatchSet(2, pool, features=3, embed=IdentityEmbed, **FACTS, **COUNTS).eval()


def attention(in_features):
    return AttentionPool(in_features, hidden=4, heads=2)


def mean(in_features):
    return ReducePool(in_features, reductions=["mean"])


@torch.no_grad()
def predicted(net, sets=SETS, count=2):
    return BagPredictor(net, TASK).predict_step((sets, torch.arange(count), {}), 0)


def test_predictions_are_those_of_the_network_and_weights_those_of_its_pool():
    net = network(attention)
    predictions, spread, weights = predicted(net)
    with torch.no_grad():
        torch.testing.assert_close(predictions, net(SETS).softmax(1))
        torch.testing.assert_close(weights.values, net.pool.weights(net.embed(SETS)).values)
    assert spread is None
    torch.testing.assert_close(torch.stack([weights_nH.sum(0) for weights_nH in weights]), torch.ones(2, 2))


def test_a_pool_without_weights_and_a_network_of_ones_own_give_none():
    class Own(nn.Module):
        cutout = position = encoder = None

        def cut(self, inputs, index_B=None):
            return inputs, None

        def encode(self, patches, corners=None):
            return patches

        def read(self, features):
            return torch.stack([bag[:, :2].sum(0) for bag in features])

        def forward(self, sets, index_B=None):
            return {"output": self.read(sets), "more": 1}

    assert predicted(network(mean))[2] is None
    predictions, _, weights = predicted(Own())
    assert weights is None
    torch.testing.assert_close(predictions, Own().read(SETS).softmax(1))


def test_a_batch_without_readable_bags():
    predictions, spread, weights = predicted(network(attention), None, 0)
    assert (len(predictions), spread, weights) == (0, None, None)


def test_too_little_memory_is_told_of_bags():
    class Large(nn.Module):
        cutout = position = encoder = cut = encode = read = None

        def forward(self, sets, index_B):
            return torch.empty(10**14)

    with pytest.raises(UserError, match=r"2 bags at once need too much memory: choose a smaller hparams.batch_size$"):
        predicted(Large())


def test_each_head_has_a_column_and_earlier_files_are_replaced(tmp_path):
    write_bag(tmp_path / "a.npy", features_of(0, 2, 3))
    write_bag(tmp_path / "b.npy", features_of(1, 7, 3))
    bags = UnlabelledBags(str(tmp_path), 3, 8, 0)
    callback = AttentionFiles(tmp_path / "new" / "attention", bags)
    outputs = predicted(network(attention))
    for _ in range(2):
        callback.on_predict_batch_end(None, None, outputs, (SETS, torch.arange(2), {}), 0)
    assert sorted(path.name for path in callback.folder.iterdir()) == ["a.csv", "b.csv"]
    with (callback.folder / "b.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["element", "attention_0", "attention_1"]
    found = torch.tensor([[float(row["attention_0"]), float(row["attention_1"])] for row in rows])
    torch.testing.assert_close(found, outputs[2][1])
