"""Checkpoints: how best.ckpt and last.ckpt are written, and the state that an exact resume needs.

LastCheckpoint also ends a training on Ctrl-C and SIGTERM.
"""

import math
import random
import time
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning import callbacks as lightning_callbacks
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.nn.utils import get_total_norm

from adapter import lightning
from process import interruption
from process.errors import UserError
from process.files import replacing
from process.ranks import gather_from_ranks
from training_log import measured

POLL_BATCHES = 10  # at most, between two polls of all ranks, each of which makes a GPU wait
POLL_SECONDS = 1.0  # about, between two polls, where batches take long
KEY = "run_state"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writer of checkpoints that are renamed when complete: a kill at any moment leaves the old file or the new one.

    Lightning itself moves checkpoints out of /tmp, often another file system, where a move is not atomic.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target, "wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's error hides that of the file system
                hidden = error.__context__
                raise hidden if isinstance(hidden, OSError) else error from None


class RefusesUnlogged:
    """Mixin of callbacks with a `monitor`: raises a UserError if the module does not log a metric of that name."""

    monitor: Any
    validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated |= trainer.state.fn == "fit" and not trainer.sanity_checking
        try:
            super().on_validation_end(trainer, pl_module)  # type: ignore[misc]
        except (MisconfigurationException, RuntimeError):
            self._refuse_unlogged(trainer)
            raise

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        empty = trainer.val_dataloaders is not None and not sum(trainer.num_val_batches)
        if self.validated or empty or not trainer.enable_validation:
            self._refuse_unlogged(trainer)
        if self.monitor in trainer.callback_metrics:  # else the first validation will log it
            super().on_train_epoch_end(trainer, pl_module)  # type: ignore[misc]

    def _refuse_unlogged(self, trainer: Trainer) -> None:
        if self.monitor not in trainer.callback_metrics:
            choices = ", ".join(name for name in trainer.callback_metrics if not name.endswith("_step"))
            raise UserError(f"hparams.monitor={self.monitor}: no such metric was logged; choose one of {choices}")


