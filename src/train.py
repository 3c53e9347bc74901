"""Train a classifier, keep its best checkpoint, test it, and leave a run folder: `python src/train.py --help`."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf

from command import cli
from command.batch_limits import refuse_unusable_limits
from command.job import job, record
from command.trained_run import refuse_other_classes
from process import ranks
from process.console import print_start, print_summary
from process.errors import UserError
from run.checkpoint import init_from, resume_point
from run.record import Run
from run.resume import describe_changes
from settings import lower_is_better

if TYPE_CHECKING:  # torch takes seconds to import, and TAB and --help must be instant
    from pytorch_lightning import Callback, LightningModule, Trainer
    from pytorch_lightning.callbacks import ModelCheckpoint

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="config")
@job
def main(config: DictConfig) -> float | None:
    with record(config) as run:
        return train(config, run)


def train(config: DictConfig, run: Run) -> float | None:
    """Train and test. Return the best value of hparams.monitor, which a sweep optimises; None if there is none."""
    from pytorch_lightning import seed_everything
    from pytorch_lightning.utilities.model_helpers import is_overridden

    from training_log import count_parameters, measured

    seed_everything(config.hparams.seed, workers=True, verbose=False)
    loggers = cli.build_loggers(config)
    if not config.debug:  # with fast_dev_run Lightning replaces the loggers by ones that do nothing
        run.at_end += [logger.close for logger in loggers if hasattr(logger, "close")]
    data, model = cli.build(config.data), cli.build(config.model)
    ranks.agree_on("data", data.prepare_data, timeout=86400)  # seconds: a download may take long
    data.setup()
    validates = data.has_valid and OmegaConf.select(config, "trainer.limit_val_batches") != 0
    if not validates and "monitor" in (config.scheduler or ()) and config.scheduler.monitor.startswith("valid_"):
        cause = "trainer.limit_val_batches=0 leaves out" if data.has_valid else "data.valid=0 leaves no images for"
        raise UserError(
            f"scheduler=plateau watches {config.scheduler.monitor}, but {cause} validation: monitor the training, "
            "hparams.monitor=train_loss hparams.monitor_mode=min"
        )
    checkpoint = resume_point(run, model) if run.resumed else None
    if checkpoint is not None:
        refuse_other_classes(run.folder, data.class_names)
    if config.init_from is not None and checkpoint is None:
        init_from(model, config.init_from)
    state = cli.build(
        config.run_state, new_schedule=run.has_changed("new_schedule"), stop_again=not run.has_changed("new_patience")
    )
    state.settings = run.settings  # Hydra would resolve the interpolations in an argument
    callbacks = [*build_callbacks(config, validates, model), state]
    bar = OmegaConf.select(config, "callbacks.progress_bar") is not None  # else Lightning adds its own
    trainer = cli.build(config.trainer, callbacks=callbacks, logger=loggers, enable_progress_bar=bar)
    refuse_unusable_limits(trainer, data)
    if run.resumed:
        run.begin_record()
        announce_resume(run, checkpoint)
    else:
        print_start(run.folder, run.describe_choice(), config)
    parameters = count_parameters(model)
    device = trainer.strategy.root_device
    facts = {"data": data.summary(), "class_names": data.class_names, "lower_is_better": lower_is_better(config)}
    run.update(**facts, parameters=parameters, device=str(device))
    log.info(f"{parameters:,} parameters on {device}; {data.summary()}")

    for logger in trainer.loggers:
        logger.log_hyperparams(run.hyperparameters)
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)

    training, last_metrics = state.seconds, {**state.metrics, **measured(trainer)}
    best = best_checkpoint(trainer)
    path, score = (None, None) if best is None else (best.best_model_path, float(best.best_model_score))  # type: ignore[arg-type]
    epoch = getattr(best, "best_epoch", None)
    metrics = last_metrics if best is None else getattr(best, "best_metrics", {}) or {best.monitor: score}
    if data.has_test and trainer.limit_test_batches == 0:
        log.info("no test: trainer.limit_test_batches=0")
    elif data.has_test and not is_overridden("test_step", model):
        log.info(f"no test: {type(model).__name__} has no test_step")
    elif data.has_test:
        (tested,) = trainer.test(model, data, ckpt_path=path, weights_only=True, verbose=False)
        metrics = {**metrics, **tested}
    metrics, last_metrics = in_order(metrics), in_order(last_metrics)
    best_name = path and f"checkpoints/{Path(path).name}"
    stopped_early = next((callback.stopped_early for callback in callbacks if hasattr(callback, "stopped_early")), None)
    trained = {"parameters": count_parameters(model), "lr": getattr(model, "lr", None), "stopped_early": stopped_early}
    tested_of = {"best_checkpoint": best_name, "best_epoch": epoch, "best_score": score, "metrics": metrics}
    run.update(**trained, **tested_of, last_metrics=last_metrics, training=training)
    of_last = {} if last_metrics.items() <= metrics.items() else last_metrics
    rows = {
        **metrics,
        **({} if epoch is None else {"best epoch": f"{epoch + 1} of {trainer.current_epoch}"}),
        **{f"last epoch: {name}": value for name, value in of_last.items()},
        "best checkpoint": Path(path) if path else "none",
        "run folder": run.folder,
    }
    print_summary("Result", rows, config.verbosity)
    return score


def announce_resume(run: Run, checkpoint: Path | None) -> None:
    """Log which run is resumed, and which settings and files have changed since it was last started."""
    log.info(f"resumes {run.folder}" + ("" if checkpoint else " from its start: it has no checkpoint yet"))
    for change in describe_changes(run.changes):
        log.info(f"  {change}")
    for file in run.facts["resumed"][-1]["other_code"]:
        log.info(f"  {file} has changed since the run started")


def build_callbacks(config: DictConfig, validates: bool, model: "LightningModule") -> list["Callback"]:
    """Build the callbacks of the config that can be used.

    Leaves out a callback whose patience is null; also, with a line in the log, one that monitors valid_* if there is no
    validation, and one that needs an attribute which the model lacks.
    """
    from training_log import missing

    callbacks = []
    for name, node in config.callbacks.items():
        if node is None or ("patience" in node and node.patience is None):
            continue
        if not validates and "monitor" in node and node.monitor.startswith("valid_"):
            log.info(f"callbacks.{name} is left out: without validation there is no {node.monitor}")
            continue
        callback = cli.build(node)
        if lacking := missing(model, getattr(callback, "needs", ())):
            log.info(f"callbacks.{name} is left out: {type(model).__name__} has no {', '.join(lacking)}")
        else:
            callbacks.append(callback)
    return callbacks


def in_order(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics sorted by name, and test_accuracy/n=4 before test_accuracy/n=16."""
    names = sorted(metrics, key=lambda name: (name.partition("=")[0], len(name), name))
    return {name: float(metrics[name]) for name in names}


def best_checkpoint(trainer: "Trainer") -> "ModelCheckpoint | None":
    """Return the callback that wrote the best checkpoint; None if none was written: the last weights are tested."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            return callback
    return None


if __name__ == "__main__":
    cli.start(main)
