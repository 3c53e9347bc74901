"""Figure of the features of images or patches, projected to two dimensions."""

# B images, k of them, M points, N patches in all, D features

import math
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional

from figure.embedding_picture import Point, drawn_points
from figure.picture import WarnOnFailure, captioned, class_name, has_picture_logger, log_picture
from set_module.lazy_images import LazyImages
from set_module.set_network import SetNetwork, cuts_images

SUBJECTS, METHODS = ("images", "patches"), ("tsne", "pca")
PATCHES_PER_IMAGE = 4  # at most, so that the points come from many images
COMPONENTS, ITERATIONS = 50, 500  # principal components as input of t-SNE, and its steps; twice as many look the same
INTERVALS = 8  # of true values
LARGEST = 128  # pixels of a picture's longer side, as thousands are kept in memory


class Embedding(Callback):
    """Figure of the features of up to `points` items from the whole test set, projected to the plane.

    Colours are classes, or intervals of the (first) true value. Raises ValueError for an unknown option and fewer than
    3 points.

    Args:
        of: `images`: features before the last linear layer; `patches`: features before the pool, of networks of sets.
        method: `tsne` keeps neighbours together, van der Maaten & Hinton 2008, JMLR 9; `pca` shows the two directions
            of largest variance and is much faster.
        seed: seed of the choice of items and of t-SNE.
    """

    needs = ("network", ("test_logits", "test_values"))

    def __init__(self, of: str, points: int, method: str, seed: int) -> None:
        for name, value, options in (("of", of, SUBJECTS), ("method", method, METHODS)):
            if value not in options:
                raise ValueError(f"embedding.{name}={value}: must be one of {', '.join(options)}")
        if points < 3:
            raise ValueError(f"embedding.points={points}: choose >= 3, or embedding=null")
        self.of, self.points, self.method, self.seed = of, points, method, seed
        self.name = "embedding" if of == "images" else "patch_embedding"

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.drawing = WarnOnFailure(f"picture of the {self.name.replace('_', ' ')}")
        self.images_seen, self.kept = 0, list[Point]()
        self.chosen = set[int]()
        wanted = has_picture_logger(trainer) and trainer.is_global_zero
        if wanted and (self.of == "images" or isinstance(getattr(pl_module, "network", None), SetNetwork)):
            with self.drawing:
                count = self.points if self.of == "images" else math.ceil(self.points / PATCHES_PER_IMAGE)
                order = torch.randperm(num_test_images(trainer), generator=torch.Generator().manual_seed(self.seed))
                self.chosen = set(order[:count].tolist())

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, logits: Any, batch: Any, *_: Any) -> None:
        first, self.images_seen = self.images_seen, self.images_seen + len(batch[2])
        numbers = [number for number in range(len(batch[2])) if first + number in self.chosen]
        if numbers and not self.drawing.failed:
            with self.drawing:
                if self.of == "images":
                    logits_BK = logits if hasattr(pl_module, "test_logits") else None
                    self.kept += points_of_images(pl_module.network, logits_BK, batch, numbers)
                else:
                    self.kept += points_of_patches(pl_module.network, batch, numbers, PATCHES_PER_IMAGE)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # in random order, as class folders are tested class by class
        order = torch.randperm(len(self.kept), generator=torch.Generator().manual_seed(self.seed))
        points, self.kept = [self.kept[number] for number in order[: self.points].tolist()], []
        if len(points) > 2 and not self.drawing.failed:
            with self.drawing:
                self._show(trainer, pl_module, points)

    def _show(self, trainer: Trainer, pl_module: LightningModule, points: list[Point]) -> None:
        places_M2 = project_to_plane(torch.stack([point.features for point in points]), self.method, self.seed)
        classes = hasattr(pl_module, "test_logits")
        if classes:
            names = {point.label: class_name(trainer, int(point.label)) for point in points}
        else:
            names = in_intervals(points)
        if self.of == "images":
            items = {4: "bags", 2: "sets"}.get(points[0].picture.ndim, "images")
            colour = "true class. Black outline: classified incorrectly." if classes else "true value."
        else:
            items = "patches" if cuts_images(pl_module.network) else "elements"
            owner = "image" if items == "patches" else "bag" if points[0].picture.ndim == 3 else "set"
            colour = f"{'class' if classes else 'true value'} of the {owner}."
        title = f"Features of {len(points)} test {items}, {'t-SNE' if self.method == 'tsne' else 'PCA'}."
        picture = captioned(drawn_points(places_M2, points, names), title, f"Colour: {colour}")
        log_picture(trainer, f"pictures/{self.name}", picture)


def in_intervals(points: Sequence[Point]) -> dict[int | float, str]:
    """Replace the values of points by the number of one of INTERVALS equal intervals; return what each is called.

    No more than INTERVALS different values keep their own names.
    """
    values = sorted({point.label for point in points})
    if len(values) <= INTERVALS:
        return {value: f"{value:.4g}" for value in values}
    low, width = values[0], (values[-1] - values[0]) / INTERVALS
    for point in points:
        point.label = min(INTERVALS - 1, int((point.label - low) / width))
    return {k: f"{low + k * width:.3g} to {low + (k + 1) * width:.3g}" for k in sorted({p.label for p in points})}


