"""Checks of settings that networks of patches do not take together, without torch, before a run folder exists."""

import math

from omegaconf import DictConfig, OmegaConf

from process.errors import UserError
from settings import SettingError


def check(config: DictConfig) -> None:
    """Raise a UserError for patches that cannot be cut out of these images. Networks of whole images need no check."""
    hparams, data = config.hparams, config.data
    if OmegaConf.select(config, "model.network.patch_size") is None:
        return
    smallest, largest, size, mode = (hparams[f"patch_{name}"] for name in ("num_min", "num_max", "size", "mode"))
    if smallest > largest:
        raise UserError(
            f"hparams.patch_num_min={smallest} exceeds hparams.patch_num_max={largest}: choose a minimum <= the maximum"
        )
    height, width = data.image_size
    if size > min(height, width):
        raise UserError(
            f"hparams.patch_size={size} exceeds the {height}x{width} images of this data set: "
            f"choose <= {min(height, width)}"
        )
    for part in ("embed", "position", "encoder", "pool"):
        if isinstance(chosen := config.model.network.get(part), str):
            raise SettingError(f"model.network.{part}", chosen, f"model/{part}= chooses it")
    places = math.prod(side - size + 1 for side in data.image_size)
    numbers = {"patch_num_max": largest, "test_patch_num": OmegaConf.select(hparams, "test_patch_num")}
    for name, number in numbers.items() if mode == "random" and not hparams.patch_replace else ():
        if number is not None and number > places:
            raise UserError(
                f"hparams.{name}={number} exceeds the {places} places of a {size}x{size} patch: "
                f"choose <= {places}, or hparams.patch_replace=true"
            )
    if mode is None and "train_bags" not in data:
        raise UserError(
            "hparams.patch_mode=null is for bags, and this data set holds images: choose random, grid or all"
        )
