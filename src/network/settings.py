"""Checks of settings that networks and data do not take together, without torch, before a run folder exists."""

import math
from typing import Any

from omegaconf import DictConfig, OmegaConf

from process.errors import UserError
from settings import SettingError, draws_patches, holds_sets, selection

PARTS = ("selection", "body", "embed", "position", "encoder", "pool")
OF_ONE_SIZE = ("set_module.position.LearnedPosition",)  # positions
LAZY = "these images are read patch by patch"
ANY_SIZE = "these images have any size"
CLASSIFICATION = "task.classification.Classification"
LEARNED = ("fixed", "glimpse", "reinforce")  # selections
OF_FEATURES = ("ips", "attention_sampling", "topk")  # selections that learn from features of patches
WITH_SCORES = "set_module.attention_pool.AttentionPool"
MEAN = "set_module.reduce_pool.ReducePool"
OF_PATCHES_ALONE = {  # embeddings that take no vectors
    "network.cnn_embed.CNNEmbed": "cnn",
    "network.torchvision_embed.TorchvisionEmbed": "torchvision",
    "network.timm_embed.TimmEmbed": "timm",
}


def check(config: DictConfig) -> None:
    """Raise a UserError for elements that the network does not take, and for patches that cannot be cut.

    What a data set of sets does not take from a network, datamodule/settings.py checks.
    """
    _check_embed_lr(config)
    vectors = OmegaConf.select(config, "data.features") is not None
    lazy = bool(config.data.get("lazy"))
    if "patch_size" not in config.model.network:  # a network of whole images
        if lazy:
            raise UserError(f"{LAZY}, and the network takes whole images: choose model=patch_set or deep_sets")
        return
    _refuse_renamed(config)
    for part in PARTS:
        if isinstance(chosen := config.model.network.get(part), str):
            raise SettingError(f"model.network.{part}", chosen, f"model/{part}= chooses it")
    if "body" in config.model.network and holds_sets(config.data):
        raise UserError("this data set holds sets, and the network takes images: choose model=patch_set or deep_sets")
    _check_elements(config, vectors)
    if not vectors:
        _check_patches(config)
        _check_learned_places(config)
        _check_pool(config)
    if lazy:
        _check_lazy(config)


def _check_embed_lr(config: DictConfig) -> None:
    """Raise a UserError for a learning rate of an embedding that is not there or not trained."""
    rate, embed = config.hparams.get("embed_lr"), config.model.network.get("embed")
    if rate is None or "run" in config:
        return
    if embed is None:
        raise UserError(
            f"hparams.embed_lr={rate}: this network has no embedding with a rate of its own: set hparams.embed_lr=null "
            "or choose a network of sets, such as model=patch_set"
        )
    if isinstance(embed, DictConfig) and embed.get("frozen"):
        raise UserError(
            f"hparams.embed_lr={rate}: the embedding is frozen: train it, model.network.embed.frozen=false, or set "
            "hparams.embed_lr=null"
        )


def _refuse_renamed(config: DictConfig) -> None:
    """Raise a UserError for settings of an older version in a YAML file or an argument of this one."""
    if "selection" not in config.model.network:  # the config of an older run
        return
    for name, now in (("patch_mode", "model/selection="), ("patch_replace", "model.network.selection.replace=")):
        if name in config.hparams:
            value = str(config.hparams[name]).lower()
            remedy = "leave it out" if value == "none" else f"it is {now}{value} now"
            raise SettingError(f"hparams.{name}", value, remedy)


def _check_elements(config: DictConfig, vectors: bool) -> None:
    """Raise a UserError for parts of the network that do not fit the elements of the sets."""
    network = config.model.network
    if vectors != (network.get("features") is not None):
        given = "model.network.features=${data.features}" if vectors else "model.network.features=null"
        kind = "vectors" if vectors else "images, not vectors"
        raise UserError(f"the elements of this data set are {kind}: {given}")
    embed = OF_PATCHES_ALONE.get(OmegaConf.select(config, "model.network.embed._target_"))
    if vectors and embed is not None:
        raise UserError(
            f"model/embed={embed} takes patches of images, and the elements are vectors: choose model/embed=mlp"
        )
    if selection(config)[0] is None and network.get("position") is not None:
        raise UserError(
            "the data are sets already, whose elements have no places: choose model=patch_set model/position=none"
        )
    if selection(config)[0] is None and OmegaConf.select(network, "classifier.ppeg") == "places":
        raise UserError(
            "model.network.classifier.ppeg=places: the data are sets already, whose elements have no places: choose "
            "model.network.classifier.ppeg=none or order"
        )


