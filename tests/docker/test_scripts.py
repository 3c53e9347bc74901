"""The scripts of docker/ call a fake docker, which records their requests; bad input is refused in one line."""

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from engine import CONTAINER, IMAGE, READ_BY_THE_SCRIPTS, copy_repository, free_ports
from runs import REPOSITORY

pytestmark = pytest.mark.processes

NAME = f"patch_sets:{os.getuid()}"  # of the image
MACHINE = "the-machine"  # that runs the engine
PORTS = (5000, 6006, 8501, 8888)  # of the servers in the container
SERVERS = {"mlflow": "mlflow", "tensorboard": "tensorboard", "explore": "streamlit", "jupyter": "jupyter"}  # programs
VERBS = ["build", "run", "exec", "attach", "stop", *SERVERS]
# the programs that the scripts may need on a host besides docker; those of the servers are in the container
PROGRAMS = ["bash", "cat", "cksum", "dirname", "grep", "head", "hostname", "id", "mkdir", "sed", "sh", "sleep", "uname"]
IN_CONTAINER = ["ln", "od", "tail", "tr"]

# Its answers are files in the folder $FAKE. It really runs only `exec sh -c`: stop.sh's code would end every Python.
FAKE_DOCKER = r"""#!/usr/bin/env bash
printf '%s\0' "$#" "$@" >>"$FAKE/calls"
refuse() { [[ ! -e $FAKE/$1 ]] || { cat "$FAKE/$1" >&2; exit 125; } }
case "$1 ${2-}" in
  "version "*) refuse no_engine ;;
  "info "*) if [[ $3 == *.Name* ]]; then echo the-machine; else cat "$FAKE/security"; fi ;;
  "build "*) printf '%s' "${DOCKER_BUILDKIT-}" >"$FAKE/buildkit"; refuse no_build ;;
  "image inspect") [[ -e $FAKE/image ]] ;;
  "container inspect") cat "$FAKE/state" 2>/dev/null ;;
  "run --rm") refuse no_gpu; cat >"$FAKE/probe" ;;
  "port "*) grep -s "^$3 " "$FAKE/ports" | while read -r _ address; do echo "$address"; done ;;
  "exec "*)
    [[ "$3 $4" == "sh -c" ]] || { [[ ! -e $FAKE/exit ]] || exit "$(cat "$FAKE/exit")"; exit 0; }
    shift 2
    PATH=$FAKE/container exec "${@//\/tmp/$FAKE}" ;;
  "stop "*) : >"$FAKE/state" ;;
  *)
    while (($#)); do [[ $1 != --env-file ]] || cat "$2" >"$FAKE/env"; shift; done
    if [[ -e $FAKE/exit ]]; then exit "$(cat "$FAKE/exit")"; fi ;;
esac
"""
# It listens on the port of the host to which its own port is published.
FAKE_SERVER = """#!{python}
import http.server, os, pathlib, re, sys
port = re.search(r"port[= ](\\d+)", " ".join(sys.argv))[1]
print("arguments", *sys.argv, flush=True)
published = re.search(rf"^{{port}}/tcp .*:(\\d+)$", pathlib.Path(os.environ["FAKE"], "ports").read_text(), re.MULTILINE)
http.server.HTTPServer(("127.0.0.1", int(published[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


class Host:
    """Host with a fake docker, a clone of the repository and a folder to work in; their paths contain spaces."""

    def __init__(self, folder: Path) -> None:
        self.fake, self.home, self.programs = folder / "fake", folder / "home", folder / "programs"
        self.clone = copy_repository(folder / "a clone", "docker")
        self.workspace = folder / "a work space"
        for new in (self.fake / "container", self.home, self.programs, self.workspace):
            new.mkdir(parents=True)
        for name in PROGRAMS:
            (self.programs / name).symlink_to(str(shutil.which(name)))
        for name in PROGRAMS + IN_CONTAINER:
            (self.fake / "container" / name).symlink_to(str(shutil.which(name)))
        self.write_program(self.programs / "docker", FAKE_DOCKER)
        self.answer("security", "[name=seccomp,profile=default]")
        self.answer("image")
        self.ports = free_ports(3)
        self.container, _, self.owner = self.settings_of("$CONTAINER $OWNER").partition(" ")
        read_by_build = ("PYTHON_IMAGE", "CUDA", "CPU", "WITHOUT")
        inherited = {
            name: value for name, value in os.environ.items() if name not in (*READ_BY_THE_SCRIPTS, *read_by_build)
        }
        self.environment = inherited | {
            "PATH": str(self.programs),
            "HOME": str(self.home),
            "XDG_STATE_HOME": "",
            "XDG_CACHE_HOME": "",
            "FAKE": str(self.fake),
            "PORTS": " ".join(map(str, self.ports)),
        }

    def write_program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def answer(self, name: str, text: str = "") -> None:
        (self.fake / name).write_text(text)

    def settings_of(self, words: str) -> str:
        """Return what the variables of settings.sh are in the clone."""
        code = f'source "$1"/docker/settings.sh && printf %s "{words}"'
        return subprocess.run(["bash", "-c", code, "_", self.clone], check=True, capture_output=True, text=True).stdout

    def settings(self, text: str) -> None:
        (self.clone / ".env").write_text(text)

    def call(
        self, script: str, *arguments: str, code: int = 0, terminal: bool = False, **environment: str | None
    ) -> tuple[str, str]:
        """Return what the script prints on stdout and stderr (a terminal takes stdout); None removes a variable."""
        changed = {name: value for name, value in (self.environment | environment).items() if value is not None}
        ours, theirs = pty.openpty() if terminal else (None, None)
        done = subprocess.run(
            [self.clone / "docker" / f"{script}.sh", *arguments],
            cwd=self.workspace,
            env=changed,
            stdin=theirs or subprocess.DEVNULL,
            stdout=theirs or subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if ours and theirs:
            os.close(ours)
            os.close(theirs)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout or "", done.stderr

    def refusal(self, script: str, *arguments: str, **options: str | None) -> str:
        """Return the one line with which the script fails."""
        output, errors = self.call(script, *arguments, code=1, **options)
        assert output == ""
        (line,) = errors.splitlines()
        assert line.startswith(f"docker/{script}.sh: ")
        return line

    def calls(self) -> list[list[str]]:
        """Return the arguments of every call of docker."""
        calls, words = [], iter((self.fake / "calls").read_text().split("\0")[:-1])
        for count in words:
            calls.append([next(words) for _ in range(int(count))])
        return calls

    def last(self) -> list[str]:
        return self.calls()[-1]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    for file in host.fake.glob("patch_sets_servers/*.pid"):  # of servers
        os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.fixture
def running(host: Host) -> Host:
    host.answer("state", f"running {host.owner}\n")
    return host


def values(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(arguments) if name == option]


def data_mounts(arguments: list[str]) -> list[str]:
    return [mount for mount in values(arguments, "--mount") if mount.endswith("target=/dataset")]


# All scripts


def test_shellcheck_reports_nothing():
    program = Path(sys.executable).with_name("shellcheck")
    subprocess.run([program, *sorted((REPOSITORY / "docker").glob("*.sh"))], check=True)


def test_the_page_names_another_port_if_its_port_is_taken(tmp_path):
    (tmp_path / "streamlit").symlink_to("/bin/true")
    search = {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = ["sh", REPOSITORY / "docker" / "explore_server.sh"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = [str(port), "127.0.0.1", "localhost", "src"]
        refused = subprocess.run([*script, *arguments], env=search, capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"port {port} is taken: choose another, as in make explore PORT={port + 1}\n" in refused.stderr
    free = subprocess.run([*script, *arguments], env=search, capture_output=True, text=True)
    assert (free.returncode, free.stderr) == (0, "")


@pytest.mark.parametrize("script", VERBS)
def test_help_is_the_comment_at_the_top_and_needs_no_docker(script, host):
    (host.programs / "docker").unlink()
    help, _ = host.call(script, "-h")
    assert help.startswith(f"docker/{script}.sh")
    top = re.match(r"#!.*\n((?:#.*\n)+)", (host.clone / "docker" / f"{script}.sh").read_text())
    assert top
    assert help == re.sub("^# ?", "", top[1], flags=re.MULTILINE)


@pytest.mark.parametrize("script", VERBS)
def test_without_docker_its_installation_is_named(script, host):
    (host.programs / "docker").unlink()
    assert "not installed" in host.refusal(script, terminal=script == "attach")


@pytest.mark.parametrize(
    ("says", "remedy"),
    [
        ("Got permission denied while trying to connect to the Docker daemon socket\nmore", "usermod -aG docker"),
        ("Cannot connect to the Docker daemon at unix:///x.\nIs it running?", "systemctl start docker"),
    ],
)
@pytest.mark.parametrize("script", VERBS)
def test_an_engine_that_does_not_answer(script, says, remedy, host):
    host.answer("no_engine", says)
    assert remedy in host.refusal(script)


@pytest.mark.parametrize("script", [verb for verb in VERBS if verb not in ("build", "run")])
def test_without_a_container_run_is_named(script, host):
    assert "docker/run.sh" in host.refusal(script)
    host.answer("state", f"exited {host.owner}\n")
    assert "docker/run.sh" in host.refusal(script)


def test_the_names_can_be_changed(host):
    host.settings(f"{IMAGE}=mine\n{CONTAINER}=mine_too\n")
    host.call("run", "true")
    assert values(host.last(), "--name") == ["mine_too"]
    assert host.last()[-2:] == ["mine", "true"]
    host.call("run", "true", PATCH_SETS_CONTAINER="another")
    assert values(host.last(), "--name") == ["another"]


@pytest.mark.parametrize(
    ("folder", "begin"),
    [
        ("PatchSets", "PatchSets_"),
        ("a clone.2", "a_clone_2_"),
        ("_x", "x_"),
        ("研究", "patch_sets_"),
    ],
)
def test_a_container_is_named_after_its_clone(folder, begin, host):
    names = {host.container}
    for parent in ("one", "two"):
        host.clone = copy_repository(host.workspace / parent / folder, "docker")
        host.call("run", "true")
        (name,) = values(host.last(), "--name")
        assert re.fullmatch(rf"{begin}[0-9a-f]{{8}}", name)
        names.add(name)
    assert len(names) == 3


def test_a_clone_has_one_name_by_whatever_path_it_is_reached(host):
    link = host.workspace / "link"
    link.symlink_to(host.clone)
    host.clone = link
    host.call("run", "true")
    assert values(host.last(), "--name") == [host.container]


def test_another_user_of_a_clone_has_other_names(host):
    (host.programs / "id").unlink()
    host.write_program(host.programs / "id", "#!/usr/bin/env bash\necho 54321\n")
    host.call("run", "true")
    assert values(host.last(), "--name") != [host.container]
    assert values(host.last(), "--label") == [f"patch_sets.owner=54321:{host.clone}"]
    assert host.last()[-2] == "patch_sets:54321"


@pytest.mark.parametrize("script", [verb for verb in VERBS if verb != "build"])
def test_a_container_of_somebody_else_is_refused(script, host):
    host.answer("state", "running 54321:/home/b/Patch Sets\n")
    line = host.refusal(script, PATCH_SETS_CONTAINER="theirs")
    assert "container theirs belongs to the clone /home/b/Patch Sets of user 54321" in line
    assert f"docker/{script}.sh there" in line
    host.answer("state", "running \n")
    line = host.refusal(script, PATCH_SETS_CONTAINER="theirs")
    assert "container theirs is not of docker/run.sh" in line


HABITS = """\
# a comment
  export EXPORTED=1
