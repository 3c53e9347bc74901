"""Private names of pytorch_lightning, and workarounds for its cost per step."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line imports this file, and must not wait for torch
    from pytorch_lightning import Callback, LightningModule, Trainer
    from pytorch_lightning.profilers import Profiler

HOOK_NAME = "_current_fx_name"  # an attribute of LightningModule: the name of the hook that runs
EVERY_STEP = (  # hooks of a callback
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def logged_step(trainer: "Trainer") -> int:
    """Return how many batches before this one made an optimizer step: the axis of all that Lightning logs."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def logged_step_in(checkpoint: dict[str, Any]) -> int:
    """Return `logged_step` as it was when the checkpoint was written."""
    return checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"]


def epochs_in(checkpoint: dict[str, Any]) -> tuple[int, int]:
    """Return how many epochs were started and how many were finished when the checkpoint was written."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    return progress["started"], progress["processed"]


def another_batch_follows(trainer: "Trainer") -> bool:
    """Return whether the next thing after this batch is another one: no validation, no epoch's end, no pending step."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    validates = loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    return not (trainer.is_last_batch or validates or loop.epoch_loop._should_accumulate())


def repeat_validation(checkpoint: dict[str, Any]) -> None:
    """Change a checkpoint that is written within a validation so that a resumed run does the whole validation again."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    progress["current"].update(ready=0, started=0, processed=0, completed=0)
    progress["total"].update(ready=1, started=1, processed=0, completed=0)  # for Lightning: within a validation
    progress["is_last_batch"] = False


def averaging_callbacks(trainer: "Trainer") -> list[Any]:
    """Return the callbacks that average weights and have begun."""
    from pytorch_lightning.callbacks import WeightAveraging

    callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
    return [each for each in callbacks if isinstance(each, WeightAveraging) and each._average_model is not None]


@contextmanager
def swapped_weights(trainer: "Trainer") -> Iterator[None]:
    """Exchange weights and averaged weights within the block: averages to train with, the weights in a validation."""
    callbacks = averaging_callbacks(trainer)
    for callback in callbacks:
        callback._swap_models(trainer.lightning_module)
    try:
        yield
    finally:
        for callback in reversed(callbacks):
            callback._swap_models(trainer.lightning_module)


def keep_weights_at_end(trainer: "Trainer") -> None:
    """Have the averages not replace the weights at the end of training, before last.ckpt is written."""
    for callback in averaging_callbacks(trainer):
        callback.on_train_end = None  # Lightning skips it


def replace_weights_by_averages(trainer: "Trainer") -> None:
    """Do what `keep_weights_at_end` has put off: the test without a best.ckpt is that of the averages."""
    for callback in averaging_callbacks(trainer):
        callback._copy_average_to_current(trainer.lightning_module)


def check_restore(
    trainer: "Trainer",
    compare: Callable[[Any, Any, str], str | None],
    explained: Callable[[str | Exception], Exception],
) -> None:
    """Have an error while Lightning restores a checkpoint raised as the error that `explained` makes of it.

    Likewise for a restored value of another kind than before, whose name `compare` returns: Lightning copies most
    values unread, and would fail later.
    """
    connector: Any = trainer._checkpoint_connector
    for method in ("_restore_modules_and_callbacks", "restore_training_state"):
        setattr(connector, method, _checked(trainer, getattr(connector, method), compare, explained))


def _checked(
    trainer: "Trainer",
    restore: Callable[..., None],
    compare: Callable[[Any, Any, str], str | None],
    explained: Callable[[str | Exception], Exception],
) -> Callable[..., None]:
    def checked(*arguments: Any) -> None:
        before = _plain_states(trainer)
        try:
            restore(*arguments)
            after = _plain_states(trainer)
        except Exception as error:
            raise explained(error) from error
        if other := next((name for name in before if compare(before[name], after[name], name)), None):
            raise explained(f"{compare(before[other], after[other], other)} is of another type")

    return checked


def _plain_states(trainer: "Trainer") -> dict[str, Any]:
    """Return copies of the states that a checkpoint replaces, except weights and optimizer's moments."""
    callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
    states = {type(callback).__name__: callback.state_dict() for callback in callbacks}
    for number, optimizer in enumerate(trainer.optimizers):
        states[f"optimizer {number}"] = [_without_weights(group) for group in optimizer.param_groups]
    for number, config in enumerate(trainer.lr_scheduler_configs):
        states[f"scheduler {number}"] = config.scheduler.state_dict()
    return copy.deepcopy(states)


