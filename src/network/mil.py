"""Multiple-instance learning: networks whose head knows something of each element, such as its logits or its weight."""

# B items, N elements in all, D features, K outputs

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from network.patch_network import PatchNetwork
from set_module.bag_classifier import with_places
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch


class MIL(PatchNetwork):
    """y = classifier(encoder({embed(x_i) + position(c_i)})), classifier one of set_module that makes logits itself.

    DSMIL, AdditiveMIL, CLAM and the other subclasses of BagClassifier: classifier(in_features=D, num_outputs=K) builds
    it. `returns` may name what it knows of the elements, for a loss such as loss=instance. Inputs are those of
    PatchNetwork, outputs [B, K].
    """

    def __init__(self, num_outputs: int, classifier: Callable[..., Any], **patches: Any) -> None:
        super().__init__(**patches)
        self.classifier = classifier(in_features=self.num_features, num_outputs=num_outputs)
        self.check_returns()

    def forward(self, inputs: Tensor | LazyImages | SetBatch, index_B: Tensor | None = None) -> Tensor | dict[str, Any]:
        features = self.encode(*self.cut(inputs, index_B))
        if not self.returns:
            return self.read(features)
        found = self.classifier.outputs(features, self.returns)
        return {name: found[name] for name in ("output", *self.returns)}

    def _relate(self, embedded: SetBatch, corners: SetBatch | None) -> SetBatch:
        """Return the features [N, D], with the corners [N, 2] behind them for a classifier that takes them."""
        features = super()._relate(embedded, corners)
        if not self.classifier.takes_corners:
            return features
        if corners is None:
            raise ValueError("this classifier uses the places of elements: give it the corners too")
        return with_places(features, corners)

    def read(self, features: SetBatch) -> Tensor:
        output_BK: Tensor = self.classifier(features)
        return output_BK

    def other_outputs(self) -> Mapping[str, Callable[[SetBatch], SetBatch]]:
        """Return what `returns` may name: what the classifier knows of the elements."""
        return {name: partial(self._other_output, name) for name in self.classifier.known}

    def _other_output(self, name: str, features: SetBatch) -> SetBatch:
        found: SetBatch = self.classifier.outputs(features, [name])[name]
        return found
