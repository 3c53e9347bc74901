"""How a network arranges images, or patches of them: their features in two dimensions."""

# M points, D features

import math
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.embedding_picture import drawn_points
from figure.embedding_points import Point, points_of_images, points_of_patches
from figure.picture import captioned, framed
from figure.show import Tolerated, class_name, is_wanted, show
from set_module.set_network import SetNetwork, cuts_images

WHAT, METHODS = ("images", "patches"), ("tsne", "pca")
EACH = 4  # patches of an image, at most: from another image one learns more
ENOUGH, ITERATIONS = 50, 500  # principal components that t-SNE is given, and its steps: twice as many look the same


class Embedding(Callback):
    """`of` images: what the last linear layer takes. `of` patches: what the pool takes; networks without show nothing.

    Of `points` all over the test set, or as many as there are, drawn by `seed`. `method` tsne keeps neighbours
    together, van der Maaten & Hinton 2008, JMLR 9; pca shows the two directions of largest variance, at once.
    Raises ValueError for an unknown option and fewer than 3 points.
    """

    def __init__(self, of: str, points: int, method: str, seed: int) -> None:
        for name, value, options in (("of", of, WHAT), ("method", method, METHODS)):
            if value not in options:
                raise ValueError(f"embedding.{name}={value}: must be one of {', '.join(options)}")
        if points < 3:
            raise ValueError(f"embedding.points={points}: choose >= 3, or embedding=null")
        self.of, self.points, self.method, self.seed = of, points, method, seed
        self.name = "embedding" if of == "images" else "patch_embedding"

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.tolerated = Tolerated(f"picture of the {self.name.replace('_', ' ')}")
        self.seen, self.kept = 0, list[Point]()
        self.chosen = set[int]()
        wanted = is_wanted(trainer) and trainer.is_global_zero
        if wanted and (self.of == "images" or isinstance(pl_module.network, SetNetwork)):
            with self.tolerated:
                count = self.points if self.of == "images" else math.ceil(self.points / EACH)
                order = torch.randperm(tested(trainer), generator=torch.Generator().manual_seed(self.seed))
                self.chosen = set(order[:count].tolist())

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        first, self.seen = self.seen, self.seen + len(batch[1])
        numbers = [number for number in range(len(batch[1])) if first + number in self.chosen]
        if numbers and not self.tolerated.failed:
            with self.tolerated:
                if self.of == "images":
                    self.kept += points_of_images(pl_module.network, outputs, batch, numbers)
                else:
                    self.kept += points_of_patches(pl_module.network, batch, numbers, EACH)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # in a random order: class folders have the images of a class one after the other
        order = torch.randperm(len(self.kept), generator=torch.Generator().manual_seed(self.seed))
        points, self.kept = [self.kept[number] for number in order[: self.points].tolist()], []
        if len(points) > 2 and not self.tolerated.failed:
            with self.tolerated:
                self._show(trainer, pl_module, points)

    def _show(self, trainer: Trainer, pl_module: LightningModule, points: list[Point]) -> None:
        places_M2 = in_the_plane(torch.stack([point.features for point in points]), self.method, self.seed)
        names = {point.label: class_name(trainer, point.label) for point in points}
        if self.of == "images":
            what = "bags" if points[0].picture.ndim > 3 else "images"
            colour = "Colour: true class. Black outline: named wrongly."
        else:
            what = "patches" if cuts_images(pl_module.network) else "elements"
            colour = f"Colour: class of {'the image' if what == 'patches' else 'the bag'}."
        words = f"Features of {len(points)} test {what}, {'t-SNE' if self.method == 'tsne' else 'PCA'}."
        picture = captioned(drawn_points(places_M2, points, names), words, colour)
        show(trainer, f"pictures/{self.name}", framed(picture))


def tested(trainer: Trainer) -> int:
    """How many images this process tests."""
    loader: Any = trainer.test_dataloaders
    return int(min(len(loader.sampler), trainer.num_test_batches[0] * (loader.batch_size or 1)))


def in_the_plane(features_MD: Tensor, method: str, seed: int) -> Tensor:
    """[M, 2]; the same for the same features and seed. Raises ValueError for what has no place in one."""
    if not bool(features_MD.isfinite().all()):
        raise ValueError("the network makes features that are NaN or infinite")
    if bool((features_MD == features_MD[0]).all()):
        raise ValueError("the network makes the same features of all images")
    from sklearn.decomposition import PCA  # half a second
    from sklearn.manifold import TSNE

    values_MD = features_MD.double().numpy()
    wanted = ENOUGH if method == "tsne" else 2
    parts_MP = PCA(min(wanted, *values_MD.shape), random_state=seed).fit_transform(values_MD)
    if method == "tsne" and parts_MP.shape[1] > 1:
        perplexity = min(30.0, (len(parts_MP) - 1) / 3)
        parts_MP = TSNE(perplexity=perplexity, max_iter=ITERATIONS, init="pca", random_state=seed).fit_transform(
            parts_MP
        )
    if parts_MP.shape[1] == 1:  # a single feature
        parts_MP = parts_MP.repeat(2, axis=1)
    return torch.from_numpy(parts_MP).float()