class EarlyStopping(RefusesUnlogged, lightning_callbacks.EarlyStopping):
    """Lightning's EarlyStopping with a check of `monitor`."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(trainer, "val_check_interval"):  # it is a time, which Lightning's own setup does not expect
            self._check_on_train_epoch_end = False
        super().setup(trainer, pl_module, stage)


class BestCheckpoint(RefusesUnlogged, lightning_callbacks.ModelCheckpoint):
    """Lightning's ModelCheckpoint with a check of `monitor`, for a run folder that may be moved.

    A resumed run looks for its best checkpoints in the folder's present place. With a callback that averages weights,
    it holds the averages, which were validated. `best_epoch` is the epoch of the best checkpoint, counted from 0,
    `best_metrics` what its validation and the training of its epoch have measured. Raises a UserError if it would hold
    other weights than the validated ones.
    """

    best_epoch: int | None = None
    best_metrics: Mapping[str, float] = MappingProxyType({})

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated_norm = float(get_total_norm(pl_module.parameters()))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.best_model_score
        with self._averages(trainer):
            norm = float(get_total_norm(pl_module.parameters()))
            if self.save_weights_only and norm != self.validated_norm and not math.isnan(norm):
                raise UserError(
                    "a callback changes the weights for validation only, and best.ckpt would hold others: derive it "
                    "from pytorch_lightning.callbacks.WeightAveraging, as callback/weight_averaging.py does"
                )
            super().on_validation_end(trainer, pl_module)
        self._note_best(trainer, before)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.best_model_score
        with self._averages(trainer):
            super().on_train_epoch_end(trainer, pl_module)
        self._note_best(trainer, before)
        if self.best_epoch == trainer.current_epoch:  # the means over the training are known now
            training = {name: value for name, value in measured(trainer).items() if name.startswith("train_")}
            self.best_metrics = {**self.best_metrics, **training}

    def _averages(self, trainer: Trainer) -> AbstractContextManager[None]:
        """Put the averages in place; Lightning itself does so in checkpoints that hold more than weights."""
        return lightning.swapped_weights(trainer) if self.save_weights_only else nullcontext()

    def _note_best(self, trainer: Trainer, before: Tensor | None) -> None:
        if self.best_model_score is not before:
            self.best_epoch = trainer.current_epoch
            found = measured(trainer).items()
            self.best_metrics = {name: value for name, value in found if not name.startswith("train_")}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best_epoch": self.best_epoch, "best_metrics": dict(self.best_metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.dirpath is not None
        folder = Path(self.dirpath)

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        moved = {name: here(path) for name, path in state_dict.items() if name.endswith("_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": kept, "dirpath": self.dirpath})
        # checkpoints of older versions know the score alone
        self.best_epoch, self.best_metrics = state_dict.get("best_epoch"), state_dict.get("best_metrics", {})


class LastCheckpoint(lightning_callbacks.Checkpoint):
    """Writer of `folder`/last.ckpt: after each epoch, every n steps or minutes within it, and on an interruption.

    Lightning repeats or skips parts of an epoch's end (validation, logging, schedulers) when it resumes within them.
    Therefore checkpoints are written at three moments only, from which a resumed training equals an uninterrupted one:
    after a batch that is followed by another batch, at the start of an epoch (and the end of the last), and, if a
    validation is interrupted, in the state at its start. Within an epoch, only a TrainingLog resumes bit for bit: the
    epoch's means of a plain LightningModule begin anew, and the row of one step is lost.
    """

    def __init__(self, folder: str, every_n_steps: int | None = None, every_n_minutes: float | None = None) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("every_n_minutes", every_n_minutes)):
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise ValueError(f"{name}={value}: must be a number > 0, or null")
        self.path = Path(folder, "last.ckpt")
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self.saved_at, self.saved_step = time.monotonic(), 0
        self.poll_interval = self.poll_in = 1  # batches between two polls, and until the next one

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved_at = self.polled_at = time.monotonic()
        self.saved_step = trainer.global_step
        lightning.keep_weights_at_end(trainer)
        interruption.install_handlers()
        interruption.defer(True)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        interruption.install_handlers()  # Lightning's wait for all ranks, but only one may have got the signal

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step != self.saved_step:
            self._save(trainer)
        self._end_if_interrupted(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        stop, due = self._poll(trainer)
        due |= bool(self.every_n_steps and trainer.global_step - self.saved_step >= self.every_n_steps)
        if not (stop or due):
            return
        if not lightning.another_batch_follows(trainer):
            self.poll_in = 1
            return
        if hasattr(pl_module, "log_step"):  # a resumed training begins with the next batch, after this row
            pl_module.log_step()  # type: ignore[operator]
        self._save(trainer)
        if stop:
            self._end_if_interrupted(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.common_batches = sum(trainer.num_val_batches)
        if trainer.world_size > 1:  # one rank may have more images than another
            batches = torch.tensor(self.common_batches, device=trainer.strategy.root_device)
            self.common_batches = int(trainer.strategy.reduce(batches, reduce_op="min"))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if trainer.state.fn == "fit" and batch_idx < self.common_batches and self._poll(trainer)[0]:
            with lightning.swapped_weights(trainer):
                self._save(trainer)
            self._end_if_interrupted(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        lightning.replace_weights_by_averages(trainer)
        interruption.defer(False)
        self._end_if_interrupted(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # with several ranks, the launcher sends SIGTERM to the others, which must not be taken for the reason
        interruption.defer(trainer.world_size > 1)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.validating:
            lightning.repeat_validation(checkpoint)

    def _poll(self, trainer: Trainer) -> tuple[bool, bool]:
        """Return whether any rank got a signal, and whether `every_n_minutes` have passed on any rank."""
        now = time.monotonic()
        late = bool(self.every_n_minutes and now - self.saved_at >= 60 * self.every_n_minutes)
        if trainer.world_size == 1:
            return interruption.is_pending(), late
        self.poll_in -= 1
        if self.poll_in:
            return False, False
        own = [interruption.is_pending(), late, now - self.polled_at]
        own_tensor = torch.tensor(own, device=trainer.strategy.root_device)
        stop, any_late, seconds = trainer.strategy.reduce(own_tensor, reduce_op="max").tolist()
        # computed from reduced numbers only, as all ranks have to poll at the same batch
        batches = int(self.poll_interval * POLL_SECONDS / max(seconds, 1e-3))
        self.poll_interval = self.poll_in = max(1, min(POLL_BATCHES, batches))
        self.polled_at = time.monotonic()
        return bool(stop), bool(any_late)

    def _end_if_interrupted(self, trainer: Trainer) -> None:
        pending = interruption.is_pending()  # of several ranks, only one may have got the signal
        if trainer.strategy.reduce_boolean_decision(pending, all=False) if trainer.world_size > 1 else pending:
            interruption.check()
            raise interruption.Interrupted(15)  # another rank got the signal

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.path, weights_only=False)
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step


class RunState(lightning_callbacks.Callback):
    """State that Lightning's checkpoints lack: random states, position of the loggers, metrics, should_stop, seconds.

    Holds plain values and tensors only, so that checkpoints load with `weights_only=True`.

    Args:
        new_schedule: True if settings of the learning rate or the optimizer were changed on resume. The optimizer then
            gets the values that the new settings give at the current step (with a plateau scheduler, the new rate times
            the reductions so far).
        stop_again: True if a run that early stopping has stopped is to stop again when it is resumed.
    """

    def __init__(self, new_schedule: bool = False, stop_again: bool = True) -> None:
        self.settings = ""  # of the run, as YAML
        self.new_schedule, self.stop_again = new_schedule, stop_again
        self.loaded: dict[str, Any] = {}
        self.validated_epoch: int | None = None  # the last epoch with a validation, counted from 0
        self.began = time.monotonic(), time.process_time()

    def metrics(self, trainer: Trainer) -> dict[str, float]:
        """Return the latest value of each metric, those of a run before it was resumed included."""
        return {**self.loaded.get("metrics", {}), **measured(trainer)}

    def last_metrics(self, trainer: Trainer) -> dict[str, float]:
        """Return the metrics of the last epoch: those of validation only if it was validated."""
        validated = self.validated_epoch is None or self.validated_epoch == trainer.current_epoch - 1
        return {name: v for name, v in self.metrics(trainer).items() if validated or not name.startswith("valid_")}

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds of training, those before a resume included."""
        before = self.loaded.get("seconds", {"seconds": 0.0, "cpu_seconds": 0.0})
        return {
            "seconds": before["seconds"] + time.monotonic() - self.began[0],
            "cpu_seconds": before["cpu_seconds"] + time.process_time() - self.began[1],
        }

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        refuse_unvalidated_averages(trainer)
        self.began = time.monotonic(), time.process_time()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.validated_epoch = trainer.current_epoch

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = {
            "random": gather_from_ranks(random_state(), trainer.world_size),
            "loggers": {logger.name: logger.state_dict() for logger in stateful(trainer)},
            "metrics": self.metrics(trainer),
            "validated_epoch": self.validated_epoch,
            "should_stop": trainer.should_stop,
            "seconds": self.seconds,
            "lr": getattr(pl_module, "lr", None),
            "settings": self.settings,
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != "fit" or KEY not in checkpoint:  # a test needs the weights only
            return
        if "current_model_state" in checkpoint and not lightning.averaging_callbacks(trainer):
            raise UserError("the run averages its weights: resume it with that callback, callbacks=[...,ema]")
        self.loaded = checkpoint[KEY]
        self.validated_epoch = self.loaded.get("validated_epoch")  # checkpoints of older versions have none
        trainer.should_stop = self.loaded["should_stop"] and self.stop_again
        self.was_plateau = any("num_bad_epochs" in state for state in checkpoint["lr_schedulers"])
        last_step = lightning.logged_step_in(checkpoint) - 1
        for logger in stateful(trainer):  # a logger that is new in this run starts at last_step
            logger.load_state_dict(self.loaded["loggers"].get(logger.name, {"last_step": last_step}))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.loaded:
            lightning.correct_resumed_loops(trainer)
            if self.new_schedule:
                replay_schedule(trainer, pl_module, self.loaded["lr"] if self.was_plateau else None)
            states = self.loaded["random"]
            # as the last step: nothing may draw random numbers between this and the first batch
            set_random_state(states[trainer.global_rank % len(states)])


def refuse_unvalidated_averages(trainer: Trainer) -> None:
    callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
    if any(isinstance(callback, lightning_callbacks.StochasticWeightAveraging) for callback in callbacks):
        raise UserError(
            "StochasticWeightAveraging: its averages are not validated and would not be in best.ckpt: leave it out; "
            "callbacks=[basic,monitor,pictures,ema] averages the weights"
        )


def stateful(trainer: Trainer) -> list[Any]:
    """Return the loggers that can go back to their position at a checkpoint."""
    return [logger for logger in trainer.loggers if hasattr(logger, "load_state_dict")]


def random_state() -> dict[str, Any]:
    """Return the states of Python, NumPy and torch, also on this process's GPU, in plain values and tensors."""
    state: Any = numpy.random.get_state()
    kind, keys, *rest = state
    return {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(keys.astype("int64")), *rest],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():  # older versions saved the states of all GPUs
        torch.cuda.set_rng_state(state["cuda"][torch.cuda.current_device() % len(state["cuda"])])


def replay_schedule(trainer: Trainer, model: LightningModule, plateau_lr: float | None) -> None:
    """Set the optimizer's hyperparameters to the values that the current settings give at this step.

    `plateau_lr`: the initial learning rate of the checkpoint's run if its scheduler was plateau, else None.
    """
    optimizers, schedulers = lightning.fresh_optimizers(model)
    reductions = [1.0 for optimizer in optimizers for _ in optimizer.param_groups]
    live_groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    for fresh, live in zip(schedulers, trainer.lr_scheduler_configs, strict=True):
        if isinstance(fresh.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if plateau_lr is not None:
                reductions = [group["lr"] / group.get("initial_lr", plateau_lr) for group in live_groups]
                continue
        else:
            steps = trainer.global_step if live.interval == "step" else trainer.current_epoch
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*`lr_scheduler.step\\(\\)` before `optimizer.step")  # intended
                for _ in range(steps // live.frequency):
                    fresh.scheduler.step()
        live.scheduler.load_state_dict(fresh.scheduler.state_dict())
    fresh_groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group, new, reduction in zip(live_groups, fresh_groups, reductions, strict=True):
        parameters = group["params"]
        group.clear()  # nothing of a scheduler that was replaced stays
        group.update(new, params=parameters, lr=new["lr"] * reduction)
