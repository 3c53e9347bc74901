"""The name of a search's study in its storage: what decides whether a sweep goes on with an earlier one."""

import hashlib
import json

from omegaconf import DictConfig, OmegaConf

from sweep import plan

# what a trial's value does not depend on
INDIFFERENT = (
    *("hydra", "experiment_name", "project_name", "comment", "tags", "verbosity", "resume", "loggers", "guard"),
    *("callbacks", "data.root", "data.num_workers", "trainer.accelerator", "trainer.devices"),
)


def study_name(config: DictConfig) -> str:
    """The same for sweeps whose values can be compared, and which vary the same settings.

    Bounds of an interval may change from sweep to sweep; other choices Optuna would refuse in the same study.
    """
    varied = plan.varied(config)
    fixed = OmegaConf.create(OmegaConf.to_container(config))  # a copy; interpolations stay as they are written
    for name in {*INDIFFERENT, *varied}:
        parent, _, key = name.rpartition(".")
        node = OmegaConf.select(fixed, parent) if parent else fixed
        if isinstance(node, DictConfig):
            node.pop(key, None)
    text = json.dumps([OmegaConf.to_container(fixed), varied], sort_keys=True)
    choices, digest = config.hydra.runtime.choices, hashlib.sha256(text.encode()).hexdigest()[:6]
    groups = ["several" if group in varied else choices[group] for group in ("data", "model")]
    return " ".join([config.experiment_name, *groups, config.hparams.monitor, digest])
