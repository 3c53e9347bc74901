"""The pages name settings and options that exist, and list all networks, parts, data sets, schedules, loggers."""

import re
from pathlib import Path

import pytest
from configs import CONFIG, composed
from omegaconf import DictConfig, OmegaConf
from runs import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
LISTED = {  # group -> the page that lists its options
    **dict.fromkeys(("model", "model/body", "model/embed", "model/encoder", "model/pool"), "networks.md"),
    **dict.fromkeys(("model/position", "model/selection"), "networks.md"),
    "data": "data.md",
    "scheduler": "settings.md",
    "trainer": "settings.md",
    "hydra/launcher": "sweeps.md",
    "hparams_search": "sweeps.md",
    "loggers": "loggers.md",
}
UNLISTED = {"auto", "csv"}  # what is there without being chosen
PARENTS = ("data", "hparams", "model", "callbacks", "loggers", "guard", "trainer", "optimizer", "loss", "sizes")


def options(group: str) -> set[str]:
    return {path.stem for path in (CONFIG / group).glob("*.yaml")}


def words(page: Path) -> list[str]:
    """Return the words of the page's commands and of its other code."""
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"^ {4,}(.*)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
    return [word.strip("'\"\\") for line in code for word in line.partition("  # ")[0].split()]


@pytest.mark.parametrize("group", LISTED)
def test_every_option_is_on_the_page_of_its_group(group):
    text = (REPOSITORY / "docs" / LISTED[group]).read_text(encoding="utf-8")
    assert options(group)
    known = set(re.findall(r"[\w]+", " ".join(re.findall(r"`([^`\n]+)`", text))))
    assert options(group) - known - UNLISTED == set()


@pages
def test_options_that_are_named_exist(page):
    for word in words(page):
        group, equals, names = word.lstrip("+").partition("=")
        if equals and (CONFIG / group).is_dir() and re.fullmatch(r"\[?[\w,]+\]?", names):
            chosen = set(names.strip("[]").split(",")) - {"mine", "A", "B"}
            extra = {"none", "null", "basic"}  # nothing, and Hydra's own launcher
            extra |= {"torchvision", "timm"} if group == "model" else set()  # of embed.py without a run
            assert chosen <= options(group) | extra, word


def flat(config: DictConfig, prefix: str = "") -> set[str]:
    found = set()
    for name in config:
        found.add(prefix + str(name))
        child = None if OmegaConf.is_missing(config, name) else OmegaConf.to_container(config)[name]
        if isinstance(child, dict):
            found |= flat(OmegaConf.create(child), f"{prefix}{name}.")
    return found


@pytest.fixture(scope="module")
def settings() -> set[str]:
    """The names of all settings of all options."""
    found = flat(composed())
    for group in ("data", "model", "model/embed", "model/pool", "model/selection", "trainer"):
        for option in sorted(options(group)):
            found |= flat(composed(f"{group}={option}", "hparams.patch_num_max=4"))
    for option in sorted(options("experiment")):
        found |= flat(composed(f"experiment={option}"))
    for name in ("callbacks", "loggers"):
        found |= flat(composed(f"{name}=[{','.join(sorted(options(name) - {'none'}))}]"))
    return found


@pytest.mark.long
@pages
def test_settings_that_are_named_exist(page, settings):
    for word in words(page):
        named = re.match(rf"((?:{'|'.join(PARENTS)})\.[\w.]+)(?==|$)", word)
        if named and not word.endswith((".onnx", ".pt2")):  # files
            assert named[1] in settings, word
