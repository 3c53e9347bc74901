"""Base class of networks of sets: cut the image, embed each element, relate the elements to each other."""

# B items, N elements in all, C H W of an image, p side of a patch, F features of a vector, D features, K outputs

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from network.cutting_network import CuttingNetwork
from network.normalize import Normalize, NormalizeVectors
from selection.all_places import AllPlaces
from selection.attention_sampling import SampledPlaces
from selection.chosen_places import ChosenPlaces
from selection.grid import Grid
from selection.ips import IterativeSelection
from selection.random_places import RandomPlaces
from selection.topk import BlendedPlaces
from set_module.lazy_images import LazyImages, PlacedCorners
from set_module.patch_cutout import PatchCutout
from set_module.patch_heat_map import heat_map
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetSequential


class PatchNetwork(CuttingNetwork, ABC):
    """y = read(encoder({embed(x_i) + position(c_i)})), x_i patches of the image with corners c_i.

    A factory builds each part: selection(size=p, count=(lo, hi), test_count=n, seed=s, **facts of the images) makes a
    PatchCutout, which says which patches are cut, embed(channels=C, patch_size=p) a module [N, C, p, p] -> [N, D],
    position(features=D, places=(rows, columns)) one [N, 2] -> [N, D] (None: positions are unknown),
    encoder(in_features=D) a set module (None: no patch depends on another); all have `out_features`.
    uint8 [B, C, H, W], or LazyImages, or a SetBatch of uint8 [N, C, p, p] that is a set already, -> [B, K]. With
    image_size=None, images have any size: places=[], and a position with `relative` gets floats in 0..1, which are 0
    and 1 at the first and the last place of an image. In evaluation mode
    test_patch_num patches are drawn of each image (None: as many as in training). Raises ValueError for arguments that
    the selection refuses, for a patch larger than the image, and for a position without a selection.

    Args:
        features: F, if the elements are vectors: the inputs are a SetBatch of float [N, F], mean and std are those of
            each feature, embed(features=F) makes a module [N, F] -> [N, D], and nothing is cut. The facts of images,
            channels, image_size and patch_size, are not used.
        sets: whether all inputs are sets already (MNIST bags): the selection is not used. So it is if that is None.
        returns: what the network returns besides its output, some of `other_outputs`. If any, it returns a dictionary
            of `output` [B, K] and these, each a SetBatch of the elements.
        patch_mode, patch_replace: the selection in the config of an older version: random, grid, all or None.
    """

    def __init__(
        self,
        channels: int | None,
        image_size: Sequence[int] | None,
        mean: Sequence[float],
        std: Sequence[float],
        patch_size: int | None,
        patch_num_min: int,
        patch_num_max: int,
        seed: int,
        embed: Callable[..., Any],
        selection: Callable[..., Any] | None = RandomPlaces,
        sets: bool = False,
        test_patch_num: int | None = None,
        position: Callable[..., Any] | None = None,
        encoder: Callable[..., Any] | None = None,
        features: int | None = None,
        returns: Sequence[str] = (),
        patch_mode: str | None = "",
        patch_replace: bool = True,
    ) -> None:
        super().__init__()
        if patch_mode != "":
            selection = _recorded_selection(patch_mode, patch_replace)
        selection = None if sets else selection
        if selection is None and position is not None:
            raise ValueError("the data are sets already, whose elements have no places: leave out the position")
        self.cutout: PatchCutout | None = None
        places: list[int] = []
        normalize: nn.Module
        if features is not None:
            if selection is not None:
                raise ValueError("the elements are vectors, nothing is cut: sets=True")
            embedding, normalize = _embedding(embed, features=features), NormalizeVectors(mean, std, features)
        elif channels is None or patch_size is None:
            raise ValueError(f"{channels=}, {patch_size=}: give both of images, or features of vectors")
        else:
            for name, length in zip(("height", "width"), image_size or (), strict=image_size is not None):
                if patch_size > length:
                    raise ValueError(f"{patch_size=} exceeds the image {name} {length}: choose <= {length}")
            if selection is not None:
                counts = {"count": (patch_num_min, patch_num_max), "test_count": test_patch_num}
                images = {"channels": channels, "image_size": image_size, "mean": mean, "std": std}
                self.cutout = selection(size=patch_size, seed=seed, **counts, **images)
                if isinstance(self.cutout, IterativeSelection):
                    self.cutout.score_by(self.attention_scores)
            places = [] if image_size is None else [side - patch_size + 1 for side in image_size]
            embedding = _embedding(embed, channels=channels, patch_size=patch_size)
            if getattr(embedding, "takes_pixels", False):  # in 0..1, and normalises them itself
                mean, std = [0.0], [1.0]
            normalize = Normalize(mean, std, channels)
        self.embed = SetSequential(normalize, embedding)
        self.num_features = embedding.out_features
        self.places = math.prod(places) if places else None
        self.position = position and position(features=self.num_features, places=places)
        self.encoder = encoder and encoder(in_features=self.num_features)
        if self.encoder is not None:
            self.num_features = self.encoder.out_features
        self.returns = list(returns)

    def forward(self, inputs: Tensor | LazyImages | SetBatch, index_B: Tensor | None = None) -> Tensor | dict[str, Any]:
        features = self.encode(*self.cut(inputs, index_B))
        output_BK = self.read(features)
        if not self.returns:
            return output_BK
        others = self.other_outputs()
        return {"output": output_BK} | {name: others[name](features) for name in self.returns}

    def other_outputs(self) -> Mapping[str, Callable[[SetBatch], SetBatch]]:
        """Return what `returns` may name, as functions of the features [N, D]: `weights` [N, H] of a pool with weights.

        The pool computes its weights once more for it.
        """
        pool: Any = getattr(self, "pool", None)
        return {"weights": pool.weights} if hasattr(pool, "weights") else {}

    def check_returns(self) -> None:
        """Raise a ValueError for names in `returns` that the network does not know; call it last in a constructor."""
        known = self.other_outputs()
        for name in self.returns:
            if name not in known:
                choice = f"choose from {', '.join(known)}" if known else "this network knows its output alone"
                raise ValueError(f"returns={self.returns}: no {name!r}; {choice}")

    def logits_at(
        self, images_BCHW: Tensor | LazyImages, index_B: Tensor | None, numbers: Sequence[int]
    ) -> dict[int, Tensor]:
        """Return {n: logits [B, K] of the first n patches} for each of the numbers; each patch is embedded once.

        The first n of many patches are those that `patch_num = n` draws. Call it in evaluation mode.
        """
        cutout = copy(self.cutout)  # the network itself stays as it is
        assert cutout is not None
        cutout.count = max(numbers)
        index_B = torch.arange(len(images_BCHW)) if index_B is None else index_B
        corners = cutout.positions(images_BCHW, index_B.to(images_BCHW.device))
        embedded = self._embed_each(cutout.cut(images_BCHW, corners), corners)
        first = {
            n: (embedded.prefix(n), corners.prefix(n)) if n < embedded.max_len else (embedded, corners) for n in numbers
        }
        return {n: self.read(self._relate(*each)) for n, each in first.items()}

    def cut(
        self, inputs: Tensor | LazyImages | SetBatch, index_B: Tensor | None = None
    ) -> tuple[SetBatch, SetBatch | None]:
        """Return the patches [N, C, p, p] and their corners [N, 2]. Return a SetBatch unchanged, with corners None."""
        if isinstance(inputs, SetBatch):
            return inputs, None
        if self.cutout is None:
            raise ValueError("this network has no selection, so the data must be sets: give it one to cut images")
        if index_B is None:
            index_B = torch.arange(len(inputs))
        corners = self.cutout.positions(inputs, index_B.to(inputs.device))
        return self.cutout.cut(inputs, corners), corners

    def encode(self, patches: SetBatch, corners: SetBatch | None = None) -> SetBatch:
        """Return the features [N, D] of the patches; corners are needed only with a position."""
        return self._relate(self._embed_each(patches, corners), corners)

    def _relate(self, embedded: SetBatch, corners: SetBatch | None) -> SetBatch:
        """Return what `read` takes, [N, D]: the embedded elements, weighed if they were sampled, after the encoder."""
        if isinstance(corners, SampledPlaces):
            embedded = corners.weighed(embedded)
        return embedded if self.encoder is None else self.encoder(embedded)

    def _embed_each(self, patches: SetBatch, corners: SetBatch | None) -> SetBatch:
        """Return the features [N, D] before the encoder, each a function of one patch."""
        if isinstance(corners, ChosenPlaces):
            normalize, embedding = self.embed
            patches = patches.map(normalize)
            features = patches.with_values(embedding(corners.connect(patches.values, normalize)))
        elif isinstance(corners, BlendedPlaces):
            normalize, embedding = self.embed
            features = corners.blend(patches.map(normalize)).map(embedding)
        else:
            features = self.embed(patches)
        if self.position is None:
            return features
        if corners is None:
            raise ValueError("this network uses the positions of patches: give it the corners too")
        if isinstance(corners, ChosenPlaces):
            embedded_ND = corners.embedded(self.position)
        elif getattr(self.position, "relative", False):
            relative_N2 = corners.relative if isinstance(corners, PlacedCorners) else corners.values
            if not relative_N2.is_floating_point():
                raise ValueError("this network was built for images of any size: give LazyImages, or places in 0..1")
            embedded_ND = self.position(relative_N2)
        else:
            embedded_ND = self.position(corners.values)
        if isinstance(corners, BlendedPlaces):
            embedded_ND = corners.blend(corners.with_values(embedded_ND)).values
        return features.with_values(features.values + embedded_ND.to(features.values.dtype))

    @torch.no_grad()
    def attention_scores(self, patches: SetBatch, corners: SetBatch) -> Tensor:
        """Return the scores [N, H] of patches of which the pool makes its weights, in evaluation mode.

        Raises ValueError for a pool without scores, and for an encoder, with which they depend on all patches.
        """
        pool: Any = getattr(self, "pool", None)
        if not hasattr(pool, "scores"):
            raise ValueError("this network has no attention that could choose patches: choose model/pool=attention")
        if self.encoder is not None:
            raise ValueError("an encoder makes attention depend on all patches at once: choose model/encoder=none")
        parts = [part for part in (self.embed, self.position, pool) if part is not None]
        training = [module for part in parts for module in part.modules() if module.training]
        for module in training:
            module.training = False
        scores_NH: Tensor = pool.scores(self._embed_each(patches, corners)).values
        for module in training:
            module.training = True
        return scores_NH

    def evidence(self, images_BCHW: Tensor | SetBatch, index_B: Tensor | None, labels_B: Tensor) -> Tensor:
        """Return the mean score for the label of the patches that cover a pixel, [B, H, W]; NaN where none does.

        If the network has attention weights, the score of patch i is its weight a_i, for any label; else gradient x
        input, sum_d h_id dy_label / dh_id, h_i the features of the patch before the encoder: Shrikumar et al. 2016,
        arXiv:1605.01713. Call it in evaluation mode, also within torch.no_grad or torch.inference_mode; no parameter
        gets a gradient. Raises ValueError for sets, whose elements have no places.
        """
        if isinstance(images_BCHW, SetBatch):
            raise ValueError("the elements of sets have no places: give images")
        with torch.inference_mode(False):  # autograd accepts only copies of tensors made in inference mode
            images_BCHW, labels_B = images_BCHW.clone(), labels_B.clone()
            patches, corners = self.cut(images_BCHW, None if index_B is None else index_B.clone())
            assert corners is not None
            scores = self.scores(patches, corners, labels_B)
            return heat_map(scores, corners, patches.values.shape[-1], images_BCHW.shape[2:])[:, 0]

    def scores(self, patches: SetBatch, corners: SetBatch, labels_B: Tensor) -> SetBatch:
        """Return the score of each patch for the label, [N, 1]."""
        weights_of = self.other_outputs().get("weights")
        if weights_of is not None:
            with torch.no_grad():
                weights = weights_of(self.encode(patches, corners))
            return weights.map(lambda weights_NH: weights_NH.mean(1, keepdim=True))
        with torch.no_grad():
            embedded = self._embed_each(patches, corners)
        with torch.enable_grad():
            features = embedded.map(lambda values_ND: values_ND.detach().requires_grad_())
            logits_BK = self.read(self._relate(features, corners))
            (gradient_ND,) = torch.autograd.grad(logits_BK.gather(1, labels_B[:, None]).sum(), features.values)
        return embedded.map(lambda values_ND: (values_ND * gradient_ND).float().sum(1, keepdim=True))

    @abstractmethod
    def read(self, features: SetBatch) -> Tensor:
        """Return the logits [B, K] of the features [N, D]."""


def _recorded_selection(mode: str | None, replace: bool) -> Callable[..., Any] | None:
    """Return the selection that a config of an older version names by its patch_mode and patch_replace."""
    known: dict[str, Any] = {"random": partial(RandomPlaces, replace=replace), "grid": Grid, "all": AllPlaces}
    return None if mode is None else known[mode]


def _embedding(embed: Callable[..., Any], **element: int) -> Any:
    """Build the embedding of elements: of `channels` and `patch_size`, or of `features`."""
    known = signature(embed).parameters
    if not set(element) <= set(known) and not any(each.kind is Parameter.VAR_KEYWORD for each in known.values()):
        name = getattr(getattr(embed, "func", embed), "__name__", "this embedding")
        kind, other = ("vectors", "patches") if "features" in element else ("patches", "vectors")
        raise ValueError(f"{name} embeds {other}, and the elements are {kind}: choose model/embed=mlp")
    return embed(**element)
