"""Draw docs/patches.png for the README: a digit, its patches, and the probabilities that a network gives them.

PYTHONPATH=src python docs/draw_patches.py RUN_FOLDER [--index 0] [--output docs/patches.png]
(RUN_FOLDER holds a run of a network of patches, such as `python src/train.py` writes)
"""

import argparse
from pathlib import Path

import matplotlib
import torch
from hydra.utils import instantiate
from matplotlib import pyplot
from matplotlib.patches import Rectangle
from omegaconf import OmegaConf

from run.checkpoint import find_checkpoint, load_weights

NUMBERS = (1, 4, 16, 64)


@torch.no_grad()
def draw(folder: Path, index: int, output: Path) -> None:
    config = OmegaConf.load(folder / "config.yaml")
    data, model = instantiate(config.data), instantiate(config.model)
    model.load_state_dict(load_weights(find_checkpoint(folder, "best")))
    network = model.network.eval()
    source, index_B = data.source("test"), torch.tensor([index])
    image_BCHW, label = source.inputs(index_B), int(source.targets[index])
    size = network.cutout.size

    figure, axes = pyplot.subplots(3, len(NUMBERS), figsize=(2.4 * len(NUMBERS), 6), height_ratios=(3, 3, 2))
    for number, (seen, mosaic, bars) in zip(NUMBERS, axes.T, strict=True):
        network.patch_num = number
        corners = network.cutout.positions(image_BCHW, index_B).values.tolist()
        seen.imshow(image_BCHW[0, 0].numpy(), cmap="gray", alpha=0.6)
        for y, x in corners:
            seen.add_patch(Rectangle((x - 0.5, y - 0.5), size, size, fill=False, edgecolor="tab:orange", alpha=0.6))
        seen.set_title(f"{number} patch{'es' if number > 1 else ''}")

        side = int(number**0.5)
        patches = network.cutout(image_BCHW, index_B).values[:, 0]
        framed = torch.nn.functional.pad(patches, (1, 1, 1, 1), value=255)
        mosaic.imshow(framed.unflatten(0, (side, side)).transpose(1, 2).flatten(2).flatten(0, 1).numpy(), cmap="gray")

        probabilities = network(image_BCHW, index_B).softmax(1)[0].numpy()
        colours = ["tab:green" if k == label else "tab:gray" for k in range(len(probabilities))]
        bars.bar(range(len(probabilities)), probabilities, color=colours)
        bars.set_ylim(0, 1)
        bars.set_xticks(range(len(probabilities)))
        bars.set_yticks([])
        bars.spines[["top", "left", "right"]].set_visible(False)
        for axis in (seen, mosaic):
            axis.axis("off")
    for axis, text in zip(axes[:, 0], ("where they were cut", "what the network sees", "probability"), strict=True):
        axis.text(-0.12, 0.5, text, transform=axis.transAxes, rotation=90, va="center", ha="center")
    figure.tight_layout()
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--index", type=int, default=0, help="which test image")
    parser.add_argument("--output", type=Path, default=Path("docs/patches.png"))
    arguments = parser.parse_args()
    draw(arguments.run, arguments.index, arguments.output)
