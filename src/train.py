"""Train a classifier, keep its best checkpoint, test it, and leave a run folder: `python src/train.py --help`."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from run import cli
from run.console import print_config, print_summary
from run.errors import UserError
from run.record import Run

if TYPE_CHECKING:  # torch takes seconds to import, and TAB and --help must be instant
    from pytorch_lightning import Callback, Trainer

    from datamodule.image import ImageDataModule
    from model import Classifier

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="config")
@cli.job
def main(config: DictConfig) -> float | None:
    with cli.record(config) as run:
        return train(config, run)


def train(config: DictConfig, run: Run) -> float | None:
    """Return the best value of hparams.monitor, what a sweep optimises (None without validation)."""
    from pytorch_lightning import seed_everything

    print_config(config)
    seed_everything(config.hparams.seed, workers=True, verbose=False)
    data, model = cli.build(config.data), cli.build(config.model)
    data.prepare_data()
    data.setup()
    loggers = [cli.build(logger) for logger in config.loggers.values()]
    callbacks = build_callbacks(config, data)
    trainer = cli.build(config.trainer, callbacks=callbacks, logger=loggers)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    device = trainer.strategy.root_device
    run.update(data=data.summary(), parameters=parameters, device=str(device))
    log.info(f"{parameters:,} parameters on {device}; {data.summary()}")

    if config.hparams.lr == 0:
        model.lr = find_lr(config, model, data)
    run.update(lr=model.lr)
    hparams: Any = OmegaConf.to_container(config.hparams)
    for logger in trainer.loggers:
        logger.log_hyperparams({**hparams, "lr": model.lr})
    start = time.perf_counter(), time.process_time()
    trainer.fit(model, data)
    seconds = {"seconds": time.perf_counter() - start[0], "cpu_seconds": time.process_time() - start[1]}

    metrics = dict(trainer.callback_metrics)
    best, score = best_checkpoint(trainer)
    if data.has_test:
        (tested,) = trainer.test(model, data, ckpt_path=best, weights_only=True, verbose=False)
        metrics |= tested
    metrics = {name: float(value) for name, value in sorted(metrics.items()) if not name.endswith("_step")}
    run.update(best_checkpoint=best and "checkpoints/best.ckpt", best_score=score, training=seconds, metrics=metrics)
    print_summary("Result", {**metrics, "best checkpoint": Path(best) if best else "none", "run folder": run.folder})
    return score


def build_callbacks(config: DictConfig, data: "ImageDataModule") -> list["Callback"]:
    """All of the config's, less those without a purpose: patience null, or watching a validation that is not done."""
    kept = [
        callback
        for callback in config.callbacks.values()
        if callback.get("patience", 0) is not None
        and (data.has_valid or not str(callback.get("monitor", "")).startswith("valid_"))
    ]
    return [cli.build(callback) for callback in kept]


def find_lr(config: DictConfig, model: "Classifier", data: "ImageDataModule") -> float:
    """The learning rate of the steepest descent of the loss (Smith 2017, arXiv:1506.01186), by a trainer of its own."""
    from pytorch_lightning import seed_everything
    from pytorch_lightning.tuner import Tuner

    model.lr = 1e-3  # where the search changes nothing: debug
    if config.debug:
        log.info("hparams.lr=0 asks for a search, which debug leaves out: lr=0.001")
        return model.lr
    silent = {
        "max_epochs": -1,
        "logger": False,
        "callbacks": [],
        "enable_checkpointing": False,
        "enable_progress_bar": False,
    }
    found = Tuner(cli.build(config.trainer, **silent)).lr_find(model, datamodule=data)
    suggestion = found and found.suggestion()
    if not suggestion:
        raise UserError(
            "hparams.lr=0: the search found no learning rate (too few steps?); give one, e.g. hparams.lr=1e-3"
        )
    seed_everything(config.hparams.seed, workers=True, verbose=False)  # train as if nothing had been searched
    log.info(f"hparams.lr=0: found lr={suggestion:.3g}")
    return suggestion


def best_checkpoint(trainer: "Trainer") -> tuple[str | None, float | None]:
    """Path and score of the checkpoint that watches a metric, or None: then the weights are tested as they are."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            return callback.best_model_path, float(callback.best_model_score)
    return None, None


if __name__ == "__main__":
    cli.start(main)
