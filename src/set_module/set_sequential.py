"""Base class of set modules, and the sequence of set modules and plain modules that makes a network."""

from torch import Tensor, nn

from set_module.set_batch import SetBatch


class SetModule(nn.Module):
    """Base class of the modules of this library, whose forward takes a SetBatch.

    It returns a SetBatch (an encoder, set -> set) or a tensor [B, D] (a pool, set -> vector). `out_features` is the
    number of features of the output, if it has any.

    Attributes:
        untraceable: why torch.export cannot trace the module, and what to choose instead; None if it can.
    """

    untraceable: str | None = None


class SetSequential(SetModule, nn.Sequential):
    """Sequence of modules: a set module acts on the sets, a plain module on each element by itself.

    After a pool, plain modules act on the vectors [B, D]. SetBatch of [N, *F] -> SetBatch, or [B, D] after a pool.
    Raises TypeError for a set module after the pool, or inside a plain module, where it would get elements without
    their sets.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        for module in self:
            if not isinstance(module, SetModule) and any(isinstance(part, SetModule) for part in module.modules()):
                raise TypeError(f"{type(module).__name__} holds a set module: put its parts into a SetSequential")

    def forward(self, sets: SetBatch) -> SetBatch | Tensor:
        x: SetBatch | Tensor = sets
        for module in self:
            if isinstance(module, SetModule):
                if not isinstance(x, SetBatch):
                    raise TypeError(f"{type(module).__name__} comes after the pool: it takes sets, put it before")
                x = module(x)
            else:
                x = x.map(module) if isinstance(x, SetBatch) else module(x)
        return x
