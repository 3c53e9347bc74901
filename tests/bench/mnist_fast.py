"""experiment=mnist_fast against one epoch of PyTorch's own MNIST example: accuracy, and CPU time of the training."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

import torch
from timing import cpu_seconds, ratio, row
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

TRAIN = Path(__file__).parents[2] / "src" / "train.py"
SEEDS = 5


class Example(nn.Module):
    """github.com/pytorch/examples/mnist: two 3x3 convolutions, dropout, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, images):
        features = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(images)))), 2)
        hidden = F.relu(self.fc1(self.dropout1(features).flatten(1)))
        return F.log_softmax(self.fc2(self.dropout2(hidden)), dim=1)


def example(root: str, seed: int) -> tuple[float, float]:
    """Return the test accuracy after one epoch, and the epoch's CPU seconds."""
    torch.manual_seed(seed)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train, test = (datasets.MNIST(root, train=part, transform=transform) for part in (True, False))
    network = Example()
    adadelta = torch.optim.Adadelta(network.parameters(), lr=1.0)

    def epoch() -> None:
        for images, labels in DataLoader(train, 64, shuffle=True):
            adadelta.zero_grad()
            F.nll_loss(network(images), labels).backward()
            adadelta.step()

    seconds = cpu_seconds(epoch)
    network.eval()
    with torch.no_grad():
        hits = sum(int((network(x).argmax(1) == y).sum()) for x, y in DataLoader(test, 1000))
    return hits / len(test), seconds


def ours(seed: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(TRAIN), "experiment=mnist_fast", f"hparams.seed={seed}"]
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        (record,) = Path(folder).glob("outputs/*/*/*/run.json")
        run = json.loads(record.read_text())
        return run["metrics"]["test_accuracy"], run["training"]["cpu_seconds"]


def main() -> None:
    root = os.environ.get("DATASET", "dataset")
    if not Path(root, "MNIST", "raw").exists():
        print(f"  left out: no MNIST in {Path(root).absolute()}; point DATASET at it")
        return
    os.environ["DATASET"] = str(Path(root).absolute())
    results: dict[str, list[tuple[float, float]]] = {"example": [], "ours": []}
    for seed in range(SEEDS):
        results["ours"].append(ours(seed))
        if seed < 2:  # a minute each
            results["example"].append(example(root, seed))
    for side, values in results.items():
        accuracies, seconds = zip(*values, strict=True)
        text = f"{mean(accuracies):.4f} ± {stdev(accuracies):.4f}, n={len(values)}"
        row(f"{side}, test accuracy", text, "goal >= 0.990" if side == "ours" else "")
        row(f"{side}, CPU s of training", f"{mean(seconds):.2f}")
    pairs = zip(results["example"], results["ours"], strict=False)
    above, below = zip(*[(theirs[1], our[1]) for theirs, our in pairs], strict=True)
    row("CPU time, example / ours", ratio(list(above), list(below)), "goal >= 10")