SPACES = two words  # a comment
DOUBLE="quoted # no comment" # a comment
\tSINGLE='it is "x"'
APOSTROPHE=it's#1
EMPTY= # a comment
NONE=""
GIVEN
GIVEN_TOO # as in TOKEN=value
EQUAL==x=
URL=http://x/#/a?b=c\r
LAST='end'"""


def test_habits_of_other_env_files(host):
    host.settings(HABITS)
    host.call("run", "true")
    assert (host.fake / "env").read_text().splitlines() == [
        "EXPORTED=1",
        "SPACES=two words",
        "DOUBLE=quoted # no comment",
        'SINGLE=it is "x"',
        "APOSTROPHE=it's#1",
        "EMPTY=",
        "NONE=",
        "GIVEN",
        "GIVEN_TOO",
        "EQUAL==x=",
        "URL=http://x/#/a?b=c",
        "LAST=end",
    ]
    assert not any("quoted" in word for word in host.last())  # other users can see arguments


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("A=1\nB: 2\n", "line 2 of "),
        ("\nA b=c\n", "line 2 of "),
        ("2=3", "line 1 of "),
        ('A="open\n', "value of A in one pair of quotes"),
        ("export A='a'b\n", "value of A in one pair of quotes"),
    ],
)
@pytest.mark.parametrize("script", ["run", "stop"])
def test_a_line_that_is_no_setting_is_named(script, text, complaint, host):
    host.settings(text)
    assert complaint in host.refusal(script)


def test_env_of_an_editor_of_windows(host):
    host.settings("\ufeffTZ=Asia/Tokyo\r\n")
    host.call("run", "true")
    assert "TZ=Asia/Tokyo" in values(host.last(), "--env")


@pytest.mark.parametrize("script", ["build", "run", "stop"])
def test_env_that_is_no_file_is_refused(script, host):
    (host.clone / ".env").symlink_to("absent")
    assert f"{host.clone}/.env is not a file that you can read" in host.refusal(script)


# build.sh


def test_build(host):
    host.call("build", "--build-arg", "A=two words", "--no-cache")
    given = [f"UID={os.getuid()}", f"GID={os.getgid()}", "LOCK=requirements.txt", "CPU=", "PARTS=all", "A=two words"]
    options = [word for argument in given for word in ("--build-arg", argument)]
    assert host.last() == ["build", "--tag", NAME, *options, "--no-cache", str(host.clone)]
    assert (host.fake / "buildkit").read_text() == "1"


def test_a_failed_build_ends_with_one_line(host):
    host.answer("no_build", "#11 ERROR: executor failed running [/bin/sh -c python3 -m venv]: exit code: 1\n")
    _, errors = host.call("build", code=1)
    assert errors.splitlines()[-1] == "docker/build.sh: no image was built: see above"
    _, errors = host.call("build", "--cpu", code=1)
    assert "build without --cpu and CPU=1" in errors.splitlines()[-1]


def test_root_of_a_rootless_engine_is_the_user_who_started_it(host):
    host.answer("security", "[name=seccomp,profile=default name=rootless name=cgroupns]")
    host.call("build")
    assert values(host.last(), "--build-arg")[:2] == ["UID=0", "GID=0"]


def test_another_base_image(host):
    host.settings("PYTHON_IMAGE=of the file\n")
    host.call("build")
    assert values(host.last(), "--build-arg")[-1] == "PYTHON_IMAGE=of the file"
    host.call("build", PYTHON_IMAGE="python:3.13-slim")
    assert values(host.last(), "--build-arg")[-1] == "PYTHON_IMAGE=python:3.13-slim"


# run.sh


ARGUMENTS = ["two words", "*", "it's", '"', "$HOME", "", "-d", "a=b,c"]


def published(host: Host, address: str = "127.0.0.1") -> list[str]:
    """Return how the host's three ports are published: they are for the servers, in their order."""
    return [f"{address}:{port}:{inside}" for port, inside in zip(host.ports, PORTS, strict=False)]


