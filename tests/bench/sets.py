"""Packed sets of 1 to 64 patches, 256 of them, against a list of tensors, padding, and PyTorch Geometric."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from timing import CPU, Pair, cpu_seconds, in_turn, ratio, row
from torch import nn

from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from set_module.attention_pool import AttentionPool
from set_module.pma import PMA
from set_module.reduce_pool import ReducePool
from set_module.sab import SAB
from set_module.set_batch import SetBatch

BATCH, SIZE = 256, 15


def main() -> None:
    for width in (64, 256):
        compare(step(width))
    compare(attention())
    for features in (64, 256):
        for pair in pools(features):
            compare(pair)


def compare(pair: Pair) -> None:
    def repeated(function: Callable[[], object]) -> float:
        return cpu_seconds(lambda: [function() for _ in range(pair.times)])

    figures = in_turn({"theirs": lambda: repeated(pair.theirs), "ours": lambda: repeated(pair.ours)})
    row(pair.label, ratio(figures["theirs"], figures["ours"]), f"goal >= {pair.goal}")


def random_sets(features: int, device: torch.device, batch: int) -> SetBatch:
    torch.manual_seed(0)
    lengths_B = torch.randint(1, 65, (batch,))
    return SetBatch(torch.randn(int(lengths_B.sum()), features), lengths_B).to(device)


def step(width: int, device: torch.device = CPU, batch: int = BATCH) -> Pair:
    """Return whole training steps, from uint8 images to new weights; wider layers are mostly the same products."""
    images = torch.randint(0, 256, (batch, 1, 28, 28), dtype=torch.uint8).to(device)
    labels = torch.randint(0, 10, (batch,)).to(device)
    network = PatchSet(
        channels=1,
        image_size=[28, 28],
        num_outputs=10,
        mean=[0.5],
        std=[0.5],
        patch_size=SIZE,
        patch_num_min=1,
        patch_num_max=64,
        seed=0,
        embed=partial(MLPEmbed, widths=[width, width]),
        pool=partial(ReducePool, reductions=["mean", "max", "std"]),
    ).to(device)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    normalize, embed = network.embed

    def train(logits: torch.Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()

    def as_a_list() -> torch.Tensor:
        vectors = []
        for image in images:
            places = torch.randint(0, 28 - SIZE + 1, (int(torch.randint(1, 65, ())), 2)).tolist()
            patches = torch.stack([image[:, y : y + SIZE, x : x + SIZE] for y, x in places])
            features = embed(normalize(patches))
            std = (features.var(0, correction=0) + 1e-5).sqrt()
            vectors.append(torch.cat([features.mean(0), features.amax(0), std]))
        return network.head(torch.stack(vectors))

    return Pair(
        f"training step, embedding {width} wide, list of tensors / packed",
        lambda: train(as_a_list()),
        lambda: train(network(images)),
        "3",
    )


class PaddedBlock(nn.Module):
    """MAB(X, X) of sets that are padded: torch's multi-head attention with a mask, the rest as in MAB."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(features, heads, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(features, features), nn.ReLU())
        self.norms = nn.ModuleList([nn.LayerNorm(features), nn.LayerNorm(features)])

    def forward(self, x_BSD: torch.Tensor, padding_BS: torch.Tensor) -> torch.Tensor:
        attended, _ = self.attention(x_BSD, x_BSD, x_BSD, key_padding_mask=padding_BS, need_weights=False)
        x_BSD = self.norms[0](x_BSD + attended)
        return self.norms[1](x_BSD + self.feed_forward(x_BSD))


def attention(device: torch.device = CPU, batch: int = BATCH) -> Pair:
    sets = random_sets(128, device, batch)
    x_BSD, mask_BS = sets.pad()
    block, padded = SAB(128, heads=4).to(device), PaddedBlock(128, heads=4).to(device)
    values, x_BSD = sets.values.requires_grad_(), x_BSD.requires_grad_()
    return Pair(
        "SAB forward and backward, padded nn.MultiheadAttention / packed",
        lambda: padded(x_BSD, ~mask_BS)[mask_BS].sum().backward(),
        lambda: block(sets.with_values(values)).values.sum().backward(),
        "1.5",
    )


def pools(features: int, device: torch.device = CPU, batch: int = BATCH) -> Iterator[Pair]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.nn import aggr

    sets = random_sets(features, device, batch)
    values, index = sets.values.requires_grad_(), sets.index
    gradient = torch.randn(batch, features).to(device)
    gate = nn.Sequential(nn.Linear(features, 128), nn.Tanh(), nn.Linear(128, 1, bias=False))
    both = {
        "sum": (ReducePool(features, ["sum"]), aggr.SumAggregation()),
        "mean": (ReducePool(features, ["mean"]), aggr.MeanAggregation()),
        "max": (ReducePool(features, ["max"]), aggr.MaxAggregation()),
        "min": (ReducePool(features, ["min"]), aggr.MinAggregation()),
        "std": (ReducePool(features, ["std"]), aggr.StdAggregation()),
        "softmax": (ReducePool(features, ["softmax"]), aggr.SoftmaxAggregation()),
        "sum / sqrt(n)": (ReducePool(features, ["sum"], "sqrt"), aggr.VariancePreservingAggregation()),
        "attention": (AttentionPool(features, 128), aggr.AttentionalAggregation(gate)),
        "PMA": (PMA(features, heads=4), PyGPMA(features)),
    }

    def backward(pool: Callable[[], torch.Tensor]) -> Callable[[], None]:
        return lambda: pool().backward(gradient)

    for name, (ours, theirs) in both.items():
        yield Pair(
            f"{name} of {features} features, forward and backward, PyG / ours",
            backward(partial(theirs.to(device), values, index, dim_size=batch)),
            backward(partial(ours.to(device), sets)),
            "1",
            times=20,
        )


class PyGPMA(nn.Module):
    """PyTorch Geometric's pooling by multi-head attention, of elements as its aggregators take them."""

    def __init__(self, features: int) -> None:
        super().__init__()
        from torch_geometric.nn.aggr.utils import PoolingByMultiheadAttention

        self.pool = PoolingByMultiheadAttention(features, num_seed_points=1, heads=4, layer_norm=True)

    def forward(self, x: torch.Tensor, index: torch.Tensor, dim_size: int) -> torch.Tensor:
        from torch_geometric.utils import to_dense_batch

        dense, mask = to_dense_batch(x, index, batch_size=dim_size)
        return self.pool(dense, mask).flatten(1)
