"""Train a network, keep its best checkpoint, test it, and leave a run folder: `python src/train.py --help`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from command import cli
from command.batch_limits import refuse_unusable_limits, refuse_unvalidated_scheduler, validates
from command.job import job, record
from command.sized_tests import largest_set, measure_sizes
from command.trained_run import refuse_other_classes
from process import ranks
from process.console import print_summary
from run.checkpoint import explain_failed_restore, init_from, resume_point
from run.record import Run
from run.result import Best, Result, best_of
from settings import lower_is_better

if TYPE_CHECKING:  # torch takes seconds to import, and TAB and --help must be instant
    from pytorch_lightning import Callback, LightningModule, Trainer

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="config")
@job
def main(config: DictConfig) -> float | None:
    with record(config) as run:
        return train(config, run)


def train(config: DictConfig, run: Run) -> float | None:
    """Train and test. Return the best value of hparams.monitor, which a sweep optimises; None if there is none."""
    from pytorch_lightning import seed_everything

    from process.gpus import choose_accelerator
    from training_log import count_parameters

    accelerator = choose_accelerator(config.trainer.get("accelerator", "auto"))
    seed_everything(config.hparams.seed, workers=True, verbose=False)
    loggers = cli.build_loggers(config)
    if not config.debug:  # with fast_dev_run Lightning replaces the loggers by ones that do nothing
        run.at_end += [logger.close for logger in loggers if hasattr(logger, "close")]
    data, model = cli.build(config.data), cli.build(config.model)
    ranks.agree_on("data", data.prepare_data, timeout=86400)  # seconds: a download may take long
    data.setup()
    check_targets(model, data)
    refuse_unvalidated_scheduler(config, data)
    checkpoint = starting_point(run, model, data)
    changed = {"new_schedule": run.has_changed("new_schedule"), "stop_again": not run.has_changed("new_patience")}
    state = cli.build(config.run_state, **changed)
    state.settings = run.settings  # Hydra would resolve the interpolations in an argument
    callbacks = [*build_callbacks(config, validates(config, data), model), state]
    bar = OmegaConf.select(config, "callbacks.progress_bar") is not None  # else Lightning adds its own
    own = {"accelerator": accelerator, "callbacks": callbacks, "logger": loggers, "enable_progress_bar": bar}
    trainer = cli.build(config.trainer, **own)
    refuse_unusable_limits(trainer, data)

    run.announce(checkpoint)
    parameters, device, examples = count_parameters(model), trainer.strategy.root_device, data.summary()
    facts = {"data": examples, "class_names": data.class_names, "lower_is_better": lower_is_better(config)}
    run.update(**facts, parameters=parameters, device=str(device))
    sizes = ", ".join(f"{size:,} {part}" for part, size in examples.items() if isinstance(size, int))
    log.info(f"{parameters:,} parameters on {device}; examples: {sizes}")
    for logger in trainer.loggers:
        logger.log_hyperparams(run.hyperparameters)
    if checkpoint is not None:
        explain_failed_restore(trainer, checkpoint)

    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    best, training, last_metrics = best_of(trainer), state.seconds, state.last_metrics(trainer)
    tested = test(trainer, model, data, best)

    result = Result(best, tested, last_metrics, trainer.current_epoch)
    stopped_early = next((callback.stopped_early for callback in callbacks if hasattr(callback, "stopped_early")), None)
    trained = {"parameters": count_parameters(model), "lr": getattr(model, "lr", None), "stopped_early": stopped_early}
    run.update(**trained, **result.facts(), training=training)
    print_summary("Result", {**result.rows(), "run folder": run.folder}, config.verbosity)
    for callback in callbacks:
        if failure := getattr(callback, "failure", None):  # the test's loss is NaN
            raise failure
    return result.score


def check_targets(model: "LightningModule", data: Any) -> None:
    """Raise a UserError if the targets are not of the model's task."""
    task: Any = getattr(model, "task", None)
    if hasattr(task, "check_targets"):
        for part in ("train", "valid"):
            if (source := data.source(part)) is not None:  # of data without end, a step
                task.check_targets(source.targets, f"the {part} targets of {type(data).__name__}")


def starting_point(run: Run, model: "LightningModule", data: Any) -> Path | None:
    """Return the checkpoint that a resumed run continues from, None for a start, perhaps from the weights of init_from.

    Raises a UserError for a run that cannot continue with its settings, or on these data.
    """
    checkpoint = resume_point(run, model) if run.resumed else None
    if checkpoint is not None:
        refuse_other_classes(run.folder, data.class_names)
    elif run.config.init_from is not None:
        init_from(model, run.config.init_from)
    return checkpoint


def test(trainer: "Trainer", model: "LightningModule", data: Any, best: Best | None) -> dict[str, float]:
    """Test the best checkpoint and return its metrics, those of sets at several sizes too.

    Return none, with a line in the log, if there is no test.
    """
    from pytorch_lightning.utilities.model_helpers import is_overridden

    if not data.has_test:
        log.info("no test: these data have no test items")
        return {}
    if trainer.limit_test_batches == 0:
        log.info("no test: trainer.limit_test_batches=0")
        return {}
    if not is_overridden("test_step", model):
        log.info(f"no test: {type(model).__name__} has no test_step")
        return {}
    path = None if best is None else best.path
    weights: dict[str, Any] = {"ckpt_path": path, "weights_only": True}
    (tested,) = trainer.test(model, data, verbose=False, **weights)
    largest = largest_set(data)
    sizes = [size for size in getattr(model, "sizes", ()) if largest is not None and size <= largest]
    return dict(tested) | measure_sizes(trainer, model, data, sizes, **weights)


def build_callbacks(config: DictConfig, validates: bool, model: "LightningModule") -> list["Callback"]:
    """Build the callbacks of the config that can be used.

    Leaves out a callback whose patience is null; also, with a line in the log, one that monitors valid_* if there is no
    validation, and one that needs an attribute which the model lacks.
    """
    from training_log import usable

    callbacks = {}
    for name, node in config.callbacks.items():
        if node is None or ("patience" in node and node.patience is None):
            continue
        if not validates and "monitor" in node and node.monitor.startswith("valid_"):
            log.info(f"callbacks.{name} is left out: without validation there is no {node.monitor}")
            continue
        callbacks[str(name)] = cli.build(node)
    return usable(model, callbacks)


if __name__ == "__main__":
    cli.start(main)
