"""`make check-gpu`: check and measure on one GPU, in three minutes, what the tests and `make bench` do on a processor.

Prints Markdown as it goes: the machine, a table of checks, a table of ratios. A check that fails is one line with its
numbers, the others go on, and the exit code is 1. `--device cpu --quick` tries it without a GPU, at tiny sizes.
"""

import argparse
import contextlib
import faulthandler
import gc
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as Lightning sets it, but before cuBLAS starts

import torch
from gpu_checks import CHECKS, MissingError, Place
from gpu_ratios import HEAD, rows

from process.errors import first_line
from process.gpus import driver_version, unusable_gpu

COMPILE_SHARE = 0.25  # of the time
LARGEST_SHARE = 0.5  # of the time: a check that takes more has failed
OVER = "the time is over (--seconds)"


def check(place: Place) -> list[str]:
    """Print a row for each check, and return the names of those that failed."""
    largest = LARGEST_SHARE * place.left
    print("| check | result | s |\n| --- | --- | --- |", flush=True)
    failed = []
    for name, function in CHECKS.items():
        started = time.monotonic()
        try:
            with stopped_after(min(place.left, largest)):
                result = f"ok: {function(place)}"
        except MissingError as reason:
            result = f"skipped: {reason}"
        except Exception as error:  # the others go on
            if place.left < 0:
                result = f"skipped: {OVER}"
            else:
                failed.append(name)
                result = f"FAILED: {first_line(error) or type(error).__name__}"
        torch.use_deterministic_algorithms(False)
        print(f"| {name} | {result.replace('|', '/')} | {time.monotonic() - started:.1f} |", flush=True)
    return failed


def measure(place: Place) -> list[str]:
    """Print a row for each ratio, and return the names of those that failed."""
    print(f"\n{HEAD}", flush=True)
    failed, notes, left_out = [], [], []
    gc.collect()
    gc.freeze()  # in_turn's collections look at what is newer: 0.4 s less for each
    try:
        for name, row in rows(place):
            try:
                with stopped_after(place.left):
                    print(row(), flush=True)
            except Exception as error:
                if place.left < 0:
                    left_out.append(name)
                else:
                    failed.append(name)
                    notes.append(f"FAILED: {name}: {first_line(error) or type(error).__name__}")
    except MissingError as reason:
        notes.append(str(reason))
    gc.unfreeze()
    if left_out:
        notes.append(f"The time is over (--seconds): {len(left_out)} rows are left out, from `{left_out[0]}` on")
    for note in notes:
        print(f"\n{note}")
    return failed


@contextlib.contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after these seconds, and every ten seconds more, as a library may catch it."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not ready after {seconds:.1f} s")

    if seconds <= 0:
        stop()
    handler = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def machine(device: torch.device) -> str:
    """Return the hardware and the versions on which all figures depend."""
    processor = platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    gpu = ["no GPU"]
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        gpu = [f"{facts.name} ({facts.total_memory / 2**30:.0f} GiB, compute capability {facts.major}.{facts.minor})"]
        if version := driver_version():
            gpu.append(f"driver {version}")
    versions = [f"torch {torch.__version__}", f"CUDA {torch.version.cuda}", f"cuDNN {torch.backends.cudnn.version()}"]
    return ", ".join([*gpu, *versions, f"Python {platform.python_version()}", f"{os.cpu_count()} cores of {processor}"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="CUDA_VISIBLE_DEVICES=1: another GPU")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, whose ratios mean nothing")
    parser.add_argument("--seconds", type=float, default=180, help="what is not ready by then is left out (180)")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and ((reason := unusable_gpu()) or not torch.cuda.is_available()):
        reason = reason or "torch sees no GPU: nvidia-smi tells more"
        print(f"check_gpu.py: {reason}; --device cpu --quick tries it without", file=sys.stderr)
        return 1
    device = torch.device("cpu") if arguments.device == "cpu" else torch.device("cuda", 0)
    torch.set_float32_matmul_precision("highest")  # the factors of a product are not rounded to TF32
    started = time.monotonic()
    faulthandler.dump_traceback_later(arguments.seconds + 60, exit=True)  # a kernel that hangs is deaf to signals
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        end, share = started + arguments.seconds, COMPILE_SHARE * arguments.seconds
        place = Place(device, arguments.quick, folder, end, share)
        print(f"{machine(device)}\n", flush=True)
        failed = check(place) + measure(place)
    print(f"\n{time.monotonic() - started:.0f} s, {len(failed)} failed{': ' * bool(failed)}{', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("check_gpu.py: interrupted; the rows above are complete", file=sys.stderr)
        sys.exit(130)
