"""The scripts run on a real engine, with a tiny image of a few programs of this machine."""

import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import Checkout, copy_repository, docker, require_engine, wait_until

pytestmark = pytest.mark.processes

PROGRAMS = ["bash", "cat", "cut", "date", "grep", "head", "hostname", "mkdir", "sed", "sleep", "sort", "tail", "touch"]
PROGRAMS += ["tr", "true", "wc"]
STAND_INS = {"sh": "bash", "fish": "bash", "python": "bash"}  # fish ignores SIGTERM as bash does at a terminal
# what a training does when it is told to end
SAVES = "trap 'sleep 1; echo saved >saved; exit 143' TERM; touch started; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    require_engine()
    if not sys.platform.startswith("linux"):
        pytest.skip("the tiny image is made of Linux programs")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        libraries = set()
        for name in [*PROGRAMS, *STAND_INS]:
            program = os.path.realpath(str(shutil.which(STAND_INS.get(name, name))))
            tar.add(program, f"bin/{name}")
            linked = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
            libraries |= set(re.findall(r"(/\S+) \(0x", linked))
        for library in sorted(libraries):
            tar.add(os.path.realpath(library), library.lstrip("/"))
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    name = "patch_sets_test_tiny"
    changes = [f"--change={change}" for change in ("ENV PATH=/bin", "WORKDIR /workspace", 'CMD ["fish"]')]
    subprocess.run(["docker", "import", *changes, "-", name], check=True, input=archive.getvalue(), capture_output=True)
    yield name
    docker("image", "rm", "--force", name)


@pytest.fixture
def checkout(image: str, tmp_path: Path) -> Iterator[Checkout]:
    (tmp_path / "a work space").mkdir()
    checkout = Checkout(copy_repository(tmp_path / "a clone", "docker"), tmp_path / "a work space", image)
    yield checkout
    checkout.remove()


@pytest.fixture
def running(checkout: Checkout) -> Checkout:
    checkout.call("run", "-d")
    return checkout


ARGUMENTS = ["two words", "*", "it's", '"', "$HOME", "", "\\", "a=b,c"]
PRINT = ["bash", "-c", 'printf "<%s>" "$@"', "_", *ARGUMENTS]


def test_arguments_arrive_as_they_are(checkout):
    output, _ = checkout.call("run", *PRINT)
    assert output == "".join(f"<{argument}>" for argument in ARGUMENTS)


def test_arguments_of_exec_arrive_as_they_are(running):
    output, _ = running.call("exec", *PRINT)
    assert output == "".join(f"<{argument}>" for argument in ARGUMENTS)


def test_the_folder_of_the_call_is_the_workspace(checkout):
    output, _ = checkout.call("run", "bash", "-c", "pwd; echo x >written")
    assert output == "/workspace\n"
    assert (checkout.workspace / "written").read_text() == "x\n"


def test_the_data_are_mounted_whatever_their_name(checkout, tmp_path):
    data = tmp_path / "data, of: 2026"
    data.mkdir()
    (data / "file").write_text("inside")
    assert checkout.call("run", "bash", "-c", 'cat "$DATASET/file"', DATASET=str(data))[0] == "inside"
    relative = os.path.relpath(data, checkout.workspace)
    assert checkout.call("run", "cat", "/dataset/file", DATASET=relative)[0] == "inside"


def test_settings_and_tokens_of_env(checkout):
    (checkout.repository / ".env").write_text("# settings\nTZ=Asia/Tokyo\nTOKEN\nABSENT\nLINE=two words\n")
    code = 'echo "$TZ|$TOKEN|${ABSENT-none}|$LINE"'
    assert checkout.call("run", "bash", "-c", code, TOKEN="secret")[0] == "Asia/Tokyo|secret|none|two words\n"
    assert checkout.call("run", "bash", "-c", code, TZ="UTC")[0] == "UTC||none|two words\n"
    (checkout.repository / ".env").write_text("export TZ='Asia/Tokyo' # there\nLINE = \"two words\"\nTOKEN # of mine\n")
    assert checkout.call("run", "bash", "-c", code, TOKEN="secret")[0] == "Asia/Tokyo|secret|none|two words\n"


def test_the_container_has_the_name_of_the_machine_which_still_leads_to_the_machine(checkout):
    name, *hosts = checkout.call("run", "bash", "-c", "hostname; cat /etc/hosts")[0].splitlines()
    assert name == docker("info", "--format", "{{.Name}}")
    assert len({line.split()[0] for line in hosts if line.split()[1:] == [name]}) == 2


@pytest.mark.parametrize("script", ["run", "exec"])
def test_the_exit_code_is_the_command_s(script, checkout):
    if script == "exec":
        checkout.call("run", "-d")
    checkout.call(script, "bash", "-c", "exit 7", code=7)


def test_ports_are_published_on_this_machine_alone(running):
    published = docker("port", running.container).splitlines()
    pairs = zip((5000, 6006, 8501, 8888), running.ports, strict=True)
    assert sorted(published) == [f"{inside}/tcp -> 127.0.0.1:{port}" for inside, port in pairs]


@pytest.fixture
def other(checkout: Checkout, image: str, tmp_path: Path) -> Iterator[Checkout]:
    """A second clone in a folder of the same name, whose .env asks for the same ports."""
    repository = copy_repository(tmp_path / "other" / checkout.repository.name, "docker")
    other = Checkout(repository, repository, image)
    other.environment["PORTS"] = checkout.environment["PORTS"]
    yield other
    other.remove()