STATE = "PATCH_SETS_STATE=/state"


CACHE = "PATCH_SETS_CACHE=/cache"


def mounted_cache(folder: Path) -> str:
    return f'type=bind,"source={folder}",target=/cache'


def mounted_key(state: Path) -> str:
    return f'type=bind,"source={state}/patch_sets",target=/state'


def test_run(host):
    host.call("run", "python", *ARGUMENTS)
    assert host.last() == [
        *("run", "--interactive", "--name", host.container),
        *("--label", f"patch_sets.owner={os.getuid()}:{host.clone}"),
        *("--rm", "--init", "--ipc=host", "--detach-keys", "ctrl-]"),
        *("--mount", f'type=bind,"source={host.workspace}",target=/workspace'),
        *("--hostname", MACHINE, "--add-host", f"{MACHINE}:host-gateway", "--env", "DATASET=/workspace/dataset"),
        *("--mount", mounted_key(host.home / ".local" / "state"), "--env", STATE),
        *("--mount", mounted_cache(host.home / ".cache" / "patch_sets"), "--env", CACHE),
        *(word for pair in published(host) for word in ("--publish", pair)),
        *("--gpus", "all", NAME, "python", *ARGUMENTS),
    ]


def test_the_key_that_signs_runs_is_that_of_the_host(host, tmp_path):
    host.call("run", XDG_STATE_HOME=str(tmp_path / "state"))
    assert mounted_key(tmp_path / "state") in values(host.last(), "--mount")
    assert (tmp_path / "state" / "patch_sets").stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    host.call("run", XDG_STATE_HOME=str(tmp_path / "file"))  # without it, runs are not signed
    assert len(values(host.last(), "--mount")) == 2  # workspace and cache


