"""Base class of classifiers of bags, which know something of each instance besides the logits of the bag."""

# B sets (bags), N elements (instances) in all, D features, K outputs

from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor

from set_module.reduce import accumulable
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule


class MissingOutputError(ValueError):
    """Error of a loss that reads what the network has not returned."""


class BagClassifier(SetModule):
    """Base class of modules from a SetBatch of [N, D] to logits [B, K], built with `in_features` and `num_outputs`.

    Attributes:
        known: the names that `outputs` knows besides `output`, each a SetBatch. Of the elements: `weights` [N, H] of an
            attention, `instance_logits` [N, K], `cluster_logits` [N, K, 2] (CLAM). Of P pseudo-bags: `pseudo_logits`
            [P, K] (DTFDMIL).
        weighs_each_class: whether column k of `weights` is the attention for class k; else they are heads of one.
        takes_corners: whether the last two features of an element are its place (y, x).
    """

    known: tuple[str, ...] = ()
    weighs_each_class = False
    takes_corners = False

    def forward(self, sets: SetBatch) -> Tensor:
        output_BK: Tensor = self.outputs(sets)["output"]
        return output_BK

    def outputs(self, sets: SetBatch, names: Container[str] = ()) -> dict[str, Any]:
        """Return `output` [B, K] and at least the named ones of `known`."""
        raise NotImplementedError


def with_places(features: SetBatch, corners: SetBatch) -> SetBatch:
    """Put the places [N, 2] behind the features [N, D], both in fp32 at least: bf16 holds no integer above 256."""
    features_ND = accumulable(features.values)
    return features.with_values(torch.cat([features_ND, corners.values.to(features_ND.dtype)], dim=1))


def split_places(sets: SetBatch, dtype: torch.dtype) -> tuple[SetBatch, SetBatch]:
    """Return the features [N, D] in a dtype, and the places (y, x), int64 [N, 2], of elements [N, D + 2]."""
    return sets.map(lambda x: x[:, :-2].to(dtype)), sets.map(lambda x: x[:, -2:].long())


def known_output(others: Mapping[str, Any], name: str) -> SetBatch:
    """Return what a network has returned besides its output. Raises MissingOutputError if it has not."""
    if name not in others:
        raise MissingOutputError(
            f"this loss reads {name}, which the network does not return: choose the model that the loss is for (its "
            f"YAML in config/loss names it), or add +model.network.returns=[{name}] for a network that knows it"
        )
    found: SetBatch = others[name]
    return found
