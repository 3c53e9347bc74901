"""Checks of settings that a data set does not take together, without torch, before a run folder exists."""

from omegaconf import DictConfig, OmegaConf

from process.errors import UserError


def check(config: DictConfig) -> None:
    """Raise a UserError for settings that do not fit bags (MNIST_bags), whose items are sets already."""
    data, size, mode = config.data, config.hparams.patch_size, config.hparams.patch_mode
    if "train_bags" not in data:
        return
    if "network" in config.model and OmegaConf.select(config, "model.network.patch_size") is None:
        raise UserError("this data set holds bags, and the network takes images: choose model=patch_set or deep_sets")
    if data.crop_padding > 0 or data.flip:
        raise UserError("bags are neither cropped nor flipped: data.crop_padding=0 data.flip=false")
    if mode is not None:
        raise UserError(f"hparams.patch_mode={mode}: this data set holds bags, nothing is cut: hparams.patch_mode=null")
    height, width = data.image_size
    if [height, width] != 2 * [size]:
        raise UserError(
            f"hparams.patch_size={size}: nothing is cut out of the {height}x{width} images of a bag: choose {height}"
        )