def test_decoded_images_are_kept_on_the_host(host, tmp_path):
    host.call("run", XDG_CACHE_HOME=str(tmp_path / "caches"))
    mounts = values(host.last(), "--mount")
    assert mounted_cache(tmp_path / "caches" / "patch_sets") in mounts
    host.call("run", PATCH_SETS_CACHE=str(tmp_path / "large disk"))
    assert mounted_cache(tmp_path / "large disk") in values(host.last(), "--mount")
    assert CACHE in values(host.last(), "--env")
    (tmp_path / "file").write_text("")
    host.call("run", XDG_CACHE_HOME=str(tmp_path / "file"))  # without it, images are decoded each time
    assert CACHE not in values(host.last(), "--env")
    line = host.refusal("run", PATCH_SETS_CACHE="relative")
    assert "PATCH_SETS_CACHE=relative: give an absolute path" in line
    line = host.refusal("run", PATCH_SETS_CACHE=f"{tmp_path}/file/below")
    assert f"cannot make the folder PATCH_SETS_CACHE={tmp_path}/file/below" in line


def test_run_at_a_terminal(host):
    host.call("run", terminal=True)
    assert host.last()[:3] == ["run", "--interactive", "--tty"]
    assert host.last()[-1] == NAME  # whose command is fish


def test_run_in_the_background(host):
    output, _ = host.call("run", "-d")
    assert host.last()[:4] == ["run", "--detach", "--interactive", "--tty"]
    assert "docker/exec.sh" in output


