"""The image's build: what docker/build.sh asks for, and which packages are left out without optional parts."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import Checkout, copy_repository, docker, require_engine

IMAGE = "patch_sets_test_build"
LOCKS = ["requirements.txt", "requirements-cuda12.txt"]
COPIED = [".dockerignore", "Dockerfile", "docker", "pyproject.toml", *LOCKS]
# an image of nothing, which says what it was built with
DOCKERFILE = 'FROM scratch\nARG LOCK CPU PARTS UID\nLABEL lock=$LOCK cpu=$CPU parts="$PARTS" uid=$UID\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    require_engine()
    clone = copy_repository(tmp_path / "a clone", *COPIED)
    checkout = Checkout(clone, clone, IMAGE)
    for name in ("CUDA", "CPU", "WITHOUT"):
        checkout.environment.pop(name, None)
    yield checkout
    docker("image", "rm", "--force", IMAGE)


def built_with(checkout: Checkout, *arguments: str, **environment: str) -> dict[str, str]:
    """Return the arguments that the Dockerfile gets."""
    (checkout.repository / "Dockerfile").write_text(DOCKERFILE)
    checkout.call("build", *arguments, **environment)
    line = docker("inspect", "--format", "{{range $key, $value := .Config.Labels}}{{$key}}={{$value}}|{{end}}", IMAGE)
    return dict(label.split("=", 1) for label in line.strip("|").split("|"))


@pytest.mark.processes
@pytest.mark.parametrize("place", ["options", "environment", ".env"])
def test_options_environment_and_env_choose_what_is_installed(place, checkout):
    parts = "train neptune wandb sweep bags large huggingface timm export app figures docs"
    if place == "options":
        labels = built_with(checkout, "--cpu", "--without", "ray,notebook,dev", CUDA="12")
    elif place == "environment":
        labels = built_with(checkout, CPU="1", WITHOUT="ray notebook,dev", CUDA="12")
    else:
        (checkout.repository / ".env").write_text("CUDA=12\nCPU=1\nWITHOUT=dev,ray,notebook\n")
        labels = built_with(checkout)
    assert {name: labels[name] for name in ("lock", "cpu", "parts")} == {"lock": LOCKS[1], "cpu": "1", "parts": parts}


@pytest.mark.processes
def test_without_options_everything_is_installed(checkout):
    labels = built_with(checkout, CUDA="13")
    assert labels == {"lock": LOCKS[0], "cpu": "", "parts": "all", "uid": str(os.getuid())}


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "environment", "reason"),
    [
        (
            ["--without", "ray,pytest"],
            {},
            "there is no part 'pytest' to leave out: choose from neptune,wandb,",
        ),
        (["--without", "train"], {}, "there is no part 'train'"),
        (["--without"], {}, "--without needs a value"),
        ([], {"CUDA": "11"}, "CUDA=12"),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(arguments, environment, reason, checkout):
    _, errors = checkout.call("build", *arguments, code=1, **environment)
    assert reason in errors
    assert errors.count("\n") == 1


def pinned(text: str) -> dict[str, str]:
    """Return each package of a lock with its versions and hashes; the markers depend on who needs it."""
    text = re.sub(r"^ *#.*\n| ;[^\\\n]*(?= \\$)", "", text, flags=re.MULTILINE)
    packages: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        name = entry.split("==")[0]
        packages[name] = packages.get(name, "") + entry + "\n"
    return packages


@pytest.mark.slow
@pytest.mark.parametrize("lock", LOCKS)
def test_without_parts_the_other_packages_are_as_in_the_lock(lock, checkout, tmp_path):
    cuda = {LOCKS[0]: "13", LOCKS[1]: "12"}[lock]
    options = ["--without=ray,notebook,dev", "--target=lock", f"--output=type=local,dest={tmp_path}/built"]
    checkout.call("build", *options, CUDA=cuda)
    whole, part = pinned((checkout.repository / lock).read_text()), pinned((tmp_path / "built/lock" / lock).read_text())
    assert (tmp_path / "built/lock/whole").read_text() == (checkout.repository / lock).read_text()
    assert {name: whole[name] for name in part} == part
    assert {"ray", "jupyterlab", "ipykernel", "pytest", "mypy", "playwright"} <= set(whole) - set(part)
    assert {"torch", "torchvision", "triton", "mlflow", "wandb", "optuna", "streamlit", "matplotlib", "uv"} <= set(part)
