"""The commands that README.md and docs/ show run as they are written; ELSEWHERE says what runs the others, if anything.

They run in a folder with a run, a sweep and images at the places that the pages name. Trainings get `debug=True`; of a
sweep each job is composed and checked. docs/README.ja.md has the commands of README.md, which another test compares.
"""

import re
import shlex
from pathlib import Path

import numpy
import pytest
import sweeps
import warm
from configs import composed
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image
from runs import REPOSITORY
from tiny_mnist import write_mnist

from settings import check

pytestmark = [pytest.mark.processes, pytest.mark.long]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PROGRAM = (
    r"(?:[A-Z_]+=\S+ )*(?:python (?:src|docs|/content)/|make\b|docker/\w+\.sh|torchrun |uv |pyenv |git |tensorboard )"
)
DATE = "Default/2026-11-20/09-00-00"
PLACES = {  # what stands for a place of the reader's -> that of the test
    r"run=(RUN|RUN_FOLDER|FOLDER)\b": f"run=outputs/{DATE}",
    r"init_from=(RUN|RUN_FOLDER)\b": f"init_from=outputs/{DATE}",
    r"(report\.py )RUN_FOLDER \.\.\.": rf"\1multirun/{DATE}",
    r"run=SWEEP\b": f"run=multirun/{DATE}",
    r"( experiment=\S+.*) hparams\.seed=0\b": r"\1",  # each recipe once
    r"\bFOLDER$": f"outputs/{DATE}",
    r"data\.root=(\.\.\.|/\S+)": "data.root=photos",
    r"output=docs/": "output=",
    r"python /content/PatchSets/": "python ",
}
ELSEWHERE = {  # the beginning of a command -> what runs it, or why nothing can
    "git ": "there is no address",
    "uv ": "fetches a Python or packages",
    "pyenv ": "fetches a Python",
    "make": "a target of the Makefile: see the test of their names",
    "docker/": "needs a container: tests/docker",
    "torchrun ": "tests/test_data_parallel.py",
    "tensorboard ": "tests/logger/test_tensorboard.py, by make tensorboard",
    "python src/start.py": "tests/test_start.py, at a terminal",
    "python src/new_project.py": "tests/test_new_project.py",
    "python src/embed.py": "tests/test_embed.py",
    "python docs/": "tests/docs/test_single_file.py",
    "PYTHONPATH=": "tests/docs/test_draw_*.py",
    "CUDA_VISIBLE_DEVICES=": "needs a GPU",
    "RAY_AUTH_MODE=": "needs a cluster of Ray",
    "python src/train.py resume=last": "tests/test_resume.py",
    "python src/train.py resume_sweep=": "tests/sweep",
    "python src/train.py --lr 0.01 --bs 64 --epochs 5 --device 2,3": "needs four GPUs",
    "python src/train.py --device": "needs three GPUs",
    "python src/train.py trainer=ddp": "tests/test_data_parallel.py; needs GPUs, or starts processes",
    "python src/train.py data=CIFAR10 ": "downloads; data=CIFAR10 and vgg11_bn are built by tests/test_config.py",
    "CUDA=12 make": "needs an old driver: tests/docker/test_choose_lock.py",
}


def commands(text: str) -> list[str]:
    """Return the commands in the code blocks and in the code of sentences and tables, without comments."""
    blocks = re.findall(r"^(?:    |!)((?:.*\\\n)*.*)", text, re.MULTILINE)
    lines = [re.split(r"\s{2,}|\s#\s", re.sub(r"\\\n\s*", "", line).strip())[0] for line in blocks]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE))
    return [line for line in dict.fromkeys([*lines, *inline]) if re.match(PROGRAM, line)]


def adapted(command: str) -> str:
    for pattern, place in PLACES.items():
        command = re.sub(pattern, place, command)
    return command


SHOWN = {
    adapted(command): page.name
    for page in PAGES
    if page.name != "README.ja.md"
    for command in commands(page.read_text(encoding="utf-8"))
}
RUN = [command for command in SHOWN if not command.startswith(tuple(ELSEWHERE))]


