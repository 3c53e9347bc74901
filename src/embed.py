"""Embed the patches of images once, and write them as bags of features: `python src/embed.py --help`."""

import logging
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from command import cli
from command.job import job
from command.trained_run import open_run, trainer_of
from process.console import print_summary
from process.errors import UserError
from process.files import path_from_setting, refuse_unwritable
from settings import check

log = logging.getLogger(__name__)
OUTPUT = "name a folder, such as output=bags"
NEEDED = {
    "run": "which network? run=FOLDER, or model=torchvision or model=timm with name=NAME",
    "input": "which images? input=PATH: an image, a folder, a .zip, or a pattern such as 'photos/*.png'",
    "output": f"where to? {OUTPUT}",
}
OF_LIBRARY = ("library", "name", "resize")  # the same, of a network in place of that of a run
MADE_BY = ("cut", "stride", "patch_num", "dtype")  # settings on which the features depend


@hydra.main(version_base="1.3", config_path="../config", config_name="embed")
@job
def main(config: DictConfig) -> None:
    check(config)
    for name, question in NEEDED.items():
        if name == "run" and "library" in config:
            continue
        if not OmegaConf.select(config, name):  # an empty path, of an unset shell variable, is the current directory
            raise UserError(question)
    output = path_from_setting("output", config.output, OUTPUT).absolute()
    if output.exists() and not output.is_dir():
        raise UserError(f"output={output}: {OUTPUT}")
    refuse_unwritable(next(each for each in (output, *output.parents) if each.exists()), OUTPUT)
    images = cli.build(config.images)(config.input)  # not in YAML, where ${x} in a path is a setting
    embed, origin = opened(config)
    cutout = cli.build(config.cutout, count=config.patch_num if config.cut == "random" else None)
    embedder = cli.build(config.embedder)(embed)
    with cli.build(config.bags)(output, images) as bags:
        bags.keep_facts({**facts(config, images.large), "weights": embedder.digest}, origin)
        if missing := bags.missing(embedder.width):
            patches = cli.build(config.large if images.large else config.files)(images, missing, cutout)
            trainer_of(config, [bags]).predict(embedder, patches.loader(), return_predictions=False)
        for line in images.others:
            log.warning(line)
        if not bags.usable:
            raise UserError(f"no image can be used: {'; '.join(bags.problems.values())}")
        if bags.problems:
            log.warning(f"left out, {len(bags.problems):,}: {'; '.join(bags.problems.values())}")
        table = bags.write_table()
    rows = {**bags.totals(), "features": embedder.width}
    print_summary("Bags", {**rows, "output": output, **({"table": table} if table else {})}, config.verbosity)


def opened(config: DictConfig) -> tuple[Any, dict[str, Any]]:
    """Return the network whose embedding is used, and where its weights came from."""
    if "library" in config:
        if config.weights is None:
            log.warning("weights=null: the weights are random; weights=PATH or weights=default are trained ones")
        return cli.build(config.embedding), {name: config[name] for name in ("library", "name", "weights")}
    if OmegaConf.select(config, "data.features") is not None:
        raise UserError(f"run={config.run}: this network takes vectors, which are embedded already")
    run = open_run(Path(config.run), config, config.ckpt)
    network = run.model("embed.py uses", "network").network
    return network, {"run": str(run.folder), "checkpoint": run.checkpoint.name}


def facts(config: DictConfig, large: bool) -> dict[str, Any]:
    """Return the settings on which the features depend: bags in one folder are made alike."""
    found = {name: config[name] for name in MADE_BY if name != "patch_num" or config.cut == "random"}
    found |= {name: config[name] for name in OF_LIBRARY if name in config}
    found["patch_size"] = config.cutout.size
    found["seed"] = config.cutout.seed if config.cut == "random" else None
    names = ("level", "magnification", "tissue", "tissue_threshold") if large else ("image_size", "white")
    part = OmegaConf.to_container(config.large if large else config.files, resolve=True)
    assert isinstance(part, dict)
    return found | {name: part[name] for name in names}


if __name__ == "__main__":
    cli.start(main)
