"""The predictions of bags of vectors, and how much attention each element gets."""

# B bags, N elements in all, H heads, K outputs

from typing import Any

from torch import Tensor

from prediction.predictor import Predictor
from set_module.set_batch import SetBatch


class BagPredictor(Predictor):
    """LightningModule that predicts bags, each once, with the weights of the network's pool: SetBatch of [N, H].

    The weights are None for a network whose pool has none.
    """

    of_bags = True
    weights: SetBatch | None = None

    def __init__(self, network: Any, task: Any) -> None:
        super().__init__(network, task, draws=1, patch_num=None)

    def predict_step(self, batch: tuple[Any, Tensor, Any], batch_idx: int) -> tuple[Any, Any, SetBatch | None]:
        """Return predictions [B, ...], None for their spread, and the weights."""
        self.weights = None
        return *super().predict_step(batch, batch_idx)[:2], self.weights

    def _outputs(self, inputs: Any, index_B: Tensor, draw: int) -> Tensor:
        if not hasattr(self.network, "other_outputs"):  # not of this repository
            return super()._outputs(inputs, index_B, draw)
        features = self.network.encode(*self.network.cut(inputs, index_B))
        weights = self.network.other_outputs().get("weights")
        self.weights = None if weights is None else weights(features)
        output_BK: Tensor = self.network.read(features)
        return output_BK