def test_each_of_two_clones_has_its_container(running, other):
    _, errors = other.call("exec", "true", code=1)
    assert f"container {other.container} is not running" in errors
    _, errors = other.call("run", "-d")
    assert f"{running.ports[0]} as " in errors
    ports = [
        {line.rpartition(":")[2] for line in docker("port", clone.container).splitlines()} for clone in (running, other)
    ]
    assert len(ports[0]) == len(ports[1]) == 4
    assert not ports[0] & ports[1]
    for clone in (running, other):
        clone.call("exec", "touch", "mine")
        assert (clone.workspace / "mine").exists()
        (clone.workspace / "mine").unlink()
    other.call("stop")
    assert running.runs()
    assert not other.runs()


@pytest.mark.parametrize("script", ["exec", "stop", "run", "tensorboard"])
def test_the_container_of_another_clone_is_refused(script, running, other):
    _, errors = other.call(script, code=1, PATCH_SETS_CONTAINER=running.container)
    assert f"belongs to the clone {running.repository} of user {os.getuid()}" in errors
    assert running.runs()


def test_a_clone_can_have_a_second_container_and_scripts_are_called_anywhere(running, tmp_path):
    name = f"{running.container}_second"
    second = {"PATCH_SETS_CONTAINER": name}
    try:
        running.call("run", "-d", **second)
        running.call("exec", "true", **second)
        running.call("stop", **second)
        assert running.runs()
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True)
    running.workspace = tmp_path
    running.call("exec", "touch", "mine")
    assert (tmp_path / "a work space" / "mine").exists()


def test_one_container_at_a_time(running):
    _, errors = running.call("run", "true", code=1)
    assert "is already running" in errors
    assert "docker/stop.sh" in errors


@pytest.mark.parametrize("script", ["exec", "attach", "stop", "tensorboard", "mlflow", "jupyter", "explore"])
def test_without_a_container_run_is_named(script, checkout):
    _, errors = checkout.call(script, code=1)
    assert "docker/run.sh" in errors
    assert errors.count("\n") == 1


def test_without_the_image_build_is_named(checkout):
    _, errors = checkout.call("run", code=1, PATCH_SETS_IMAGE="of_nobody")
    assert "docker/build.sh" in errors


def test_nothing_is_waited_for_in_an_idle_container(running):
    running.call("stop", "3600")
    running.call("run", "true")  # its name is free again


def test_docker_stop_ends_a_command_that_does_nothing_about_it(checkout):
    with checkout.start("run", "sleep", "1000") as command:  # as the first process of a container it would live on
        wait_until(checkout.runs)
        docker("stop", checkout.container)
        command.communicate()
    assert command.returncode == 143


def test_docker_stop_lets_a_training_save(checkout):
    with checkout.start("run", "python", "-c", SAVES) as training:
        wait_until((checkout.workspace / "started").exists)
        docker("stop", checkout.container)
        training.communicate()
    assert training.returncode == 143
    assert (checkout.workspace / "saved").exists()


def test_stop_waits_until_a_training_beside_the_shell_has_saved(running):
    with running.start("exec", "python", "-c", SAVES) as training:
        wait_until((running.workspace / "started").exists)
        running.call("stop")
        training.communicate()
    assert training.returncode == 143
    assert (running.workspace / "saved").exists()
    assert not running.runs()


def test_stop_waits_until_a_training_in_the_terminal_has_saved(checkout):
    ours, theirs = pty.openpty()
    script = checkout.repository / "docker" / "run.sh"
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    with subprocess.Popen([script], cwd=checkout.workspace, env=checkout.environment, **terminal) as shell:
        wait_until(checkout.runs)
        os.write(ours, f'python -c "{SAVES}"\n'.encode())
        wait_until((checkout.workspace / "started").exists)
        checkout.call("stop")
        shell.wait()
    os.close(ours)
    os.close(theirs)
    assert (checkout.workspace / "saved").exists()
    assert not checkout.runs()


def test_stop_gives_up_after_the_seconds_that_it_is_given(running):
    endless = "trap '' TERM; touch started; while :; do sleep 0.1; done"
    with running.start("exec", "python", "-c", endless) as training:
        wait_until((running.workspace / "started").exists)
        start = time.monotonic()
        running.call("stop", "1")
        assert time.monotonic() - start < 25  # without a number it gives 30
        training.communicate()
    assert not running.runs()


# as server.sh starts them, with a helper; both need long to end
SERVER = "trap '' TERM; (trap '' TERM; exec -a python-helper sleep 60) & exec -a python sleep 60"


def test_stop_waits_for_no_server(running):
    folder = "/tmp/patch_sets_servers"
    start = f"mkdir -p {folder}; ({SERVER}) >/dev/null 2>&1 </dev/null & echo $! >{folder}/mlflow-5000.pid"
    docker("exec", running.container, "sh", "-c", start)
    with running.start("exec", "python", "-c", SAVES) as training:
        wait_until((running.workspace / "started").exists)
        start = time.monotonic()
        _, errors = running.call("stop", "60")
        assert time.monotonic() - start < 30
        training.communicate()
    assert (running.workspace / "saved").exists()
    assert len(re.findall(r"to end:((?: \d+)+)", errors)[0].split()) == 1
    assert not running.runs()
