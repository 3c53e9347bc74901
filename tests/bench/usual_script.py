"""The other side of start_up.py: MNIST by Lightning, torchvision, torchmetrics and TensorBoard, as in tutorials."""

import sys

import pytorch_lightning as pl
import torch
import torchmetrics
from pytorch_lightning.loggers import TensorBoardLogger
from start_callback import StopAfterFirstStep
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST


class Model(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 13 * 13, 10)
        )
        self.loss = nn.CrossEntropyLoss()
        self.accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=10)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = self.loss(logits, labels)
        self.log("train_loss", loss)
        self.log("train_accuracy", self.accuracy(logits, labels))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


if __name__ == "__main__":
    root, folder, figure = sys.argv[1:]
    pl.seed_everything(0, verbose=False)
    loader = DataLoader(MNIST(root, transform=transforms.ToTensor()), batch_size=128, shuffle=True)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=folder,
        logger=TensorBoardLogger(folder),
        callbacks=[StopAfterFirstStep(figure)],
    )
    trainer.fit(Model(), loader)
