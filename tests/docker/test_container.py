"""The container as a user meets it: it is built, used, reached through its ports, and stopped.

The repository is in a path with spaces; if the tests run as root, the user is one that the image cannot know.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import Checkout, copy_repository, docker, require_engine, wait_until
from runs import record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # a first build downloads gigabytes

UID, GID = 12345, 23456
BUILT_FROM = [".dockerignore", "Dockerfile", "docker", "pyproject.toml", "requirements.txt", "requirements-cuda12.txt"]
COPIED = [*BUILT_FROM, "Makefile", "config", "hydra", "src"]
IMAGE = "patch_sets_test"
TRAIN = ["python", "src/train.py", "data=digits", "hparams.max_epochs=10", "hparams.seed=0"]


@pytest.fixture(scope="module")
def checkout() -> Iterator[Checkout]:
    """A copy of the repository whose image is built."""
    require_engine()
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        workspace = copy_repository(Path(folder) / "a path with spaces", *COPIED)
        (workspace / ".env").write_text("OMP_NUM_THREADS=1\n")  # networks this small are slower on two threads
        checkout = Checkout(workspace, workspace, IMAGE)
        if os.getuid() == 0:
            become(checkout, UID, GID)
        try:
            checkout.call("build")
            yield checkout
        finally:
            checkout.remove()
            subprocess.run(["docker", "image", "rm", "--force", IMAGE], capture_output=True)


def become(checkout: Checkout, uid: int, gid: int) -> None:
    """Make the checkout that of another user, in a home of its own, who may use the engine."""
    home = checkout.workspace.parent
    for path in [home, checkout.workspace, *checkout.workspace.rglob("*")]:
        os.chown(path, uid, gid)
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    checkout.process = {"user": uid, "group": gid, "extra_groups": [Path(socket).stat().st_gid]}
    checkout.environment["HOME"] = str(home)


def shorten_lock(checkout: Checkout) -> None:
    """Leave uv alone in the lock: it is quickly built."""
    lock = checkout.repository / "requirements.txt"
    uv_alone = re.findall(r"^uv==.*\n(?:    .*\n)*", lock.read_text(), re.MULTILINE)
    lock.write_text(f"# {uuid.uuid4()}, which no build has seen\n" + "".join(uv_alone))


def built(checkout: Checkout) -> list[str]:
    """Return the instructions of the Dockerfile that a build does not take from its cache."""
    again = {"PATCH_SETS_IMAGE": f"{IMAGE}_again"}
    output, errors = checkout.call("build", "--progress=plain", **again)
    steps = dict(re.findall(r"^#(\d+) \[.*\d+/\d+\] ((?:RUN|COPY) .*)", output + errors, re.MULTILINE))
    assert len(steps) > 2
    cached = re.findall(r"^#(\d+) CACHED", output + errors, re.MULTILINE)
    return [step for number, step in steps.items() if number not in cached]


def test_a_change_of_the_source_builds_nothing(checkout):
    with (checkout.repository / "src" / "train.py").open("a") as file:
        file.write("\n")
    assert built(checkout) == []


def test_a_change_of_the_lock_builds_the_dependencies_and_nothing_else(checkout):
    lock = checkout.repository / "requirements.txt"
    text = lock.read_text()
    try:
        shorten_lock(checkout)
        steps = built(checkout)
    finally:
        lock.write_text(text)
        docker("image", "rm", f"{IMAGE}_again")
    assert any("venv /opt/venv" in step for step in steps)
    assert not any("apt-get" in step or "useradd" in step for step in steps)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two other users")
def test_two_users_of_one_host_have_an_image_and_a_container_each(checkout):
    users = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            for uid in (UID + 1, UID + 2):
                clone = Path(folder) / str(uid) / "PatchSets"
                workspace = copy_repository(clone, *BUILT_FROM)
                users[uid] = Checkout(workspace, workspace, "")
                users[uid].environment["PORTS"] = checkout.environment["PORTS"]
                shorten_lock(users[uid])
                become(users[uid], uid, GID)
                users[uid].call("build")
            for user in users.values():
                user.call("run", "-d")
            for uid, user in users.items():
                assert user.call("exec", "sh", "-c", "id -u; touch mine")[0] == f"{uid}\n"
                assert (user.workspace / "mine").stat().st_uid == uid
            one, other = users.values()
            _, errors = one.call("stop", code=1, PATCH_SETS_CONTAINER=other.container)
            assert f"belongs to the clone {other.workspace} of user {UID + 2}" in errors
            one.call("stop")
            assert other.runs()
        finally:
            for uid, user in users.items():
                user.remove()
                image = f"patch_sets:{uid}"
                subprocess.run(["docker", "image", "rm", "--force", image], capture_output=True)


def test_the_gpu_of_an_older_driver_is_refused_in_one_line(checkout):
    driver = checkout.workspace / "driver"
    driver.mkdir()
    os.chown(driver, checkout.workspace.stat().st_uid, -1)
    code = "int cuDriverGetVersion(int *version) { *version = 11080; return 0; }"
    shell = [
        "docker",
        "run",
        "--rm",
        "--interactive",
        f"--volume={driver}:/driver",
        "--env=LD_LIBRARY_PATH=/driver",
        IMAGE,
    ]
    compile = ["gcc", "-shared", "-fPIC", "-o", "/driver/libcuda.so.1", "-xc", "-"]
    subprocess.run([*shell, *compile], input=code, text=True, check=True)
    probe = (checkout.repository / "docker" / "gpu_probe.py").read_text()
    tried = subprocess.run([*shell, "python3", "-"], input=probe, text=True, capture_output=True)
    shutil.rmtree(driver)
    assert tried.returncode == 1
    assert re.fullmatch(
        r"the driver supports CUDA 11\.8, and the image's torch needs CUDA 1[23]: install driver \d+ or later\n",
        tried.stderr,
    )


def runs(checkout: Checkout, experiment: str) -> list[Path]:
    return sorted(checkout.workspace.glob(f"outputs/{experiment}/*/*"))


@pytest.fixture(scope="module")
def trained(checkout: Checkout) -> Path:
    checkout.call("run", *TRAIN, "experiment_name=whole")
    (folder,) = runs(checkout, "whole")
    return folder


def test_a_training_finishes_and_its_files_belong_to_the_user(checkout, trained):
    assert record(trained)["status"] == "finished"
    assert record(trained)["metrics"]["test_accuracy"] > 0.8
    assert record(trained)["host"] == docker("info", "--format", "{{.Name}}")
    owner = checkout.process.get("user", os.getuid()), checkout.process.get("group", os.getgid())
    for path in checkout.workspace.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == owner, path


def test_make_uses_the_environment_of_the_image_and_installs_nothing(checkout):
    output, errors = checkout.call("run", "make", "train", "ARGS=--cfg job")
    assert "/opt/venv/bin/python src/train.py" in output
    assert "venv" not in (output + errors).replace("/opt/venv/bin/python src/train.py", "")
    assert not (checkout.workspace / ".venv").exists()


def test_torch_compiles(checkout):
    code = "import torch; print(torch.compile(torch.nn.Linear(3, 2))(torch.ones(5, 3)).shape)"
    assert "torch.Size([5, 2])" in checkout.call("run", "python", "-c", code)[0]


def test_fish_completes_settings(checkout):
    output, _ = checkout.call("run", "fish", "--interactive", "-c", "complete -C 'python src/train.py data=dig'")
    assert "data=digits" in output


def fetch(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def said_before_and_after_a_click(url: str) -> tuple[str, str]:
    """The probabilities on the page of trained runs, in a browser on the host."""
    from browser import chromium
    from explore_page import click_picture, open_page

    with chromium() as page:
        open_page(page, url)
        before = page.locator(".ps-bars").inner_text()
        click_picture(page, "with its patches", 0.5, 0.5)
        return before, page.locator(".ps-bars").inner_text()


def test_servers_answer_on_the_host(checkout, trained):
    checkout.call("run", "-d")
    servers = dict(zip(["mlflow", "tensorboard", "explore", "jupyter"], checkout.ports, strict=True))
    starting = {name: checkout.start(name) for name in servers}
    urls = {}
    for name, process in starting.items():
        output, errors = process.communicate()
        assert process.returncode == 0, output + errors
        urls[name] = output.strip()
        assert urls[name].startswith(f"http://127.0.0.1:{servers[name]}")

    wait_until(lambda: trained.name in fetch(f"{urls['tensorboard']}/data/runs")[1])
    mlflow, _, page = urls["mlflow"].partition("/#")
    assert page == "/experiments?workflowType=machine_learning"
    search = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=5"
    assert fetch(search)[0] == 200
    assert fetch(search, Host="example.org")[0] == 403
    contents = f"http://127.0.0.1:{servers['jupyter']}/api/contents"
    _, token = urls["jupyter"].split("?token=")
    assert fetch(contents)[0] == 403
    assert fetch(f"{contents}?token={token}")[0] == 200

    assert fetch(f"{urls['explore']}/_stcore/health") == (200, "ok")
    if shutil.which("chromium") or shutil.which("google-chrome"):
        before, after = said_before_and_after_a_click(urls["explore"])
        assert before != after

    assert fetch(f"{mlflow}/ajax-api/3.0/mlflow/ui-telemetry")[1].find('"disable_ui_telemetry":true') > 0
    for name in servers:
        assert checkout.call(name)[0].strip() == urls[name]
    assert {path.lstat().st_uid for path in checkout.workspace.rglob("*")} == {checkout.workspace.stat().st_uid}
    start = time.monotonic()
    checkout.call("stop")
    assert time.monotonic() - start < 15  # seconds; 2 on a machine that does nothing else


def test_nothing_is_waited_for_in_an_idle_container(checkout):
    checkout.call("run", "-d")
    checkout.call("stop", "100000")
    assert not checkout.runs()


def rows(folder: Path) -> list[str]:
    path = folder / "metrics.csv"
    return path.read_text().splitlines() if path.exists() else []


def test_a_stopped_training_says_so_and_resumes_as_if_nothing_had_been(checkout, trained):
    with checkout.start("run", *TRAIN, "experiment_name=stopped") as training:
        wait_until(lambda: any(len(rows(folder)) > 3 for folder in runs(checkout, "stopped")))
        docker("stop", "--time", "60", checkout.container)  # 10 s are too few on a busy machine
        output, errors = training.communicate()
    assert training.returncode == 143, output + errors
    (folder,) = runs(checkout, "stopped")
    assert record(folder)["status"] == "interrupted"
    assert len(rows(folder)) < len(rows(trained))

    checkout.call("run", "python", "src/train.py", f"resume={folder.relative_to(checkout.workspace)}")
    assert runs(checkout, "stopped") == [folder]
    assert record(folder)["status"] == "finished"
    assert rows(folder) == rows(trained)