def _without_weights(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def correct_resumed_loops(trainer: "Trainer") -> None:
    """Correct the state that Lightning 2.6 restores: it expects checkpoints of other moments than LastCheckpoint's."""
    loop = trainer.fit_loop
    if loop._combined_loader_states_to_load:  # a scheduler asked for the number of steps, so the loader was made before
        loop._load_combined_loader_states()  # its state was there
        iter(loop._data_fetcher)  # type: ignore[arg-type]
    if not loop.restarted_mid_epoch:
        loop.epoch_loop.restarting = False  # a new epoch: it has no batches to skip
    loop._restarting = False  # the epoch's end is still to come: without this it would leave out a plateau scheduler


def fresh_optimizers(model: "LightningModule") -> tuple[list[Any], list[Any]]:
    """Return new optimizers and Lightning's configs of new schedulers, whatever form configure_optimizers returns."""
    from pytorch_lightning.core import optimizer

    return optimizer._init_optimizers_and_lr_schedulers(model)


def loss_scale(trainer: "Trainer", optimizer: Any) -> float:
    """Return the factor that is still in the gradients: in 16-mixed, fused optimizers divide by it in the step."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return scaler.get_scale() if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False) else 1.0


@contextmanager
def learning_rate_search(
    trainer: "Trainer", advance: Callable[[], object], rates: Callable[[float], list[float]] | None = None
) -> Iterator[None]:
    """Prepare Lightning's learning-rate finder within the block, and call `advance` at each of its steps.

    Without this it stops after `max_epochs`, validates, shows a bar even in pipes, and leaves its metrics behind, and
    gives all parameter groups one rate; rates(lr) gives that of each group where `lr` is that of the first.
    """
    from pytorch_lightning.tuner import lr_finder

    finder: Any = lr_finder
    loop, every, bar = trainer.fit_loop, trainer.check_val_every_n_epoch, finder.tqdm
    plain = finder._ExponentialLR

    class GroupRates(plain):  # type: ignore[misc,valid-type]
        def get_lr(self) -> list[float]:
            found = super().get_lr()
            return found if rates is None or len(found) == 1 else rates(found[0])

    finder._ExponentialLR = GroupRates
    max_epochs, loop.max_epochs = loop.max_epochs, -1
    trainer.check_val_every_n_epoch = every and sys.maxsize
    finder.tqdm = lambda **_: SimpleNamespace(update=advance, close=lambda: None)
    try:
        yield
    finally:
        loop.max_epochs, trainer.check_val_every_n_epoch, finder.tqdm = max_epochs, every, bar
        finder._ExponentialLR = plain
        trainer._logger_connector.reset_metrics()


def keep_targets(trainer: "Trainer") -> None:
    """Let trainer.precision=bf16-true or 16-true convert only the inputs of a batch, the first of its parts.

    Lightning would round the targets too: 93.23 becomes 93 in bf16, 70000 infinite in fp16.
    """
    from pytorch_lightning.plugins.precision import HalfPrecision

    plugin = trainer.precision_plugin
    if isinstance(plugin, HalfPrecision):
        convert = type(plugin).convert_input
        plugin.convert_input = lambda batch: (convert(plugin, batch[0]), *batch[1:])  # type: ignore[assignment,method-assign]


def no_profiler() -> "Profiler":
    """Return a profiler that measures nothing, at a fifth of the cost of Lightning's own.

    Lightning's own enters 30 context managers a step. To measure, set `trainer.profiler=simple` (advanced, pytorch).
    """
    from pytorch_lightning.profilers import PassThroughProfiler

    nothing = nullcontext()

    class NoProfiler(PassThroughProfiler):
        def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
            return nothing

    return NoProfiler()


def skip_idle_hooks() -> "Callback":
    """Return a callback that replaces the hooks of a step which a callback does not define by None.

    Lightning calls each hook of each callback at every step, a fifth of a small step's time, and skips None.
    """
    from pytorch_lightning import Callback

    class SkipIdleHooks(Callback):
        def on_fit_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                for hook in EVERY_STEP:
                    if getattr(type(callback), hook) is getattr(Callback, hook):
                        callback.__dict__.setdefault(hook, None)

    return SkipIdleHooks()


def start_ranks_with(command: list[str], folder: str, observe: Callable[[list[subprocess.Popen[bytes]]], None]) -> None:
    """Have Lightning start ranks by this command in this working directory, and pass their processes to `observe`.

    Lightning's own command would start the whole sweep again, and its own observer kills this process at most 5 s after
    another one ends, before a run can record why.
    """
    from pytorch_lightning.strategies.launchers import subprocess_script

    launcher: Any = subprocess_script
    launcher._hydra_subprocess_cmd = lambda local_rank: (command, folder)
    launcher._launch_process_observer = observe