@pytest.mark.parametrize("options", [(), ("-d",)])
def test_the_exit_code_of_run_is_kept(options, host):
    host.answer("exit", "7")
    host.call("run", *options, "false", code=7)


def test_options_of_run(host):
    host.call("run", "-d", "--gpus=none", "--", "-x")
    assert host.last()[-2:] == [NAME, "-x"]
    assert "unknown option -x" in host.refusal("run", "-x")
    assert "--gpus needs a value" in host.refusal("run", "--gpus")


def test_without_the_image_build_is_named(host):
    (host.fake / "image").unlink()
    assert "run docker/build.sh first" in host.refusal("run")


def test_one_container_at_a_time(running):
    assert "docker/stop.sh" in running.refusal("run")
    running.answer("state", f"exited {running.owner}\n")
    assert f"docker rm --force {running.container}" in running.refusal("run")


@pytest.mark.parametrize("name", ["data", "two words", "a,b:c", 'a "quoted" name'])
def test_data_of_any_name_are_mounted(name, host):
    (host.workspace / name).mkdir()
    path = str(host.workspace / name)
    expected = ['type=bind,"source={}",target=/dataset'.format(path.replace('"', '""'))]
    for spelling in (path, name):  # a relative path starts at the current folder
        _, errors = host.call("run", "true", DATASET=spelling)
        assert data_mounts(host.last()) == expected
        assert "DATASET=/dataset" in values(host.last(), "--env")
        assert errors == ""


@pytest.mark.parametrize(("spelling", "start"), [("data", "clone"), ("./data", "clone"), ("~/data", "home")])
def test_data_named_in_env(spelling, start, host):
    folder = getattr(host, start) / "data"
    folder.mkdir()
    host.settings(f"  # DATASET=/nowhere\nDATASET={spelling}\r\nDATASETS=/nowhere\n")
    host.call("run", "true")
    (mount,) = data_mounts(host.last())
    assert Path(re.findall('"source=(.*)"', mount)[0]) == folder


def test_the_environment_comes_before_env(host):
    host.settings("DATASET=/nowhere\nTZ=Asia/Tokyo\nBIND=127.0.0.3\nGPUS=none\nPORTS=1")
    host.call("run", "true", DATASET="", TZ="Europe/Berlin", BIND="127.0.0.2", GPUS="all")
    arguments = host.last()
    assert data_mounts(arguments) == []
    assert values(arguments, "--env") == ["DATASET=/workspace/dataset", STATE, CACHE, "TZ=Europe/Berlin"]
    assert values(arguments, "--publish") == published(host, "127.0.0.2")
    assert values(arguments, "--gpus") == ["all"]


def test_the_settings_of_env(host):
    host.settings(f"TZ=Asia/Tokyo\nBIND=127.0.0.3\nGPUS=none\nPORTS={host.ports[0]}")  # and no newline at the end
    host.call("run", "true", PORTS=None)
    assert values(host.last(), "--env")[1:] == [STATE, CACHE, "TZ=Asia/Tokyo"]
    assert values(host.last(), "--publish") == [f"127.0.0.3:{host.ports[0]}:5000"]
    assert "--gpus" not in host.last()


def test_a_folder_of_data_that_does_not_exist_is_refused(host):
    line = host.refusal("run", DATASET="absent")
    assert f"DATASET={host.workspace}/absent" in line
    host.settings("DATASET=$HOME/data\n")
    assert "DATASET=" in host.refusal("run")


