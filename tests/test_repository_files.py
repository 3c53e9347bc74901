"""The files for GitHub, git and citations name what exists: commands, scripts, tools, versions, settings."""

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from runs import REPOSITORY

CITATION = REPOSITORY / "CITATION.cff"  # a new project has none
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
NEEDED = {"ci.yml": {"lint", "test"}, "docs.yml": {"docs"}}  # the targets that a workflow must make
FORMS = sorted(path for path in (REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(workflow: dict) -> list[str]:
    """Return all commands that the jobs run, also those of a matrix."""
    found = []
    for job in workflow["jobs"].values():
        found += [case["command"] for case in job.get("strategy", {}).get("matrix", {}).get("include", [])]
        found += [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_targets_and_scripts_of_a_workflow_exist(path):
    ran = commands(read(path))
    targets = {target for line in ran for target in re.findall(r"\bmake ([a-z0-9-]+)", line)}
    assert NEEDED[path.name] <= targets
    assert targets <= set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    scripts = {name for line in ran for name in re.findall(r"(?<![\w/.])(?:docker|src|\.ci)/[\w./]+", line)}
    assert path.name != "ci.yml" or "docker/build.sh" in scripts
    for name in scripts:
        assert os.access(REPOSITORY / name, os.R_OK if name.endswith(".py") else os.X_OK), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_ends(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    publishes = {"contents": "read", "pages": "write", "id-token": "write"} if path.name == "docs.yml" else None
    for job in workflow["jobs"].values():
        assert job.get("permissions") == publishes
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/none@v1")), "an action of others"


def test_ci_runs_all_tests_on_the_oldest_python_that_is_allowed():
    cases = read(REPOSITORY / ".github" / "workflows" / "ci.yml")["jobs"]["check"]["strategy"]["matrix"]["include"]
    (case,) = [case for case in cases if case["command"] == "make test-all"]
    assert PROJECT["requires-python"] == f">={case['python']}"


def test_pre_commit_runs_what_make_lint_runs():
    hooks = read(REPOSITORY / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    tool = re.compile(r"/(ruff \w+|mypy|shellcheck(?: --\S+)*)")
    assert [tool.search(hook["entry"])[1] for hook in hooks] == tool.findall(lint)
    patterns = lint.rpartition("--external-sources ")[2].split()
    linted = {path for pattern in patterns for path in REPOSITORY.glob(pattern)}
    folders = (".ci", "docker", "hydra", "src")
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
    assert {path for path in files if re.search(hooks[-1]["files"], str(path.relative_to(REPOSITORY)))} == linted


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_asks_for_something(path):
    form = read(path)
    assert form["name"]
    assert form["description"]
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_a_bug_report_asks_for_the_record_of_the_run():
    form = read(REPOSITORY / ".github" / "ISSUE_TEMPLATE" / "bug.yml")
    assert "run.json" in [field["attributes"]["label"] for field in form["body"]]


@pytest.mark.skipif(not CITATION.exists(), reason="a new project has no CITATION.cff")
def test_the_citation_has_the_licence_and_the_authors():
    citation = read(CITATION)
    assert citation["license"] == PROJECT["license"]
    licence = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    assert [author["name"] for author in citation["authors"]] == [re.search(r"Copyright \(c\) \d+ (.*)", licence)[1]]
    assert citation["title"] == read(REPOSITORY / "config" / "config.yaml")["project_name"]
