"""A clean copy under another name works as this repository does: its own tests pass in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from runs import REPOSITORY

from scaffold.project_name import LONGEST, ProjectName, renamer

# put together, as they would be words of this repository otherwise, which new_project.py refuses
NEW = ProjectName("".join(("Zebra", "Finch")), "_".join(("zebra", "finch")))
THIRD = "-".join(("sea", "urchin"))
OWN_TESTS = [
    *(
        "tests/test_vscode.py",
        "tests/docs/test_links.py",
        "tests/docs/test_readme_ja.py",
        "tests/test_settings.py",
    ),
    *("--noconftest", "-k", "not launched_program_succeeds[1]"),  # conftest.py's MLflow store takes seconds
    *("-m", "not slow"),
]


def new_project(repository: Path, target: Path) -> str:
    command = [sys.executable, str(repository / "src" / "new_project.py"), str(target)]
    done = subprocess.run(command, cwd=target.parent, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The copy, and what new_project.py printed."""
    target = tmp_path_factory.mktemp("projects") / NEW.camel
    return target, new_project(REPOSITORY, target)


@pytest.fixture(scope="module")
def copy(copied):
    return copied[0]


@pytest.mark.processes
def test_says_how_to_go_on(copied):
    folder, said = copied
    first, left_out, *rest = said.splitlines()
    assert first == f"{NEW.camel}: {len(files(folder))} files in {folder}"
    assert rest[left_out != ""] == f"  cd {folder.name}"
    assert left_out == "" or left_out.startswith("left out: ")  # nothing in a fresh clone
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.processes
def test_the_old_name_stands_nowhere_but_in_the_licence(copy):
    old = re.compile(ProjectName.of(REPOSITORY).snake.replace("_", "[-_]?"), re.IGNORECASE)
    for name, content in files(copy).items():
        if name != "LICENSE":
            found = old.search(f"{name}\n{content.decode()}")
            assert found is None, f"{name}: {found}"
    assert ProjectName.of(copy) == NEW
    assert (copy / "LICENSE").read_bytes() == (REPOSITORY / "LICENSE").read_bytes()


@pytest.mark.processes
def test_nothing_that_was_measured_is_left(copy):
    assert not list((copy / "docs").glob("*.png"))
    assert (copy / "CHANGELOG.md").read_text().endswith("## Unreleased\n")
    for page in copy.glob("**/*.md"):
        text = page.read_text(encoding="utf-8")
        found = re.search(r"<!-- /?results|^!\[.*\]\((?!http)|\d ± \d", text, re.MULTILINE)
        assert found is None, f"{page}: {found}; results stand between <!-- results --> and <!-- /results -->"
    for name, content in files(copy).items():
        if not name.startswith("tests/"):
            assert re.search(r"\d ± \d", content.decode()) is None, name


@pytest.mark.processes
def test_a_history_of_its_own_begins_empty(copy):
    def git(*words):
        return subprocess.run(["git", "-C", copy, *words], capture_output=True, text=True)

    assert git("rev-parse", "--show-toplevel").stdout.strip() == str(copy)
    assert git("log").returncode != 0
    # .gitignore of the copy names nothing that was copied
    assert len(git("ls-files", "--others", "--exclude-standard").stdout.splitlines()) == len(files(copy))


@pytest.mark.processes
def test_a_copy_of_the_copy_is_the_copy_of_this_that_it_would_have_been(copy, tmp_path):
    for name, repository in (("one", REPOSITORY), ("two", copy)):
        (tmp_path / name).mkdir()
        new_project(repository, tmp_path / name / THIRD)
    assert files(tmp_path / "two" / THIRD) == files(tmp_path / "one" / THIRD)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["ab", "a" * LONGEST])
def test_no_name_is_too_short_or_long_for_the_style(name, tmp_path):
    own, new = ProjectName.of(REPOSITORY), ProjectName.typed(name)
    for folder in ("src", "tests", "docs"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            if own.pattern().search(text := path.read_text(encoding="utf-8")):
                flat = "_".join(path.relative_to(REPOSITORY).parts)
                (tmp_path / flat).write_text(renamer(own, new)(text), encoding="utf-8")
    assert any(tmp_path.iterdir())
    for words in (["format", "--diff"], ["check", "--quiet", "--select=E501"]):
        command = [sys.executable, "-m", "ruff", *words, "--config", str(REPOSITORY / "pyproject.toml"), "--no-cache"]
        done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_name_that_the_readme_shows_by_example_may_be_taken(command, capfd, tmp_path):
    shown = re.search(r"src/new_project\.py (\w+)", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert command("new_project", f"./{shown[1]}") == 0
    copy = tmp_path / shown[1]
    assert ProjectName.of(copy) == ProjectName.typed(shown[1])
    assert f"src/new_project.py {ProjectName.of(REPOSITORY).camel} " in (copy / "README.md").read_text(encoding="utf-8")


@pytest.mark.processes
def test_its_own_tests_pass(copy):
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *OWN_TESTS]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one NAME or PATH: "),
        ([""], "one NAME or PATH: "),
        (["a", "b"], "one NAME or PATH: "),
        (["."], "already exists and is not empty: "),
        (["two words"], "'two words' is not a name: "),
        (["./集合"], "'集合' is not a name: "),
        (["./dataset"], "DATASET is already a word of this repository ("),
        ([f"./{ProjectName.of(REPOSITORY).camel}"], " is already a word of this repository"),
        ([str(REPOSITORY / "src" / THIRD)], "is inside this repository: choose a place beside it"),
        ([f"absent/{THIRD}"], "no such folder: mkdir -p "),
        (["./full"], "already exists and is not empty: "),
        (["./file"], "already exists and is not empty: "),
        (["file/x2"], "no such folder: "),
    ],
)
def test_refuses_in_one_line_and_leaves_nothing(command, capfd, tmp_path, words, said):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    assert command("new_project", *words) == 1
    out, err = capfd.readouterr()
    assert (out, err.count("\n"), err.startswith("error: ")) == ("", 1, True)
    assert said in err
    assert {path.name for path in tmp_path.iterdir()} == {"full", "file"}
    names = [Path(word).name for word in words if Path(word).name]
    assert not [name for name in names if (REPOSITORY.parent / name).exists() and name != REPOSITORY.name]


@pytest.mark.processes
def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / THIRD).mkdir()
    assert "files in" in new_project(REPOSITORY, tmp_path / THIRD)


@pytest.mark.processes
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(small_disk):
    (small_disk / "filler").write_bytes(bytes(7 * 2**20))
    command = [sys.executable, str(REPOSITORY / "src" / "new_project.py"), str(small_disk / THIRD)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: cannot write {small_disk / THIRD}: No space left on device; choose another place"
    )
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
