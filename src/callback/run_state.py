"""What a checkpoint must hold besides Lightning's own, for a resumed run to be the one that was never stopped."""

import random
import time
from collections.abc import Mapping
from typing import Any

import numpy
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from process.ranks import gather_from_ranks

KEY = "run_state"


class RunState(Callback):
    """Random states, how far the loggers were, the metrics so far, whether training was to stop, the time it took.

    Plain values and tensors only, so that checkpoints load with `weights_only=True`. `new_schedule` says that settings
    of the learning rate or the optimizer were changed on resume: then these are what the new settings give at the
    step that was reached (with a plateau scheduler, the new rate times the reductions so far).
    """

    def __init__(self, new_schedule: bool = False, stop_again: bool = True) -> None:
        self.settings = ""  # as YAML, at this checkpoint
        self.new_schedule, self.stop_again = new_schedule, stop_again
        self.loaded: dict[str, Any] = {}
        self.began = time.monotonic(), time.process_time()

    @property
    def metrics(self) -> Mapping[str, float]:
        """Of the run before it was resumed."""
        return self.loaded.get("metrics", {})

    @property
    def seconds(self) -> dict[str, float]:
        """Of training, over all parts of the run."""
        before = self.loaded.get("seconds", {"seconds": 0.0, "cpu_seconds": 0.0})
        return {
            "seconds": before["seconds"] + time.monotonic() - self.began[0],
            "cpu_seconds": before["cpu_seconds"] + time.process_time() - self.began[1],
        }

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began = time.monotonic(), time.process_time()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = {
            "random": gather_from_ranks(random_state(), trainer.world_size),
            "loggers": {logger.name: logger.state_dict() for logger in stateful(trainer)},
            "metrics": {**self.metrics} | {name: float(value) for name, value in trainer.callback_metrics.items()},
            "should_stop": trainer.should_stop,
            "seconds": self.seconds,
            "lr": pl_module.lr,
            "settings": self.settings,
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != "fit" or KEY not in checkpoint:  # a test loads weights only
            return
        self.loaded = checkpoint[KEY]
        trainer.should_stop = self.loaded["should_stop"] and self.stop_again
        self.was_plateau = any("num_bad_epochs" in state for state in checkpoint["lr_schedulers"])
        last_step = checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] - 1
        for logger in stateful(trainer):  # one that the run did not have catches up
            logger.load_state_dict(self.loaded["loggers"].get(logger.name, {"last_step": last_step}))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.loaded:
            correct_loops(trainer)
            if self.new_schedule:
                replay_schedule(trainer, pl_module, float(self.loaded["lr"]) if self.was_plateau else None)
            states = self.loaded["random"]
            # last of all: nothing may draw between this and the first batch
            set_random_state(states[trainer.global_rank % len(states)])


def stateful(trainer: Trainer) -> list[Any]:
    """The loggers that can be cut back to where they were at a checkpoint."""
    return [logger for logger in trainer.loggers if hasattr(logger, "load_state_dict")]


def random_state() -> dict[str, Any]:
    """Of Python, NumPy and torch on all its devices, in plain values and tensors."""
    state: Any = numpy.random.get_state()
    kind, keys, *rest = state
    return {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(keys.astype("int64")), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(state["cuda"])


def correct_loops(trainer: Trainer) -> None:
    """What Lightning 2.6 restores for its own moments of saving, put right for those of LastCheckpoint."""
    loop = trainer.fit_loop
    if loop._combined_loader_states_to_load:  # a scheduler asked for the number of steps, so the loader was made before
        loop._load_combined_loader_states()  # its state was there
        iter(loop._data_fetcher)  # type: ignore[arg-type]
    if not loop.restarted_mid_epoch:
        loop.epoch_loop.restarting = False  # a new epoch, of which nothing is to be made up for
    loop._restarting = False  # the epoch's end is still to come: without this it would leave out a plateau scheduler


def replay_schedule(trainer: Trainer, model: LightningModule, plateau_lr: float | None) -> None:
    """Give the optimizer the hyperparameters that its settings, and the scheduler's, lead to at this step.

    `plateau_lr`: the rate that a plateau scheduler has reduced so far, if that was the scheduler.
    """
    fresh: Any = model.configure_optimizers()
    optimizer = fresh["optimizer"] if isinstance(fresh, dict) else fresh
    (live,) = trainer.optimizers
    reductions = [1.0 for _ in live.param_groups]
    if isinstance(fresh, dict):
        (config,) = trainer.lr_scheduler_configs
        scheduler = fresh["lr_scheduler"]["scheduler"]
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if plateau_lr is not None:
                reductions = [group["lr"] / plateau_lr for group in live.param_groups]
            else:
                config.scheduler.load_state_dict(scheduler.state_dict())
        else:
            optimizer._opt_called = True  # torch would warn of steps of a scheduler without those of its optimizer
            steps = trainer.global_step if config.interval == "step" else trainer.current_epoch
            for _ in range(steps // config.frequency):
                scheduler.step()
            config.scheduler.load_state_dict(scheduler.state_dict())
    for group, new, reduction in zip(live.param_groups, optimizer.param_groups, reductions, strict=True):
        group.update({name: value for name, value in new.items() if name != "params"})
        group["lr"] *= reduction