def num_test_images(trainer: Trainer) -> int:
    """Return the number of images that this process tests."""
    loader: Any = trainer.test_dataloaders
    return int(min(len(loader.sampler), trainer.num_test_batches[0] * (loader.batch_size or 1)))


def points_of_images(network: Any, logits_BK: Tensor | None, batch: Any, numbers: list[int]) -> list[Point]:
    """Return the inputs of the last linear layer; if it acts on each patch, their mean over the patches of an image.

    The logits say which images are classified incorrectly; without them, none is.
    """
    images, labels_k, index_k, number_k = chosen(batch, numbers)
    features_kD = inputs_of(last_linear(network), network, images, index_k)
    if len(features_kD) != len(labels_k):
        lengths_k = network.cut(images, index_k)[0].lengths
        features_kD = torch.stack([each_nD.mean(0) for each_nD in features_kD.split(lengths_k.tolist())])
    wrong_k = torch.zeros(len(labels_k)) if logits_BK is None else logits_BK[number_k].argmax(1) != labels_k
    pictures = images.pictures(LARGEST) if isinstance(images, LazyImages) else images
    columns = zip(features_kD.cpu(), labels_k.tolist(), wrong_k.tolist(), pictures, strict=True)
    return [Point(features_D, label, bool(wrong), shrunk(picture)) for features_D, label, wrong, picture in columns]


def points_of_patches(network: Any, batch: Any, numbers: list[int], each: int) -> list[Point]:
    """Return the inputs of the pool: features after the encoder, of the first `each` patches of each image."""
    images, labels_k, index_k, _ = chosen(batch, numbers)
    patches, corners = network.cut(images, index_k)
    features_ND = network.encode(patches, corners).values.float().cpu()
    first_N = (patches.numbers() < each).cpu()
    label_N = labels_k[patches.index].cpu()
    columns = zip(features_ND[first_N], label_N[first_N].tolist(), patches.values.cpu()[first_N], strict=True)
    return [Point(features_D, label, False, shrunk(patch)) for features_D, label, patch in columns]


def chosen(batch: Any, numbers: list[int]) -> tuple[Any, Tensor, Tensor, Tensor]:
    """Return images (or a SetBatch), labels or first values, and index of the items `numbers`, and the numbers."""
    images_BCHW, targets, index_B = batch
    number_k = torch.tensor(numbers, device=targets.device)
    return images_BCHW[number_k], targets.reshape(len(index_B), -1)[number_k, 0], index_B[number_k], number_k


def shrunk(picture: Tensor) -> Tensor:
    """Move uint8 [C, H, W] or [n, C, H, W] to the CPU, averaged to the size at which it may be drawn; or vectors."""
    factor = LARGEST / max(picture.shape[-2:])
    if factor >= 1 or picture.ndim < 3:
        return picture.to("cpu", copy=True)  # a copy: a view would keep the whole batch in memory
    pixels = picture.float().view(-1, *picture.shape[-3:])
    size = [max(1, round(factor * length)) for length in picture.shape[-2:]]
    smaller = functional.interpolate(pixels, size, mode="area").round().to("cpu", torch.uint8)
    return smaller.view(*picture.shape[:-2], *size)


def last_linear(network: nn.Module) -> nn.Linear:
    """Return the last linear layer of the head, or of the network. Raises ValueError if there is none."""
    layers = [part for part in getattr(network, "head", network).modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise ValueError("the network has no linear layer at its end")
    return layers[-1]


def inputs_of(layer: nn.Module, network: nn.Module, *inputs: Any) -> Tensor:
    """Run `network(*inputs)` and return the last input of a layer."""
    taken: list[Tensor] = []
    with layer.register_forward_pre_hook(lambda _, arguments: taken.append(arguments[0])):
        network(*inputs)
    return taken[-1].detach().float()


def project_to_plane(features_MD: Tensor, method: str, seed: int) -> Tensor:
    """Return places [M, 2], the same for one seed. Raises ValueError if features are not finite or all equal."""
    if not bool(features_MD.isfinite().all()):
        raise ValueError("the network makes features that are NaN or infinite")
    if bool((features_MD == features_MD[0]).all()):
        raise ValueError("the network makes the same features of all items")
    from sklearn.decomposition import PCA  # the import takes half a second
    from sklearn.manifold import TSNE

    values_MD = features_MD.double().numpy()
    components = COMPONENTS if method == "tsne" else 2
    parts_MP = PCA(min(components, *values_MD.shape), random_state=seed).fit_transform(values_MD)
    if method == "tsne" and parts_MP.shape[1] > 1:
        perplexity = min(30.0, (len(parts_MP) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, max_iter=ITERATIONS, init="pca", random_state=seed)
        parts_MP = tsne.fit_transform(parts_MP)
    if parts_MP.shape[1] == 1:  # a single feature
        parts_MP = parts_MP.repeat(2, axis=1)
    return torch.from_numpy(parts_MP).float()
