"""Networks of multiple-instance learning against torchmil's: the same weights, the same bags, forward and backward.

torchmil is no dependency: `pip install torchmil` into the environment, or its folder in PYTHONPATH; without it, this
part says so. Bags of 512 features; the padded batch of torchmil where it knows masks, else one bag at a time. torchmil
has no Set Transformer without attention pooling: its TransformerABMIL is compared with SAB and AttentionPool.
"""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from timing import cpu_seconds, in_turn, ratio, row
from torch import Tensor, nn

from set_module.attention_pool import AttentionPool
from set_module.clam import CLAM
from set_module.dsmil import DSMIL
from set_module.sab import SAB
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule, SetSequential
from set_module.trans_mil import TransMIL

D = 512
AGREE = 1e-4  # largest difference of outputs that still is rounding
BAGS = {"10 to 20": (32, 10, 20, 5), "10 to 1,000": (16, 10, 1_000, 3), "1,000 to 10,000": (2, 1_000, 10_000, 1)}


def main() -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchmil.models as theirs
    except ImportError as error:
        print(f"  left out: torchmil cannot be imported ({error})")
        return
    for label, (count, low, high, times) in BAGS.items():
        bags = draw_bags(count, low, high)
        for name, make in PAIRS.items():
            if name == "Set Transformer" and high > 1_000:
                row(f"bags of {label}, {name}", "left out", "attention of all to all")
                continue
            torch.manual_seed(0)
            compare(f"bags of {label}, {name}", bags, *make(theirs), times)
            sys.stdout.flush()
    difference = trans_mil_without_padding(theirs)
    row("TransMIL, 250 landmarks, a bag that torchmil does not pad", f"outputs differ by {difference:.0e}", "")


def trans_mil_without_padding(theirs: Any) -> float:
    """Return the difference of both on 57 * 57 instances: with the token 3,250, a multiple of the landmarks.

    All other bags torchmil fills up with zeros, which get a share of the attention.
    """
    torch.manual_seed(0)
    their, our, _ = trans_mil(theirs, landmarks=250)
    bag = torch.randn(57 * 57, D)
    with torch.no_grad():
        return float((our.eval()(SetBatch.from_list([bag])) - their.eval()(bag[None])).abs().max())


def draw_bags(count: int, low: int, high: int) -> list[Tensor]:
    """Return bags whose sizes are uniform on a logarithmic axis."""
    generator = torch.Generator().manual_seed(0)
    sizes = low * (high / low) ** torch.rand(count, generator=generator)
    return [torch.randn(int(size), D, generator=generator) for size in sizes.tolist()]


def compare(label: str, bags: list[Tensor], theirs: nn.Module, ours: nn.Module, masked: bool, times: int) -> None:
    sets = SetBatch.from_list(bags)
    x_BSD, mask_BS = sets.pad()
    theirs.eval()
    ours.eval()
    with torch.no_grad():
        alone = torch.stack([theirs(bag[None]).reshape(()) for bag in bags])
        difference = float((ours(sets)[:, 0] - alone).abs().max())

    def of_theirs() -> None:
        if masked:
            theirs(x_BSD, mask_BS).sum().backward()
        else:
            for bag in bags:
                theirs(bag[None]).sum().backward()

    def repeated(function: Callable[[], object]) -> float:
        return cpu_seconds(lambda: [function() for _ in range(times)])

    figures = in_turn(
        {"theirs": lambda: repeated(of_theirs), "ours": lambda: repeated(lambda: ours(sets).sum().backward())}, runs=3
    )
    agrees = f"outputs differ by {difference:.0e}"
    if difference > AGREE:
        agrees += ", as torchmil pads" if isinstance(ours, TransMIL) else ": NOT THE SAME NETWORK"
    row(f"{label}, torchmil / ours", ratio(figures["theirs"], figures["ours"]), agrees)


def abmil(theirs: Any, gated: bool = False) -> tuple[nn.Module, nn.Module, bool]:
    their = theirs.ABMIL((D,), gated=gated)
    pool, head = AttentionPool(D, 128, gated=gated), nn.Linear(D, 1)
    copy_pool(their.pool, pool)
    head.load_state_dict(linear(their.classifier))
    return their, SetSequential(pool, head), True


