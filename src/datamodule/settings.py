"""Checks of the settings of a data set, without torch, before a run folder exists."""

from omegaconf import DictConfig, OmegaConf

from process.errors import UserError


def check(config: DictConfig) -> None:
    """Raise a UserError for a mean or std that does not normalise, and for settings that do not fit bags."""
    if config.get("resume") is None and "run" not in config:  # a trained network keeps what it was trained with
        _check_normalisation(config.data)
    _check_bags(config)


def _check_normalisation(data: DictConfig) -> None:
    """Raise a UserError for a mean or std that is not one of pixels in 0..1, with the right value if it is known."""
    facts = {name: list(data[name]) for name in ("mean", "std")}
    measure = "src/data_summary.py measures mean and std"
    for name, values in facts.items():
        if len(values) not in (1, data.channels):
            number = "1 number" if data.channels == 1 else f"1 number, or {data.channels}"
            raise UserError(f"data.{name}={values}: give {number}, as data.channels={data.channels}; {measure}")
    wrong = {name: values for name, values in facts.items() if max(values) > 1}
    largest = max(map(max, facts.values()))
    if wrong and min(map(min, wrong.values())) >= 0 and largest <= 65535:
        levels = 255 if largest <= 255 else 65535  # of 8 or 16 bits
        given = " ".join(f"data.{name}={_numbers(values)}" for name, values in wrong.items())
        right = " ".join(f"data.{name}={_numbers([x / levels for x in values])}" for name, values in wrong.items())
        raise UserError(f"{given}: in 0..{levels}, and the networks take pixels in 0..1: {right}")
    if not all(0 <= mean <= 1 for mean in facts["mean"]):
        raise UserError(f"data.mean={facts['mean']}: pixels are in 0..1, so their mean is too; {measure}")
    if not all(0 < std <= 1 for std in facts["std"]):
        raise UserError(
            f"data.std={facts['std']}: must be > 0 and <= 1, as pixels are in 0..1 (1 divides nothing); {measure}"
        )


def _numbers(values: list[float]) -> str:
    return "[" + ",".join(f"{value:.4g}" for value in values) + "]"


def _check_bags(config: DictConfig) -> None:
    """Raise a UserError for settings that do not fit bags (MNIST_bags), whose items are sets already."""
    data, size, mode = config.data, config.hparams.patch_size, config.hparams.patch_mode
    if "train_bags" not in data:
        return
    if (
        OmegaConf.select(config, "model.network") is not None
        and OmegaConf.select(config, "model.network.patch_size") is None
    ):
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
