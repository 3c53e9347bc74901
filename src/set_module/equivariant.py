"""The linear layer of sets: the output of an element depends on the element and on the pool of its set."""

# B sets, N elements in all, D features

from torch import nn

from set_module.reduce import set_max, set_mean
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule, SetSequential

POOLS = {"mean": set_mean, "max": set_max}


class EquivariantLinear(SetModule):
    """y_i = Gamma x_i - Lambda pool(X) + b, pool the mean or the max; tied, Lambda = Gamma: Gamma (x_i - pool(X)) + b.

    Zaheer et al. 2017, "Deep Sets", arXiv:1703.06114, sec. 3.1 and appendix H; PermEqui2 and, tied, PermEqui1 of the
    authors' code. If tied, the output depends only on differences between elements: a shift of a whole set has no
    effect, and a set of one has the output b.
    SetBatch of [N, D] -> SetBatch of [N, out_features], by default D. Raises ValueError for another pool.
    """

    def __init__(
        self, in_features: int, out_features: int | None = None, pool: str = "max", tied: bool = False
    ) -> None:
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"no such pool: {pool!r}; choose from {', '.join(POOLS)}")
        self.pool = pool
        self.out_features = in_features if out_features is None else out_features
        self.gamma = nn.Linear(in_features, self.out_features)
        self.lambda_ = None if tied else nn.Linear(in_features, self.out_features, bias=False)

    def forward(self, sets: SetBatch) -> SetBatch:
        pooled_BD = POOLS[self.pool](sets)
        if self.lambda_ is None:
            return sets.with_values(self.gamma(sets.values - pooled_BD.index_select(0, sets.index)))
        return sets.with_values(self.gamma(sets.values) - self.lambda_(pooled_BD).index_select(0, sets.index))

    def extra_repr(self) -> str:
        return f"pool={self.pool}"


class EquivariantLayer(SetSequential):
    """relu(EquivariantLinear(X)): the layer of deep permutation-equivariant networks.

    Arguments, shapes and errors are those of EquivariantLinear.
    """

    def __init__(
        self, in_features: int, out_features: int | None = None, pool: str = "max", tied: bool = False
    ) -> None:
        linear = EquivariantLinear(in_features, out_features, pool, tied)
        super().__init__(linear, nn.ReLU())
        self.out_features = linear.out_features