def test_commands_are_found_in_blocks_in_sentences_and_in_cells():
    text = "Run `make lint test`.\n\n    python src/a.py x=1 \\\n        y=2   # why\n    x\n\n| `docker/a.sh -d` |"
    assert commands(text) == ["python src/a.py x=1 y=2", "make lint test", "docker/a.sh -d"]
    assert len(RUN) > 30
    assert {"python src/report.py", "python src/train.py data=digits 'hparams.pool=[max]'"} <= set(RUN)


@pytest.mark.skipif(not (REPOSITORY / "docs" / "results.md").exists(), reason="a new project has no results")
def test_every_entry_of_the_list_is_needed():
    assert [start for start in ELSEWHERE if not any(command.startswith(start) for command in SHOWN)] == []


def test_the_targets_and_scripts_exist():
    targets = re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for command in SHOWN:
        if command.startswith("make "):
            words = [word for word in shlex.split(command.partition(" && ")[0])[1:] if "=" not in word]
            assert set(words) <= set(targets), command
        for script in re.findall(r"(?:docker|src|docs)/\w+\.(?:sh|py)", command):
            assert (REPOSITORY / script).exists(), command


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the data, the run and the sweep that the pages name."""
    folder = tmp_path_factory.mktemp("place")
    write_mnist(folder / "dataset", 5600, 200)  # of which 5000 are for validation
    generator = numpy.random.default_rng(0)
    for name in ("photos/train/cat", "photos/train/dog", "new"):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 256, (70, 60, 3), numpy.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.jpg")
    script = str(REPOSITORY / "src" / "train.py")
    short = ("hparams.max_epochs=1", "data.limit_train=256", "callbacks=[basic]", "loggers=none")
    with warm.Process(script, *short, f"hydra.run.dir=outputs/{DATE}", cwd=folder, merged=True) as run:
        said, _ = run.communicate()
    assert run.returncode == 0, said
    grid = ("data=digits", "hparams.pool=[mean],[max]", "hparams.seed=0,1", "-m")
    sweep = sweeps.start(folder, *grid, *short, f"hydra.sweep.dir=multirun/{DATE}")
    said, _ = sweep.communicate()
    assert sweep.returncode == 0, said
    return folder


def jobs(words: list[str]) -> list[list[str]]:
    """Return the settings of each job of a grid, in order."""
    overrides = OverridesParser.create().parse_overrides([word for word in words if word != "-m"])
    return BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]


def is_sweep(command: str) -> bool:
    return command.startswith("python src/train.py") and (" -m" in command or "hparams_search=" in command)


@pytest.mark.parametrize("shown", [command for command in RUN if is_sweep(command)], ids=str)
def test_every_job_of_a_sweep_is_valid(shown, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("DATASET", str(place / "dataset"))
    search = [word for word in shlex.split(shown)[2:] if re.search(r"(hparams_search|hydra/launcher)=|hydra\.", word)]
    words = [word for word in shlex.split(shown)[2:] if word not in search]
    if any(word.startswith("hparams_search=") for word in search):
        composed(*[word for word in search if not word.startswith("hydra")])
        words = [word for word in words if "tag(" not in word]  # a range, of which Optuna chooses
    expected = numpy.prod([len(value.split(",")) for value in re.findall(r"=([\w.]+(?:,[\w.]+)+)(?= |$)", shown)])
    found = jobs(words)
    assert len(found) >= expected
    for job in found:
        check(composed(*job))


@pytest.mark.parametrize("shown", [command for command in RUN if not is_sweep(command)], ids=str)
def test_runs_as_it_is_written(shown, place, command, monkeypatch, capfd):
    monkeypatch.chdir(place)
    monkeypatch.setenv("DATASET", str(place / "dataset"))
    _, script, *words = shlex.split(shown)
    name = Path(script).stem
    trains = name == "train" and not {"--help", "--cfg", "debug=True"} & set(words)
    assert command(name, *words, *["debug=True"] * trains) == 0
    for output in (word.removeprefix("output=") for word in words if word.startswith("output=")):
        assert (place / output).stat().st_size > 0
    assert "Traceback" not in "".join(capfd.readouterr())
