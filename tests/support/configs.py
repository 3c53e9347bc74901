"""The configuration as a command composes it, outside of a run."""

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from runs import REPOSITORY

from command import cli

CONFIG = REPOSITORY / "config"
FOLDER = "${hydra:runtime.output_dir}"


def composed(*overrides: str, name: str = "config") -> DictConfig:
    cli.register_resolvers()
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        config = compose(name, list(overrides))
    return OmegaConf.create(OmegaConf.to_yaml(config).replace(FOLDER, "outputs/x"))  # which only a job has
