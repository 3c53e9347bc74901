"""Learning-rate finder, used if hparams.lr=0."""

import logging
import math

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import LearningRateFinder
from pytorch_lightning.utilities.seed import isolate_rng
from rich import get_console
from rich.progress import Progress

from adapter import lightning
from callback.progress import ProgressBar
from process.errors import UserError

log = logging.getLogger(__name__)

DEBUG_LR = 1e-3
SKIPPED_STEPS = 10  # at first, Lightning's running mean of the loss is too low


class LRFinder(LearningRateFinder):
    """Search for a learning rate if `model.lr` is 0: raise it from 1e-8 to 1 in 100 steps, take a tenth of the best.

    Smith 2017, arXiv:1506.01186, section 3.3. The best rate is the one at which the loss was lowest. (Lightning
    proposes the steepest descent instead, which is noise in the first, flat part of the curve.) A module with
    `rates(lr) -> list` says the rate of each parameter group; without it, all have the same. A debug run uses 0.001
    instead of a search. The search does not change the random numbers of the training that follows.
    """

    needs = ("lr",)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.lr != 0:
            return
        pl_module.lr = DEBUG_LR  # type: ignore[assignment]
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            log.info("hparams.lr=0 asks for a search, which a debug run leaves out: lr=%g", pl_module.lr)
            trainer.strategy.setup_optimizers(trainer)
            return
        log.info("hparams.lr=0: searching for 100 steps")
        bar = trainer.progress_bar_callback
        shows = isinstance(bar, ProgressBar) and bar.enabled
        with isolate_rng(), Progress(console=get_console(), transient=True, disable=not shows) as progress:
            task = progress.add_task("learning-rate search", total=self._num_training_steps)
            rates = getattr(pl_module, "rates", None)
            with lightning.learning_rate_search(trainer, lambda: progress.advance(task), rates):
                super().on_fit_start(trainer, pl_module)
        assert self.optimal_lr is not None
        lrs, losses = (self.optimal_lr.results[name][SKIPPED_STEPS:] for name in ("lr", "loss"))
        found = [(loss, lr) for loss, lr in zip(losses, lrs, strict=True) if math.isfinite(loss)]
        if not found:  # Lightning counts the batches of accumulated gradients anew in each epoch
            accumulated = trainer.accumulate_grad_batches
            raise UserError(
                "hparams.lr=0: the search has measured no loss that is finite"
                + (f", with trainer.accumulate_grad_batches={accumulated}" if accumulated > 1 else "")
                + ": set hparams.lr=0.003 or another rate"
            )
        # each rank has searched on its own images: all take the rate of rank 0
        pl_module.lr = trainer.strategy.broadcast(min(found)[1] / 10)
        trainer.strategy.setup_optimizers(trainer)  # the present ones, and their schedulers, have lr=0
        log.info("hparams.lr=0: found lr=%.3g", pl_module.lr)
