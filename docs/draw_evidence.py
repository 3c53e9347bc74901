"""Draw docs/evidence.png for these pages: the evidence of the patches of some test images for the predicted class.

PYTHONPATH=src python docs/draw_evidence.py RUN_FOLDER ... [--index 0 1 2] [--output docs/evidence.png]
(RUN_FOLDER holds a run of any network of patches)
"""

import argparse
from pathlib import Path

import matplotlib
import torch
from hydra.utils import instantiate
from matplotlib import pyplot
from omegaconf import OmegaConf

from run.checkpoint import find_checkpoint, load_weights
from set_module.set_network import draws_patches

PATCHES = 128  # enough to cover the image


@torch.no_grad()
def draw(folders: list[Path], indices: list[int], output: Path) -> None:
    shape = (len(folders) + 1, len(indices))
    figure, axes = pyplot.subplots(*shape, figsize=(1.8 * shape[1], 1.9 * shape[0]), squeeze=False)
    for row, folder in zip(axes[1:], folders, strict=True):
        config = OmegaConf.load(folder / "config.yaml")
        data, model = instantiate(config.data), instantiate(config.model)
        model.load_state_dict(load_weights(find_checkpoint(folder, "best")))
        network, source, index_B = model.network.eval(), data.source("test"), torch.tensor(indices)
        if draws_patches(network):
            network.patch_num = min(PATCHES, network.max_patch_num or PATCHES)
        images_BCHW = source.inputs(index_B)
        predicted_B = network(images_BCHW, index_B).argmax(1)
        maps_BHW = network.evidence(images_BCHW, index_B, predicted_B)
        for axis, image_CHW, heat_HW, label in zip(row, images_BCHW, maps_BHW, predicted_B.tolist(), strict=True):
            axis.imshow(image_CHW.movedim(0, 2).squeeze(2).numpy(), cmap="gray")
            axis.imshow(heat_HW.numpy(), cmap="inferno", alpha=0.7)
            axis.set_title(data.class_names[label], fontsize="small")
        row[0].set_ylabel(type(network).__name__ if hasattr(network, "heat_map") else type(network.pool).__name__)
        for axis, image_CHW, label in zip(axes[0], images_BCHW, source.targets[index_B].tolist(), strict=True):
            axis.imshow(image_CHW.movedim(0, 2).squeeze(2).numpy(), cmap="gray")
            axis.set_title(data.class_names[label], fontsize="small")
    axes[0, 0].set_ylabel("test image")
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_FOLDER")
    parser.add_argument("--index", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="which test images")
    parser.add_argument("--output", type=Path, default=Path("docs/evidence.png"))
    arguments = parser.parse_args()
    draw(arguments.runs, arguments.index, arguments.output)
