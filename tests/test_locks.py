"""The two locks hold the same versions, apart from torch and what comes with it, and every file has a hash."""

import re
import subprocess
from pathlib import Path

import pytest
from runs import REPOSITORY

from process import gpus

CUDA13, CUDA12 = "requirements.txt", "requirements-cuda12.txt"
FAMILY = re.compile(r"torch|torchvision|triton|cuda-.+|nvidia-(?!ml-py).+")


def entries(text: str) -> dict[str, str]:
    """Return hashes and comments of each requirement by NAME==VERSION ; MARKER."""
    blocks = re.split(r"^(?=[^ #\n])", text, flags=re.MULTILINE)[1:]
    return {line.removesuffix(" \\"): rest for line, _, rest in (block.partition("\n") for block in blocks)}


def read(lock: str) -> dict[str, str]:
    return entries((REPOSITORY / lock).read_text(encoding="utf-8"))


def name(requirement: str) -> str:
    return requirement.partition("==")[0]


def parents(comment: str) -> set[str]:
    """Return what needs a package: `# via torch`, or `# via` and a line for each."""
    return set(re.findall(r"^    # (?:via|  ) ?([^ \n]+)", comment, re.MULTILINE))


def test_locks_differ_in_torch_and_what_comes_with_it() -> None:
    others = [{line for line in read(lock) if not FAMILY.fullmatch(name(line))} for lock in (CUDA13, CUDA12)]
    assert others[0] == others[1]
    assert {"lightning-utilities", "nvidia-ml-py", "torchmetrics"} <= set(map(name, others[0]))


def test_torch_of_each_lock_has_its_cuda() -> None:
    cuda13, cuda12 = set(map(name, read(CUDA13))), set(map(name, read(CUDA12)))
    (torch,) = [line for line in read(CUDA12) if name(line) == "torch"]
    assert [int(number) for number in re.findall(r"\d+", torch)[:2]] < [2, 11]
    assert {"torchvision", "triton"} <= cuda13 & cuda12
    assert "nvidia-cudnn-cu13" in cuda13
    assert "nvidia-cudnn-cu12" in cuda12
    assert not any(package.endswith("cu13") for package in cuda12)


@pytest.mark.parametrize("lock", [CUDA13, CUDA12])
def test_every_file_has_a_hash_and_no_address(lock: str) -> None:
    for requirement, rest in read(lock).items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", rest), requirement
        assert "://" not in requirement + rest


@pytest.mark.processes
@pytest.mark.parametrize("lock", [CUDA13, CUDA12])
def test_without_cuda_nothing_is_left_that_only_torch_with_cuda_needs(lock: str, tmp_path: Path) -> None:
    """install.sh gives uv the lock without CUDA; a fake uv keeps the file."""
    (tmp_path / "bin").mkdir()
    for program in [tmp_path / "bin/python", tmp_path / "bin/uv"]:
        program.write_text(f'#!/bin/sh\nfor file; do :; done\n[ ! -e "$file" ] || cp "$file" \'{tmp_path}/given\'\n')
        program.chmod(0o755)
    environment = {"CPU": "1", "PATH": "/usr/bin:/bin"}
    command = ["sh", "docker/install.sh", tmp_path, lock]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    before, given = read(lock), entries((tmp_path / "given").read_text(encoding="utf-8"))
    left_out = {name(line) for line in before.keys() - given.keys()}
    assert "triton" in left_out
    assert all(FAMILY.fullmatch(package) for package in left_out)
    for requirement, rest in given.items():
        assert parents(rest), requirement
        assert not parents(rest) <= left_out, requirement
        if name(requirement) in ("torch", "torchvision"):
            assert "--hash" not in rest
        else:
            assert not FAMILY.fullmatch(name(requirement))
            assert rest == before[requirement]


def test_the_oldest_drivers_are_the_same_wherever_they_are_stated():
    drivers = {cuda: driver for cuda, (driver, _, _) in gpus.LOCKS.items()}
    probe = (REPOSITORY / "docker" / "gpu_probe.py").read_text()
    assert f"DRIVERS = {drivers}\n" in probe  # which runs in the image, without src/
    script = (REPOSITORY / "docker" / "choose_lock.sh").read_text()
    compared = re.findall(r'"\$\{driver%%\.\*\}" -(?:lt|ge) (\d+)', script)
    assert set(map(int, compared)) == set(drivers.values())
