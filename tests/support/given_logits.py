"""Test run of a model with given logits, which records the pictures that a callback draws."""

from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from recorder import Recorder
from torch import Tensor, nn
from torch.utils.data import DataLoader


class GivenLogits(LightningModule):
    def __init__(self, logits_NK: Tensor, network: nn.Module | None) -> None:
        super().__init__()
        self.logits_NK, self.test_logits = logits_NK, True
        if network is not None:
            self.network = network

    def test_step(self, batch, batch_idx: int) -> Tensor:
        return self.logits_NK[batch[2]]


class Given(LightningDataModule):
    def __init__(self, images_NCHW: Tensor, labels_N: Tensor, batch_size: int, class_names: list[str]) -> None:
        super().__init__()
        self.images, self.labels, self.batch_size, self.class_names = images_NCHW, labels_N, batch_size, class_names

    def test_dataloader(self) -> DataLoader:
        numbers = range(len(self.labels))
        silent = torch.Generator()  # an iterator would draw out of torch's global state
        return DataLoader(numbers, self.batch_size, collate_fn=self.batch_of, generator=silent)

    def batch_of(self, numbers: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        index_B = torch.tensor(numbers)
        return self.images[index_B], self.labels[index_B], index_B


def noise(count: int, *shape: int) -> Tensor:
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def shown_in_test(
    callback: Callback,
    folder: Path,
    logits_NK: Tensor,
    labels_N: Tensor,
    images_NCHW: Tensor | None = None,
    network: nn.Module | None = None,
    batch_size: int = 4,
    loggers: list | None = None,
) -> list[str]:
    """Test the model with a callback and return the names of the recorded pictures."""
    images_NCHW = noise(len(labels_N), 1, 6, 5) if images_NCHW is None else images_NCHW
    names = [f"class {number}" for number in range(logits_NK.shape[1])]
    trainer = Trainer(
        accelerator="cpu",
        logger=[Recorder(folder)] if loggers is None else loggers,
        callbacks=[callback],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.test(GivenLogits(logits_NK, network), Given(images_NCHW, labels_N, batch_size, names), verbose=False)
    return sorted(path.name for path in folder.rglob("*.png"))