def test_env_default_is_named_where_there_is_no_env_and_no_data(host):
    assert "cp .env.default .env" in host.call("run", "true")[1]
    host.settings("")
    assert host.call("run", "true")[1] == ""


def test_env_default_is_a_good_env(host):
    shutil.copy(REPOSITORY / ".env.default", host.clone / ".env")
    _, errors = host.call("run", "true", PORTS=None, BIND="127.0.0.77")  # where no other server is likely to listen
    assert errors == ""
    assert values(host.last(), "--publish") == [f"127.0.0.77:{port}:{port}" for port in PORTS]
    assert values(host.last(), "--env") == ["DATASET=/workspace/dataset", STATE, CACHE, "TZ=UTC"]


def test_default_ports_are_those_of_env_default(host):
    host.call("run", "true", PORTS=None, BIND="127.0.0.77")
    assert values(host.last(), "--publish") == [f"127.0.0.77:{port}:{port}" for port in PORTS]


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_replaced_by_the_next_free_one(bind, host):
    first = host.ports[0]
    with socket.create_server((bind, first)):
        _, errors = host.call("run", "true", BIND=bind, PORTS=f"{first} {first}")
    chosen = [int(pair.split(":")[1]) for pair in values(host.last(), "--publish")]
    assert first < chosen[0] < chosen[1]
    assert errors.splitlines()[0].endswith(f"next free ones: {first} as {chosen[0]}, {first} as {chosen[1]}")


def test_a_port_in_use_is_named_if_its_place_in_the_container_was_chosen(host):
    taken = host.ports[1]
    with socket.create_server(("127.0.0.1", taken)):
        assert f"port {taken} of 127.0.0.1 is in use" in host.refusal("run", PORTS=f"{taken}:7000")


@pytest.mark.parametrize(
    ("ports", "pairs"),
    [
        ("", []),
        ("5001 6007", ["5001:5000", "6007:6006"]),
        ("5001 6006 8501 8888", ["5001:5000", "6006:6006", "8501:8501", "8888:8888"]),
        ("6006", ["6006:6006"]),
        ("8888 5001", ["8888:8888", "5001:5000"]),
        ("5001:6006 7000", ["5001:6006", "7000:5000"]),
        ("5000 6006 8501 8888 8080 7000:7001", [*(f"{port}:{port}" for port in PORTS), "8080:8080", "7000:7001"]),
    ],
)
def test_ports_of_the_host_are_for_the_servers(ports, pairs, host):
    host.call("run", "true", PORTS=ports, BIND="127.0.0.77")
    assert values(host.last(), "--publish") == [f"127.0.0.77:{pair}" for pair in pairs]


@pytest.mark.parametrize("address", ["::1", "[::1]", "localhost"])
def test_bind_is_an_ipv4_address(address, host):
    assert f"BIND={address} is not an IPv4 address" in host.refusal("run", BIND=address)


def test_an_empty_bind_opens_nothing_to_the_network(host):
    host.call("run", "true", BIND="")
    assert values(host.last(), "--publish") == published(host)


@pytest.mark.timeout(60)
def test_an_address_of_another_machine_is_not_waited_for(host):
    host.call("run", "true", BIND="192.0.2.1")  # answers nobody
    assert values(host.last(), "--publish") == published(host, "192.0.2.1")


@pytest.mark.parametrize("ports", ["500000", "5000,6006", "http", "1:2:3", ":5000", "*"])
def test_ports_are_numbers(ports, host):
    assert "must be port numbers or HOST:CONTAINER" in host.refusal("run", PORTS=ports)


# docker 20.10, docker 28, NVIDIA's runtime without a driver
NO_DRIVER = """docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].
ERRO[0000] error waiting for container: context canceled
"""
NO_DRIVER_28 = """docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]]

Run 'docker run --help' for more information
"""
NO_NVML = """docker: Error response from daemon: OCI runtime create failed: stderr: Auto-detected mode as 'legacy'
nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown.
"""


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (NO_DRIVER, 'could not select device driver "" with capabilities: [[gpu]].'),
        (NO_DRIVER_28, 'could not select device driver "" with capabilities: [[gpu]]'),
        (
            NO_NVML,
            "OCI runtime create failed: stderr: Auto-detected mode as 'legacy' "
            "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown.",
        ),
    ],
)
def test_without_a_gpu_one_line_says_why(says, reason, host):
    host.answer("no_gpu", says)
    host.settings("")
    _, errors = host.call("run", "true")
    assert errors == f"docker/run.sh: no GPU: {reason}\n"
    assert "--gpus" not in host.last()
    assert reason in host.refusal("run", "--gpus", "all")  # an error if they were requested
    assert reason in host.refusal("run", GPUS="2")


