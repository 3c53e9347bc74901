"""JPEG files to predictions.csv by predict.py, against Pillow and the network one image after the other.

Images per CPU second of one process, imports not counted. Files of 32x32, as large as CIFAR-10's: 0.9 kB.
"""

import csv
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from configs import composed
from PIL import Image
from sides import quiet
from timing import cpu_seconds, in_turn, ratio, row
from torch import Tensor, nn

from callback.progress import ProgressBar
from command import cli
from datamodule.files import Files
from prediction.predictor import Predictor
from prediction.table import Table

CLASSES = [str(label) for label in range(10)]
SIDES = (("cnn", 1, 2000, 1000), ("patch_set", 16, 400, 100))  # model, draws, images of the one side and of the other


def write_jpegs(folder: Path, count: int) -> None:
    """Write blurred noise, which takes as many bytes as photographs do."""
    coarse_NHWC = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    for number, pixels_HWC in enumerate(coarse_NHWC):
        image = Image.fromarray(pixels_HWC).resize((32, 32), Image.Resampling.BICUBIC)
        image.save(folder / f"{number:05}.jpg")


def predict(network: nn.Module, draws: int, folder: Path) -> None:
    """Do what predict.py does after reading its settings."""
    files = Files(str(folder), channels=3, image_size=[32, 32], batch_size=128, num_workers=0)
    with (folder / "predictions.csv").open("w") as file:
        table = Table(file, files.names, CLASSES, spread=draws > 1)
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            callbacks=[ProgressBar(), table],
        )
        trainer.predict(Predictor(network, draws, patch_num=None), files.loader(), return_predictions=False)


@torch.inference_mode()
def one_by_one(network: nn.Module, draws: int, paths: Iterable[Path]) -> list[Tensor]:
    means = []
    for path in paths:
        pixels_HWC = np.array(Image.open(path).convert("RGB"))
        image_1CHW = torch.from_numpy(pixels_HWC).permute(2, 0, 1)[None]
        draws_DK = [network(image_1CHW, torch.tensor([draw])).softmax(1)[0] for draw in range(draws)]
        means.append(torch.stack(draws_DK).mean(0))
    return means


def refuse_others(folder: Path, means: list[Tensor]) -> None:
    """Raise an error unless both sides predict the same for the same files."""
    with (folder / "predictions.csv").open() as file:
        ours = [[float(line[f"p({name})"]) for name in CLASSES] for line in csv.DictReader(file)]
    torch.testing.assert_close(torch.stack(means), torch.tensor(ours[: len(means)]), atol=1e-5, rtol=0)


def compare(model: str, draws: int, many: int, few: int) -> dict[str, list[float]]:
    """Return the images/s of both sides."""
    network = cli.build(composed("data=CIFAR10", f"model={model}").model).network.eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jpegs(folder, many)
        paths = sorted(folder.glob("*.jpg"))[:few]
        figures = in_turn(
            {
                "predict.py": lambda: many / cpu_seconds(lambda: predict(network, draws, folder)),
                "one by one": lambda: few / cpu_seconds(lambda: one_by_one(network, draws, paths)),
            }
        )
        refuse_others(folder, one_by_one(network, draws, paths))
    return figures


def main() -> None:
    quiet()
    for model, draws, many, few in SIDES:
        figures = compare(model, draws, many, few)
        label = f"model={model}" + (f", {draws} draws" if draws > 1 else "")
        for side, values in figures.items():
            row(f"{label}, {side}, images/s", f"{sorted(values)[2]:,.0f}")
        row(f"{label}, predict.py / one by one", ratio(figures["predict.py"], figures["one by one"]))
