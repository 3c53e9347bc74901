"""Checks of the settings of a data set, without torch, before a run folder exists."""

from omegaconf import DictConfig, OmegaConf

from process.errors import UserError
from settings import SELECTIONS, holds_sets


def check(config: DictConfig) -> None:
    """Raise a UserError for a mean or std that does not normalise, and for settings that do not fit sets."""
    data = config.data
    needed = ("channels",) if data.get("lazy") else ("channels", "image_size")
    if data.get("features") is None and any(name in data and data[name] is None for name in needed):
        raise UserError("data.channels or data.image_size is null: give both of images, or data.features of vectors")
    if config.get("resume") is None and "run" not in config:  # a trained network keeps what it was trained with
        if config.data.get("features") is None:
            _check_pixels(config.data)
        else:
            _check_features(config.data)
    if data.get("lazy") and (data.crop_padding > 0 or data.flip or data.get("warp", 0) > 0):
        raise UserError(
            "images that are read patch by patch are neither cropped, flipped nor warped: data.crop_padding=0 "
            "data.flip=false data.warp=0"
        )
    if data.get("mix") is not None:
        _check_mix(data)
    _check_sets(config)


def _check_features(data: DictConfig) -> None:
    """Raise a UserError for a mean or std that is not one of vectors."""
    for name in ("mean", "std"):
        values = list(data[name])
        if len(values) not in (1, data.features):
            raise UserError(
                f"data.{name}={values}: give 1 number, or {data.features}, as data.features={data.features}; "
                "src/data_summary.py measures mean and std"
            )
    if not all(0 < std < float("inf") for std in data.std):
        raise UserError(f"data.std={list(data.std)}: must be > 0 (1 divides nothing)")


def _check_pixels(data: DictConfig) -> None:
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


def _check_mix(data: DictConfig) -> None:
    """Raise a UserError for data whose training items are not bags of class 0 or 1."""
    if not holds_sets(data):
        reason = "this data set holds images, not bags"
    elif data.get("set_size") is not None:
        reason = "these sets are drawn anew in each step already"
    elif data.get("num_classes") != 2:
        reason = "only bags that are labelled 0 or 1, by whether a positive element is among them, can be mixed"
    else:
        return
    raise UserError(f"data.mix={data.mix}: {reason}: data.mix=null")


def _check_sets(config: DictConfig) -> None:
    """Raise a UserError for settings that do not fit data whose items are sets already."""
    data, size = config.data, config.hparams.patch_size
    vectors = data.get("features") is not None
    if not holds_sets(data):
        if data.get("max_elements") is not None:
            raise UserError(
                f"data.max_elements={data.max_elements}: this data set holds images, not sets: choose null, and "
                "hparams.patch_num_max for the number of patches"
            )
        return
    name = "vectors" if vectors else "bags" if "train_bags" in data else "sets"
    if OmegaConf.select(config, "model.network") is not None and "patch_size" not in config.model.network:
        raise UserError(
            f"this data set holds {name}, and the network takes images: choose model=patch_set or deep_sets"
        )
    if vectors and (data.crop_padding > 0 or data.flip or data.get("warp", 0) > 0):
        raise UserError(
            f"{name} are neither cropped, flipped nor warped: data.crop_padding=0 data.flip=false data.warp=0"
        )
    recorded = config.hparams.get("patch_mode")  # by an older version
    if recorded is not None:
        raise UserError(
            f"hparams.patch_mode={recorded}: this data set holds {name}, nothing is cut: hparams.patch_mode=null"
        )
    chosen = OmegaConf.select(config, "model.network.selection._target_")
    if (kind := SELECTIONS.get(chosen, chosen)) not in (None, "random"):
        raise UserError(f"model/selection={kind}: this data set holds {name}, nothing is cut: leave it out")
    if vectors:
        return
    height, width = data.image_size
    if [height, width] != 2 * [size]:
        raise UserError(
            f"hparams.patch_size={size}: nothing is cut out of the {height}x{width} images of a set: choose {height}"
        )