@pytest.mark.parametrize(
    ("which", "docker_s"), [("all", "all"), ("2", "2"), ("device=1", "device=1"), ("device=0,3", '"device=0,3"')]
)
def test_which_gpus(which, docker_s, host):
    host.call("run", "--gpus", which, "true", GPUS="none")
    trial, run = host.calls()[-2:]
    assert trial == ["run", "--rm", "--interactive", "--gpus", docker_s, "--entrypoint", "python3", NAME, "-"]
    assert (host.fake / "probe").read_text() == (REPOSITORY / "docker" / "gpu_probe.py").read_text()
    assert values(run, "--gpus") == [docker_s]


def test_no_gpu_is_tried_if_none_is_requested(host):
    host.call("run", "--gpus", "none", "true")
    assert sum(call[0] == "run" for call in host.calls()) == 1
    assert "--gpus" not in host.last()


# exec.sh, attach.sh, stop.sh


def test_exec(running):
    running.call("exec", "python", *ARGUMENTS)
    assert running.last() == ["exec", "--interactive", running.container, "python", *ARGUMENTS]
    running.call("exec")
    assert running.last() == ["exec", "--interactive", running.container, "fish"]
    running.answer("exit", "7")
    running.call("exec", "false", code=7)


def test_exec_at_a_terminal(running):
    running.call("exec", terminal=True)
    assert running.last() == ["exec", "--interactive", "--tty", "--detach-keys", "ctrl-]", running.container, "fish"]


def test_attach(running):
    assert "terminal" in running.refusal("attach")
    running.answer("exit", "1")  # Docker's exit code after Ctrl-]
    running.call("attach", terminal=True)
    (attach,) = [call for call in running.calls() if call[0] == "attach"]
    assert attach == ["attach", "--detach-keys", "ctrl-]", running.container]


@pytest.mark.parametrize(("arguments", "seconds"), [((), "30"), (("5",), "5")])
def test_stop_lets_trainings_end_first(arguments, seconds, running):
    running.call("stop", *arguments)
    end, stop = [call for call in running.calls() if call[0] in ("exec", "stop")]
    assert end == ["exec", "--interactive", running.container, "sh", "-s", seconds]
    assert stop == ["stop", "--time", "0", running.container]
    assert running.last()[:2] == ["container", "inspect"]  # it waited until the name was free


def test_stop_takes_seconds(running):
    assert "'soon' is not a number" in running.refusal("stop", "soon")


# tensorboard.sh, mlflow.sh, jupyter.sh, explore.sh


def publish(host: Host, address: str = "127.0.0.1") -> dict[str, int]:
    """Publish the servers' ports as other ports of the host; return these."""
    pairs = dict(zip(PORTS, free_ports(4), strict=True))
    host.answer("ports", "".join(f"{port}/tcp {address}:{other}\n" for port, other in pairs.items()))
    return dict(zip(SERVERS, pairs.values(), strict=True))


def install(host: Host, name: str, text: str = FAKE_SERVER.format(python=sys.executable)) -> None:
    host.write_program(host.fake / "container" / SERVERS[name], text)


def server_file(host: Host, name: str, suffix: str) -> Path:
    port = PORTS[list(SERVERS).index(name)]
    return host.fake / "patch_sets_servers" / f"{name}-{port}.{suffix}"


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_starts_once_and_its_url_is_printed_each_time(name, running):
    port = publish(running)[name]
    install(running, name)
    url, errors = running.call(name)
    assert errors == ""
    assert url.startswith(f"http://127.0.0.1:{port}")
    log = server_file(running, name, "log")
    assert "0.0.0.0" in log.read_text()  # the address to which Docker publishes
    assert running.call(name) == (url, "")
    assert log.read_text().count("arguments") == 1


def test_mlflow_s_url_shows_its_runs(running):
    port = publish(running)["mlflow"]
    install(running, "mlflow")
    assert running.call("mlflow")[0] == f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning\n"


def test_make_mlflow_prints_the_same_page(tmp_path):
    (tmp_path / "mlflow").symlink_to("/bin/true")
    script = ["sh", REPOSITORY / "docker" / "mlflow_server.sh", "5001", "127.0.0.1", "localhost:*"]
    search = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(script, cwd=tmp_path, env=search, check=True, capture_output=True, text=True)
    assert done.stdout == "http://localhost:5001/#/experiments?workflowType=machine_learning\n"