def dsmil(theirs: Any) -> tuple[nn.Module, nn.Module, bool]:
    their, our = theirs.DSMIL((D,)), DSMIL(D, 1, average=False)
    our.query.load_state_dict(their.q_nn.state_dict())
    our.instance.load_state_dict(their.inst_classifier.state_dict())
    our.bag.load_state_dict(their.bag_classifier.state_dict())
    return their, our, True


def clam(theirs: Any) -> tuple[nn.Module, nn.Module, bool]:
    their, our = theirs.CLAM_SB((D,), gated=True), CLAM(D, 1, hidden=128)
    copy_pool(their.pool, our.attention)
    our.bag.load_state_dict(linear(their.classifier))
    return their, our, True


def trans_mil(theirs: Any, landmarks: int = 256) -> tuple[nn.Module, nn.Module, bool]:
    their = theirs.TransMIL((D,), n_heads=8, n_landmarks=landmarks)
    our = TransMIL(D, 1, width=None, heads=8, ppeg="order", landmarks=landmarks)
    our.token_D.data.copy_(their.cls_token[0, 0])
    for layer, norm, attention in zip(their.layers, our.norms, our.attentions, strict=False):
        norm.load_state_dict(layer.norm1.state_dict())
        copy_attention(layer.att_module, attention)
    for number, their_kernel in enumerate((their.pos_layer.proj, their.pos_layer.proj1, their.pos_layer.proj2)):
        our.ppeg.kernels[number].load_state_dict(their_kernel.state_dict())  # type: ignore[union-attr]
    our.norms[2].load_state_dict(their.norm.state_dict())
    our.out.load_state_dict(their.classifier.state_dict())
    return their, our, False


def set_transformer(theirs: Any) -> tuple[nn.Module, nn.Module, bool]:
    their = theirs.TransformerABMIL((D,))
    return their, TransformerPool(their), True


class TransformerPool(SetModule):
    """TransformerABMIL of torchmil, made of SAB and AttentionPool: GELU, no output projection and no bias."""

    def __init__(self, their: Any) -> None:
        super().__init__()
        self.block, layer = SAB(D, heads=8, norm="pre", expansion=4), their.transformer_encoder.layers[0]
        mab = self.block.mab
        mab.feed_forward[1] = nn.GELU()
        copy_attention(layer.att_module, mab.attention)
        mab.norm_attention.load_state_dict(layer.norm1.state_dict())
        mab.norm_feed_forward.load_state_dict(layer.norm2.state_dict())
        mab.feed_forward[0].load_state_dict(layer.mlp_module[0].state_dict())
        mab.feed_forward[2].load_state_dict(layer.mlp_module[3].state_dict())
        self.norm, self.pool, self.head = nn.LayerNorm(D), AttentionPool(D, 128), nn.Linear(D, 1)
        self.norm.load_state_dict(their.transformer_encoder.norm.state_dict())
        copy_pool(their.pool, self.pool)
        self.head.load_state_dict(their.last_layer.state_dict())

    def forward(self, sets: SetBatch) -> Tensor:
        features = self.block(sets)
        return self.head(self.pool(features.with_values(self.norm(features.values + sets.values))))


def copy_attention(theirs: Any, ours: Any) -> None:
    ours.project.weight.data.copy_(theirs.qkv_nn.weight)
    ours.project.bias.data.zero_()
    ours.out = nn.Identity()


def copy_pool(theirs: Any, ours: AttentionPool) -> None:
    ours.hidden.load_state_dict(linear(theirs.fc1))
    ours.score.load_state_dict(theirs.fc2.state_dict())
    if ours.gate is not None:
        ours.gate.load_state_dict(linear(theirs.fc_gated))


def linear(module: nn.Module) -> dict[str, Tensor]:
    """Return weight and bias of torchmil's LazyLinear, which wraps a layer."""
    return {name.split(".")[-1]: tensor for name, tensor in module.state_dict().items()}


PAIRS: dict[str, Callable[[Any], tuple[nn.Module, nn.Module, bool]]] = {
    "ABMIL": abmil,
    "gated ABMIL": lambda theirs: abmil(theirs, gated=True),
    "DSMIL": dsmil,
    "CLAM": clam,
    "TransMIL": trans_mil,
    "Set Transformer": set_transformer,
}