def _check_patches(config: DictConfig) -> None:
    hparams, data = config.hparams, config.data
    smallest, largest, size = (hparams[f"patch_{name}"] for name in ("num_min", "num_max", "size"))
    kind, replace = selection(config)
    if smallest > largest:
        raise UserError(
            f"hparams.patch_num_min={smallest} exceeds hparams.patch_num_max={largest}: choose a minimum <= the maximum"
        )
    if size is None:
        raise UserError("hparams.patch_size=null is for vectors, and this data set holds images: choose a whole number")
    if data.image_size is None:  # each image is checked when its size is known
        return
    height, width = data.image_size
    if size > min(height, width):
        raise UserError(
            f"hparams.patch_size={size} exceeds the {height}x{width} images of this data set: "
            f"choose <= {min(height, width)}"
        )
    stride = _stride(config, size)
    places = math.prod(-(-(side - size) // stride) + 1 for side in data.image_size)
    numbers = {"patch_num_max": largest, "test_patch_num": OmegaConf.select(hparams, "test_patch_num")}
    for name, number in numbers.items() if draws_patches(config) and not replace else ():
        if number is not None and number > places:
            raise UserError(
                f"hparams.{name}={number} exceeds the {places} places of a {size}x{size} patch: "
                f"choose <= {places}" + (", or model.network.selection.replace=true" if kind == "random" else "")
            )
    if kind is None and not holds_sets(data):
        where = "model/selection=" if "selection" in config.model.network else "hparams.patch_mode="
        raise UserError(
            f"this network cuts no patches, and this data set holds images: choose {where}random, grid or all"
        )


def _check_lazy(config: DictConfig) -> None:
    """Raise a UserError for networks that need whole images, or images of one size, where patches are read."""
    kind, _ = selection(config)
    network, any_size = config.model.network, config.data.image_size is None
    if "body" in network:
        raise UserError(f"{LAZY}, and the network takes whole images: choose model=patch_set or deep_sets")
    if kind in LEARNED:
        raise UserError(
            f"model/selection={kind}: {LAZY}, and places are learned from whole images: choose model/selection=random "
            "or grid"
        )
    if any_size and "visible" in network:
        raise UserError(f"{ANY_SIZE}, and a masked autoencoder needs one size: choose model=patch_set")
    if any_size and OmegaConf.select(network, "position._target_") in OF_ONE_SIZE:
        raise UserError(f"{ANY_SIZE}, of which no table of places is learned: choose model/position=sinusoidal")


def _check_learned_places(config: DictConfig) -> None:
    """Raise a UserError for networks and strategies with which places cannot be learned, or not be frozen."""
    kind, _ = selection(config)
    network, strategy = config.model.network, OmegaConf.select(config, "trainer.strategy")
    if "visible" in network and kind in (*LEARNED, *OF_FEATURES):
        raise UserError(
            f"model/selection={kind}: a masked autoencoder hides patches at random, so that no place can be learned: "
            "choose model/selection=random, grid or all"
        )
    if "body" not in network and (kind == "reinforce" or OmegaConf.select(network, "selection.read")):
        given = f"model/selection={kind}" if kind == "reinforce" else "model.network.selection.read=true"
        raise UserError(f"{given}: the network has no part that its reader's loss is added to: choose model=canvas")
    tasks = [str(OmegaConf.select(task, "_target_")) for task in config.task.values()]
    if kind == "reinforce" and tasks != [CLASSIFICATION]:
        raise UserError("model/selection=reinforce: it rewards the right class: choose task=classification")
    if strategy == "ddp" and OmegaConf.select(network, "selection.freeze_at") is not None:
        raise UserError(
            f"model.network.selection.freeze_at={network.selection.freeze_at}: what is frozen has no gradient, for "
            "which ddp waits: trainer.strategy=ddp_find_unused_parameters_true"
        )


def _stride(config: DictConfig, size: int) -> int:
    """Return the pixels from one place to the next."""
    chosen: Any = OmegaConf.select(config, "model.network.selection")
    if selection(config)[0] not in (*OF_FEATURES, "brightest"):
        return 1
    if chosen.get("stride") is not None:
        return int(chosen.stride)
    return 2 * int(chosen.scale) if "scale" in chosen else size


def _check_pool(config: DictConfig) -> None:
    """Raise a UserError for networks from which a selection that learns from features of patches cannot learn."""
    kind, network = selection(config)[0], config.model.network
    if kind not in OF_FEATURES:
        return
    if "pool" not in network:
        remedy = "random, fixed or glimpse" if "body" in network else "random, grid or all"
        raise UserError(
            f"model/selection={kind} learns from pooled features of patches: choose model/selection={remedy}"
        )
    pool = network.pool.get("_target_")
    if kind == "ips" and (pool != WITH_SCORES or network.get("encoder") is not None):
        raise UserError(
            "model/selection=ips chooses by an attention that sees each patch by itself: choose model=attention_mil"
        )
    if kind == "attention_sampling" and (pool != MEAN or list(network.pool.reductions) != ["mean"]):
        raise UserError(
            "model/selection=attention_sampling weighs a mean: choose model/pool=reduce hparams.pool=[mean]"
        )
