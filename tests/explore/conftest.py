"""Small runs of all kinds, trained once, in a folder of their own."""

import module_run
import pytest

from command import cli
from explore.opened_run import OpenedRun, open_network, open_source, read_config

SMALL = ("data=digits", "callbacks=[basic]", "loggers=none", "hparams.batch_size=64", "experiment_name=small")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with outputs/: of a set of patches (named by its comment, patches), and of a cnn."""
    folder = tmp_path_factory.mktemp("trained")
    module_run.trained(folder, *SMALL, "comment=patches", "hparams.max_epochs=4")
    module_run.trained(folder, *SMALL, "comment=cnn", "model=cnn", "hparams.max_epochs=1")
    return folder


@pytest.fixture
def run_of(trained):
    """`run_of("cnn")` -> the folder of that run."""

    def find(comment):
        (folder,) = trained.glob(f"outputs/small/*/*_{comment}")
        return folder

    return find


@pytest.fixture
def opened_run(run_of):
    """`opened_run("cnn")` -> that run, as the page opens it."""
    cli.register_resolvers()

    def run(comment):
        folder = run_of(comment)
        config = read_config(folder)
        source, names = open_source(config)
        network, task = open_network(folder, config)
        return OpenedRun(folder, "", network, source, names, task)

    return run
