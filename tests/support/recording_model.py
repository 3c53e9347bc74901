"""A LightningModule that trains nothing and keeps its batches, for tests of data modules."""

import torch
from pytorch_lightning import LightningModule


class Recorder(LightningModule):
    """Model that keeps the batches it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained, self.validated, self.tested = {}, [], []
        self.stop_at = None

    def training_step(self, batch, batch_idx):
        self.trained.setdefault(self.current_epoch, []).append(batch)
        return self.weight.sum()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if (self.current_epoch, batch_idx) == self.stop_at:
            raise KeyError("crash")

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch)

    def test_step(self, batch, batch_idx):
        self.tested.append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def indices(self, epoch):
        return torch.cat([index for _, _, index in self.trained[epoch]]).tolist()
