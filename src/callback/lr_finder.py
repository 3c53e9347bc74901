"""The learning-rate finder where hparams.lr=0 asks for it."""

import logging

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import LearningRateFinder
from pytorch_lightning.utilities.seed import isolate_rng

log = logging.getLogger(__name__)

WITHOUT_SEARCH = 1e-3


class LRFinder(LearningRateFinder):
    """If `model.lr` is 0, set it to where the loss falls fastest (Smith 2017, arXiv:1506.01186), and say so.

    A debug run searches nothing and takes 0.001, as does one in which the search finds nothing. What is trained
    afterwards draws the same random numbers as if nothing had been searched.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.lr != 0:
            return
        pl_module.lr = WITHOUT_SEARCH  # type: ignore[assignment]
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            log.info("hparams.lr=0 asks for a search, which a debug run leaves out: lr=%g", pl_module.lr)
            return
        max_epochs = trainer.fit_loop.max_epochs
        trainer.fit_loop.max_epochs = -1  # the search takes 100 steps, however few an epoch has
        with isolate_rng():
            super().on_fit_start(trainer, pl_module)
        trainer.fit_loop.max_epochs = max_epochs
        log.info("hparams.lr=0: found lr=%.3g", pl_module.lr)