def test_the_token_of_jupyter_is_random_and_no_argument(running):
    publish(running)
    install(running, "jupyter")
    url, _ = running.call("jupyter")
    token = url.strip().partition("/lab?token=")[2]
    assert re.fullmatch("[0-9a-f]{48}", token)
    file = running.fake / "jupyter-token"
    assert file.read_text() == token
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in server_file(running, "jupyter", "log").read_text().splitlines()[0]


def test_a_server_for_the_network_is_named_by_the_host(running):
    port = publish(running, "0.0.0.0")["tensorboard"]
    install(running, "tensorboard")
    assert running.call("tensorboard")[0] == f"http://{socket.gethostname()}:{port}\n"


@pytest.mark.parametrize(
    ("bind", "explore", "jupyter"),
    [
        ("127.0.0.1", {"127.0.0.1"}, "allow_remote_access=False"),
        ("0.0.0.0", {socket.gethostname()}, "allow_remote_access=False"),
        ("192.0.2.1", {"192.0.2.1"}, "allow_remote_access=True"),  # Jupyter takes no address but its own for its name
    ],
)
def test_pages_answer_under_names_of_this_machine_alone(bind, explore, jupyter, running):
    publish(running)
    for name in ("explore", "jupyter"):
        install(running, name)
        running.call(name, BIND=bind)
    arguments = server_file(running, "explore", "log").read_text().splitlines()[0]
    names = set(re.findall(r"--server.allowedHosts (\S+)", arguments))
    assert explore | {"localhost", "127.0.0.1", "::1"} <= names
    assert bind == "0.0.0.0" or len(names) <= 4
    assert f"--browser.serverAddress {min(explore)} " in arguments
    arguments = server_file(running, "jupyter", "log").read_text().splitlines()[0]
    assert f"--ServerApp.{jupyter} " in arguments
    assert re.findall(r"local_hostnames=(\S+)", arguments) == ["localhost", socket.gethostname()]


def test_a_server_of_another_port(running):
    host_port = free_ports(1)[0]
    running.answer("ports", f"7000/tcp 127.0.0.1:{host_port}\n")
    install(running, "tensorboard")
    assert running.call("tensorboard", "7000")[0] == f"http://127.0.0.1:{host_port}\n"


@pytest.mark.parametrize(("name", "port"), list(zip(SERVERS, PORTS, strict=True)))
def test_a_port_that_is_not_published(name, port, running):
    assert f'PORTS="5001 {port}:{port}" docker/run.sh' in running.refusal(name, PORTS="5001")
    assert "is not a port" in running.refusal(name, "http")


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_ends_shows_its_last_lines(name, running):
    publish(running)
    install(running, name, "#!/bin/sh\necho no such option: --port\nexit 2\n")
    _, errors = running.call(name, code=1)
    assert errors.splitlines() == [
        "no such option: --port",
        f"docker/{name}.sh: {name} has ended: see above",
    ]
    server_file(running, name, "pid").unlink()


def test_a_port_that_another_server_uses(running):
    publish(running)
    install(running, "jupyter")
    running.call("jupyter")
    assert "another server" in running.refusal("tensorboard", "8888")


# The image


def test_the_build_sees_what_the_dockerfile_copies_and_nothing_else():
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (?:--\S+ )*(\S+) \S+$", dockerfile, re.MULTILINE))
    copied |= set(re.findall(r"type=bind,source=([^,\s]+)", dockerfile))
    assert "$LOCK" in copied
    copied = copied - {"$LOCK"} | {"requirements.txt", "requirements-cuda12.txt"}
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    assert sorted(rules[1:]) == sorted(f"!{path}" for path in copied)


def test_the_dockerfile_needs_no_newer_docker_than_20_10():
    assert not re.search(
        r"^# *syntax=|<<|^(COPY|ADD).* --(link|chmod)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE
    )


def test_tokens_are_in_no_file_of_the_repository():
    lines = (REPOSITORY / ".env.default").read_text().splitlines()
    tokens = [line for line in lines if re.match(r"\w*(TOKEN|KEY|PASSWORD|SECRET)", line)]
    assert tokens
    assert not any("=" in line for line in tokens)
    subprocess.run(["git", "check-ignore", "--quiet", "--no-index", ".env"], cwd=REPOSITORY, check=True)
