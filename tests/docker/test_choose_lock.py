"""The lock fits the driver and the GPUs, unless CUDA= or CPU= chooses; make installs only what has changed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from runs import REPOSITORY

pytestmark = pytest.mark.processes

CUDA12, CUDA13 = "requirements-cuda12.txt", "requirements.txt"
UV = "uv==0.13.8 \\\n    --hash=sha256:11 \\\n    --hash=sha256:22\n"
UNKNOWN_FIELD = 'Field "compute_cap" is not a valid field to query.'
NO_DRIVER = """NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest \
NVIDIA driver is installed and running.
"""
# its answers about the GPUs and about the driver alone are files beside it
NVIDIA_SMI = """#!/bin/sh
echo asked >>"$0.calls"
case "$*" in *compute_cap*) file=$0.gpus ;; *) file=$0.driver ;; esac
cat "$file" || exit 9
test ! -e "$file.fails"
"""
# `-m venv FOLDER` makes an environment whose pip records its arguments and requirements, and whose uv its arguments
PYTHON = """#!/bin/sh
[ "$2" != pip ] || { echo "$*" && cat; } >"$0.pip"
[ "$2" = venv ] || exit 0
mkdir -p "$3/bin"
ln -sf "$0" "$3/bin/python"
printf '#!/bin/sh\\necho "$@" >>"%s/calls"\\ntest ! -e "%s/fails"\\n' "$3" "$3" >"$3/bin/uv"
chmod +x "$3/bin/uv"
"""


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


class Machine:
    """Clone of the repository on a machine whose GPUs a fake nvidia-smi reports; paths contain spaces."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.programs, self.venv = folder / "a clone", folder / "programs", folder / "venv"
        (self.clone / "docker").mkdir(parents=True)
        for name in ["Makefile", "docker/choose_lock.sh", "docker/install.sh", "docker/settings.sh"]:
            shutil.copy(REPOSITORY / name, self.clone / name)
        for lock, torch in [(CUDA13, "2.15.0"), (CUDA12, "2.10.0")]:
            (self.clone / lock).write_text(f"torch=={torch} \\\n    --hash=sha256:00\n{UV}zipp==1\n", encoding="utf-8")
        self.smi = write_program(self.programs / "nvidia-smi", NVIDIA_SMI)
        self.report("580.65.06, 9.0")
        self.path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"

    def report(self, gpus: str | None, driver: str | None = None) -> None:
        """Make nvidia-smi print these lines about GPUs and driver; it fails if they do not begin with a number."""
        for suffix, text in [("gpus", gpus), ("driver", driver if driver is not None else gpus)]:
            Path(f"{self.smi}.{suffix}").write_text(text or "", encoding="utf-8")
            Path(f"{self.smi}.{suffix}.fails").unlink(missing_ok=True)
            if not text or not text[0].isdigit():
                Path(f"{self.smi}.{suffix}.fails").touch()

    def asked(self) -> bool:
        """Return whether nvidia-smi was asked since the last call of this method."""
        calls = Path(f"{self.smi}.calls")
        asked = calls.exists()
        calls.unlink(missing_ok=True)
        return asked

    def call(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("CUDA", "CPU", "UV_OPTIONS")}
        kept |= {"PATH": self.path, "MAKEFLAGS": ""} | environment
        return subprocess.run(command, cwd=self.programs, env=kept, capture_output=True, text=True)

    def choose(self, *arguments: str, **environment: str) -> tuple[str, str]:
        """Return the lock and the line that says why."""
        done = self.call("sh", self.clone / "docker/choose_lock.sh", *arguments, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("\n") == 1
        return done.stdout.removesuffix("\n"), done.stderr

    def refuse(self, **environment: str) -> str:
        done = self.call("sh", self.clone / "docker/choose_lock.sh", **environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        return done.stderr

    def make(self, *words: str, **environment: str) -> str:
        """Return what make prints while it prepares the environment."""
        done = self.call("make", "-C", self.clone, "-s", f"PYTHON={self.programs / 'python'}", f"VENV={self.venv}",
                         *(words or [str(self.venv / ".installed")]), **environment)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def installed(self) -> str:
        return (self.venv / ".installed").read_text(encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("gpus", "lock", "reason"),
    [
        ("580.65.06, 9.0", CUDA13, "driver is 580.65.06"),
        ("610.10, 12.0\n610.10, 7.5", CUDA13, "driver is 610.10"),
        ("580.65.06, [N/A]", CUDA13, "driver is 580.65.06"),
        ("550.54.14, 8.0", CUDA12, "driver 550.54.14 is older than 580"),
        ("525.60.13, 8.9", CUDA12, "driver 525.60.13 is older than 580"),
        ("535.104.05, 7.0", CUDA12, "driver 535.104.05 is older than 580"),
        ("580.65.06, 7.0", CUDA12, "compute capability 7.0"),
        ("580.65.06, 9.0\n580.65.06, 7.2", CUDA12, "compute capability 7.2"),
        ("580.65.06, 3.5\n580.65.06, 9.0", CUDA13, "driver is 580.65.06"),  # a card for the display
        ("580.65.06, 6.1", CUDA13, "on the CPU: no GPU here has compute capability 7.0"),
        ("515.43.04, 8.0", CUDA13, "on the CPU: driver 515.43.04 is older than 525"),
    ],
)
def test_lock_fits_driver_and_gpus(machine: Machine, gpus: str, lock: str, reason: str) -> None:
    machine.report(gpus)
    chosen, line = machine.choose(CPU="0")
    assert chosen == lock
    assert line.startswith(f"{lock}: CUDA {12 if lock == CUDA12 else 13}, ")
    assert reason in line


def test_driver_that_does_not_know_compute_cap_is_named(machine: Machine) -> None:
    machine.report(UNKNOWN_FIELD, "470.82.01")
    chosen, line = machine.choose()
    assert chosen == CUDA13
    assert "driver 470.82.01 is older than 525" in line


@pytest.mark.parametrize(("said", "shown"), [(NO_DRIVER, NO_DRIVER.strip()), ("No devices were found\n", "No devices")])
def test_nvidia_smi_without_gpu_is_quoted(machine: Machine, said: str, shown: str) -> None:
    machine.report(said)
    chosen, line = machine.choose()
    assert chosen == CUDA13
    assert shown in line
    assert "CUDA=12" in line


def test_machine_without_nvidia_smi_gets_the_first_lock(machine: Machine) -> None:
    machine.path = str(machine.programs)
    machine.smi.unlink()
    for name in ["dirname", "sh", "uname"]:
        (machine.programs / name).symlink_to(str(shutil.which(name)))
    chosen, line = machine.choose()
    assert chosen == CUDA13
    assert "no nvidia-smi" in line


def test_arm_needs_the_driver_of_cuda_13(machine: Machine) -> None:
    write_program(machine.programs / "uname", "#!/bin/sh\necho aarch64\n")
    machine.report("550.54.14, 9.0")
    chosen, line = machine.choose()
    assert chosen == CUDA13
    assert "on the CPU: it needs driver 580 (this is 550.54.14)" in line
    machine.report("580.65.06, 9.0")
    assert "on the CPU" not in machine.choose()[1]


def test_cuda_chooses_without_the_driver(machine: Machine) -> None:
    assert machine.choose(CUDA="12")[0] == CUDA12
    machine.report("550.54.14, 8.0")
    assert machine.choose(CUDA="13") == (CUDA13, f"{CUDA13}: CUDA=13\n")
    assert machine.choose(CUDA="")[0] == CUDA12
    (machine.clone / ".env").write_text("CUDA=13\n", encoding="utf-8")
    machine.asked()
    assert machine.choose()[0] == CUDA13
    assert machine.choose(CUDA="12")[0] == CUDA12
    assert not machine.asked()


def test_cpu_needs_no_driver(machine: Machine) -> None:
    machine.report("550.54.14, 8.0")
    assert machine.choose(CPU="1")[0] == CUDA13
    assert machine.choose(CPU="1", CUDA="12")[0] == CUDA12
    assert not machine.asked()
    assert machine.choose("", CPU="1") == (f"{CUDA13} CPU=1", f"{CUDA13}: CPU=1\n")
    (machine.clone / ".env").write_text("CPU=1\n", encoding="utf-8")
    assert machine.choose("")[0] == f"{CUDA13} CPU=1"
    assert machine.choose("", CPU="0")[0] == CUDA12


def test_other_values_are_refused(machine: Machine) -> None:
    assert "CUDA=11: choose CUDA=12 or CUDA=13" in machine.refuse(CUDA="11")
    assert "CPU=yes: choose CPU=1" in machine.refuse(CPU="yes")
    (machine.clone / ".env").write_text("CUDA=12.8\n", encoding="utf-8")
    assert "CUDA=12.8: choose" in machine.refuse()


def test_variables_of_other_programs_count_as_not_set(machine: Machine) -> None:
    of_modules_and_suse = {"CUDA": "/usr/local/cuda-12.4", "CPU": os.uname().machine}
    assert machine.choose("", **of_modules_and_suse) == (CUDA13, f"{CUDA13}: CUDA 13, as the driver is 580.65.06\n")
    (machine.clone / ".env").write_text("CUDA=12\nCPU=1\n", encoding="utf-8")
    assert machine.choose("", **of_modules_and_suse)[0] == f"{CUDA12} CPU=1"


def test_lost_gpu_does_not_hide_the_others(machine: Machine) -> None:
    machine.report("550.54.14, 8.0\nUnable to determine the device handle for GPU 0000:02:00.0: Unknown Error")
    Path(f"{machine.smi}.gpus.fails").touch()
    chosen, line = machine.choose()
    assert chosen == CUDA12
    assert "driver 550.54.14 is older than 580" in line


def test_wrong_line_of_env_is_reported_by_this_script(machine: Machine) -> None:
    (machine.clone / ".env").write_text("CUDA: 12\n", encoding="utf-8")
    assert machine.refuse() == f"docker/choose_lock.sh: line 1 of {machine.clone}/.env is neither KEY=VALUE nor KEY\n"


@pytest.fixture
def maker(machine: Machine) -> Machine:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    write_program(machine.programs / "python", PYTHON)
    return machine


def test_make_is_silent_and_asks_nothing_once_installed(maker: Machine) -> None:
    maker.report("550.54.14, 8.0")
    assert "older than 580" in maker.make()
    assert maker.installed() == f"{CUDA12}\n" + (maker.clone / CUDA12).read_text(encoding="utf-8")
    assert maker.asked()
    maker.report("580.65.06, 8.0")
    assert maker.make() == ""
    assert maker.make(CUDA="12", CPU="0") == ""
    assert not maker.asked()
    assert len((maker.venv / "calls").read_text().splitlines()) == 1


def test_uv_itself_is_checked_by_its_hash(maker: Machine) -> None:
    maker.make()
    arguments, requirements = (maker.venv / "bin/python.pip").read_text().split("\n", 1)
    assert "--require-hashes" in arguments
    assert requirements == UV


def test_make_installs_again_what_cuda_or_cpu_change(maker: Machine) -> None:
    maker.make(CUDA="12")
    assert maker.make(CUDA="13") == f"{CUDA13}: CUDA=13\n"
    assert maker.make(str(maker.venv / ".installed"), "CPU=1") == f"{CUDA13}: as before, CPU=1\n"
    assert maker.installed().startswith(f"{CUDA13} CPU=1\ntorch==2.15.0 \\\n    --hash")
    assert maker.make() == ""
    assert not maker.asked()
    maker.report("550.54.14, 8.0")
    assert "older than 580" in maker.make(CPU="0")
    assert maker.installed().startswith(f"{CUDA12}\n")
    synced = [line.split()[-1] for line in (maker.venv / "calls").read_text().splitlines() if " sync " in line]
    assert [synced[0], synced[1], synced[3]] == [CUDA12, CUDA13, CUDA12]


def test_changed_lock_is_installed_as_it_was_chosen(maker: Machine) -> None:
    maker.make(CUDA="12", CPU="1")
    (maker.clone / CUDA13).write_text("uv==0.13.9\n", encoding="utf-8")
    assert maker.make() == ""
    with (maker.clone / CUDA12).open("a", encoding="utf-8") as lock:
        lock.write("psutil==7\n")
    assert maker.make() == f"{CUDA12}: as before, CPU=1\n"
    assert maker.installed().endswith("psutil==7\n")
    assert not maker.asked()


def test_make_install_chooses_anew(maker: Machine) -> None:
    maker.make(CUDA="12", CPU="1")
    assert "driver is 580.65.06" in maker.make("install")
    assert maker.installed().startswith(f"{CUDA13}\n")


def test_environment_of_an_older_makefile_is_completed(maker: Machine) -> None:
    maker.make()
    shutil.copy(maker.clone / CUDA13, maker.venv / ".installed")
    assert "driver is" in maker.make()
    assert maker.make() == ""


def test_interrupted_installation_is_repeated(maker: Machine) -> None:
    maker.make()
    (maker.venv / "fails").touch()
    with pytest.raises(AssertionError):
        maker.make(CUDA="12")
    assert not (maker.venv / ".installed").exists()
    (maker.venv / "fails").unlink()
    assert maker.make() != ""
    assert maker.make() == ""
