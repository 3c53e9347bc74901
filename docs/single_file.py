"""Classify digits from sets of patches, on one page and with torch and torchvision only: what this repository does.

    OMP_NUM_THREADS=1 python docs/single_file.py

trains for three epochs on sets of 1 to 64 patches of 15x15 pixels of MNIST, which is read from $DATASET or dataset/ and
downloaded if it is not there. The network becomes as accurate as `python src/train.py`, which has the same layers,
optimizer, epochs and patches: docs/accuracies.md has the numbers. The rest of this repository is what daily research
needs besides: run folders, resuming, sweeps, loggers, other networks and data.
"""

# B images, N patches of all images together, P side of a patch, H W height and width of an image, D features

import argparse
import os
import time

import torch
from torch import Tensor, nn
from torchvision.datasets import MNIST

BATCH, LEARNING_RATE = 128, 0.003
FEWEST, MOST, P, D = 1, 64, 15, 256


def read(train: bool) -> tuple[Tensor, Tensor]:
    """Return all images, uint8 [60000 or 10000, H, W], and their labels: 47 MB at most, so they stay in memory."""
    data = MNIST(os.environ.get("DATASET", "dataset"), train=train, download=True)
    return data.data, data.targets


def cut(images_BHW: Tensor, fewest: int, most: int) -> tuple[Tensor, Tensor]:
    """Cut `fewest` to `most` random patches out of each image; return them, [N, P, P], and the image of each, [N].

    A batch of sets of any sizes is two tensors: the elements of all sets one after the other, and the set of each.
    Nothing is padded, and a layer that acts on one patch at a time does not have to know about sets.
    """
    length_B = torch.randint(fewest, most + 1, [len(images_BHW)], device=images_BHW.device)
    index_N = torch.arange(len(images_BHW), device=images_BHW.device).repeat_interleave(length_B)
    windows = images_BHW.unfold(1, P, 1).unfold(2, P, 1)  # [B, H - P + 1, W - P + 1, P, P]: a view, no copy
    y_N, x_N = (torch.randint(places, index_N.shape, device=index_N.device) for places in windows.shape[1:3])
    return windows[index_N, y_N, x_N], index_N


def pool(features_ND: Tensor, index_N: Tensor, sets: int) -> Tensor:
    """Return mean, maximum and standard deviation of each set, [sets, 3 D], in which the order does not matter."""
    zeros_BD = features_ND.new_zeros(sets, features_ND.shape[1])

    def mean(values_ND: Tensor) -> Tensor:
        return zeros_BD.index_add(0, index_N, values_ND) / index_N.bincount(minlength=sets)[:, None]

    mean_BD = mean(features_ND)
    index_ND = index_N[:, None].expand_as(features_ND)
    max_BD = zeros_BD.scatter_reduce(0, index_ND, features_ND, "amax", include_self=False)
    variance_BD = mean((features_ND - mean_BD[index_N]).square())
    std_BD = (variance_BD + 1e-8).sqrt()  # the std of a set of one is 0, where the root has no gradient
    return torch.cat([mean_BD, max_BD, std_BD], dim=1)


class PatchSet(nn.Module):
    """y = head(pool({embed(x_i)})): Deep Sets, Zaheer et al. 2017, arXiv:1703.06114."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Flatten(), *layer(P * P, D), *layer(D, D))
        self.head = nn.Sequential(*layer(3 * D, D), nn.Linear(D, 10))

    def forward(self, patches_NPP: Tensor, index_N: Tensor, sets: int) -> Tensor:
        pixels_NPP = (patches_NPP / 255 - 0.1307) / 0.3081  # bytes until here, a quarter of the memory to copy
        return self.head(pool(self.embed(pixels_NPP), index_N, sets))


def layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU(inplace=True)]


@torch.no_grad()
def accuracy(network: nn.Module, images_BHW: Tensor, labels_B: Tensor, patches: int) -> float:
    parts = [network(*cut(part, patches, patches), len(part)).argmax(1) for part in images_BHW.split(500)]
    return (torch.cat(parts) == labels_B).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=55000, help="training images, at most 55000")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels, test_images, test_labels = (x.to(device) for train in (True, False) for x in read(train))
    shuffled = torch.randperm(len(images), device=device)
    train, valid = shuffled[:-5000][: options.images], shuffled[-5000:]

    network = PatchSet().to(device)
    steps = -(-len(train) // BATCH)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, options.epochs * steps)

    start = time.perf_counter()
    for epoch in range(options.epochs):
        loss_sum = torch.zeros((), device=device)  # reading it at every step would make a GPU wait
        for batch in train[torch.randperm(len(train), device=device)].split(BATCH):
            logits = network(*cut(images[batch], FEWEST, MOST), len(batch))
            loss = nn.functional.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.detach()
        valid_accuracy = accuracy(network, images[valid], labels[valid], MOST)
        print(f"epoch {epoch + 1}  loss {loss_sum / steps:.4f}  validation accuracy {valid_accuracy:.4f}", flush=True)
    print(f"{time.perf_counter() - start:.0f} s")
    for patches in (1, 4, 16, 64):
        print(f"test accuracy with {patches} patches: {accuracy(network, test_images, test_labels, patches):.4f}")


if __name__ == "__main__":
    main()
