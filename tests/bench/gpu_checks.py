"""The checks of `make check-gpu`: a GPU computes what the processor does, and a training on it can be repeated."""

import contextlib
import importlib.util
import io
import json
import math
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from epoch import SmallCNN
from resumed import LAST, SAVING
from runs import REPOSITORY, record
from sets import random_sets
from sides import RandomBytes, our_model, trainer
from test_every_set_module import ENCODERS, POOLS
from torch import Tensor, nn

from datamodule.augment import CropFlip
from network.normalize import Normalize
from process.errors import first_line
from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch

TRAIN = str(REPOSITORY / "src" / "train.py")
MODULES = {**POOLS, **ENCODERS}
COMPILED_FIRST = ("reduce", "SAB", "PMA")  # if there is no time for all
# how far a result may be from the exact one. Values: the largest error in units of eps times the largest value.
# Gradients: the 2-norm of the error, relative, in units of eps; in half precision of sqrt(eps), as an activation that
# is rounded to the other side of 0 changes a whole summand: on a processor 0.9 with bf16 and 0.5 with fp16
VALUE_EPS, GRADIENT_EPS, GRADIENT_ROOT_EPS = 16, 64, 2
DIGITS = ("data=digits", "data.limit_train=300", "hparams.batch_size=64", "hparams.max_epochs=2", "loggers=none")
# as many batches of an epoch, with fewer images
QUICK = ("data.limit_train=40", "hparams.batch_size=8", "+trainer.limit_val_batches=1", "+trainer.limit_test_batches=1")
DROPOUT = "+model.network.dropout=0.5"  # its random numbers are a state of the GPU, which a resumed run continues


class MissingError(Exception):
    """Reason to skip a check: something that this machine or its environment does not have."""


@dataclass(frozen=True)
class Place:
    """The device, whether all sizes are tiny, a folder for runs, when the time is over, seconds for torch.compile."""

    device: torch.device
    quick: bool
    folder: str
    end: float  # of time.monotonic
    compile_seconds: float

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def trainer(self) -> str:
        return "gpu" if self.on_gpu else "cpu"

    @property
    def digits(self) -> tuple[str, ...]:
        return (*DIGITS, *QUICK) if self.quick else DIGITS


def set_modules(dtype: torch.dtype, place: Place) -> str:
    """Compare every set module with itself in float64 on the processor, from inputs and weights of the same bits."""
    if dtype == torch.bfloat16 and not has_bf16(place):
        raise MissingError("the GPU has no units for bf16")
    features, batch = (16, 8) if place.quick else (64, 64)
    eps = torch.finfo(dtype).eps
    bounds = VALUE_EPS * eps, GRADIENT_EPS * eps if dtype == torch.float32 else GRADIENT_ROOT_EPS * eps**0.5
    exact = random_sets(features, torch.device("cpu"), batch).map(lambda values: values.to(dtype).double())
    weights = torch.randn(len(exact.values) * 7 * features).to(dtype).double()
    largest, failures = {"values": (0.0, ""), "gradients": (0.0, "")}, []
    for name, build in MODULES.items():
        torch.manual_seed(0)
        module = build(in_features=features).to(dtype)
        rounded = exact.map(lambda values: values.to(dtype))
        there = results(deepcopy(module).to(place.device), rounded.to(place.device), weights.to(place.device, dtype))
        here = results(module.double(), exact, weights)
        errors = [relative(t, h, norm) for t, h, norm in zip(there, here, (math.inf, 2, 2), strict=True)]
        for kind, error, bound in zip(largest, (errors[0], max(errors[1:])), bounds, strict=True):
            largest[kind] = max(largest[kind], (error, name))
            if error > bound:
                failures.append(f"{name}, {kind}: {error:.1e} > {bound:.1e}")
    assert not failures, "; ".join(failures)
    found = [
        f"{kind} {error:.1e} ({name}), allowed {bound:.1e}"
        for (kind, (error, name)), bound in zip(largest.items(), bounds, strict=True)
    ]
    return f"{len(MODULES)} modules, largest errors: {'; '.join(found)}"


def results(module: nn.Module, sets: SetBatch, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the values, the gradient of the elements, and those of all parameters as one vector."""
    values = sets.values.detach().requires_grad_()
    out = module(sets.with_values(values))
    out = out.values if isinstance(out, SetBatch) else out
    module.zero_grad()
    out.backward(weights[: out.numel()].view_as(out))
    gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
    return out.detach(), values.grad, torch.cat(gradients) if gradients else values.grad


def relative(found: Tensor, expected: Tensor, norm: float) -> float:
    """Return the error relative to the expected tensor, both in this norm; infinite for NaN."""
    error = torch.linalg.vector_norm(found.double().cpu() - expected, norm) / torch.linalg.vector_norm(expected, norm)
    return math.inf if error.isnan() else float(error)


def has_bf16(place: Place) -> bool:
    return not place.on_gpu or torch.cuda.is_bf16_supported(including_emulation=False)


def same_patches(place: Place) -> str:
    """Compare the bits of patches and crops: numbers from a counter, so that no device sees other images."""
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8)
    index = torch.arange(64) * 1_000_003
    cutouts = {
        "random": PatchCutout(7, (1, 64), 3),
        "without replacement": PatchCutout(7, (1, 64), 3, replace=False),
        "grid": PatchCutout(7, mode="grid"),
        "all": PatchCutout(7, mode="all"),
    }
    for mode, cutout in cutouts.items():
        here, there = cutout(images, index), cutout(images.to(place.device), index)
        for name in ("values", "lengths", "index"):
            assert torch.equal(getattr(there, name).cpu(), getattr(here, name)), f"{mode}: {name} differ"
    augment, both = CropFlip((32, 32), 4, True, 0), (torch.device("cpu"), place.device)
    here, there = (augment.to(each)(images.to(each), index.to(each), 5).cpu() for each in both)
    assert torch.equal(there, here), f"{int((there != here).sum())} pixels of the crops differ"
    normalize = Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4], 3)
    here, there = (normalize.to(each)(images.to(each)).double().cpu() for each in both)
    error, bound = relative(there, here, math.inf), 4 * torch.finfo(torch.float32).eps
    assert error <= bound, f"normalised pixels differ by {error:.1e} > {bound:.1e}"
    return f"{len(cutouts)} ways to cut, and crops: equal bit for bit"


def data_on_device(place: Place) -> str:
    """Compare a training whose images are on the device with one that gets them from a worker through pinned memory."""
    weights, where = [], []
    torch.use_deterministic_algorithms(True)
    for workers in (0, 1):
        data = RandomBytes((1, 28, 28), 512, augmented=True, workers=workers)
        torch.manual_seed(0)
        model = our_model(SmallCNN(normalize=True))
        with silent():
            trainer(1, ours=True, accelerator=place.trainer).fit(model, data)
        weights.append(torch.nn.utils.parameters_to_vector(model.cpu().parameters()))
        source = data.source("train")
        assert source is not None
        where.append(source.targets.device.type)
    assert where == [place.device.type, "cpu"], f"the images are on {where[0]}, with a worker on {where[1]}"
    different = int((weights[0] != weights[1]).sum())
    assert not different, f"{different} of {len(weights[0])} weights differ from those with a worker"
    return f"images on {where[0]}; through a worker the same weights bit for bit"


def resumed(network: str, place: Place) -> str:
    """Compare a run that crashed and was resumed with one that did not, bit for bit, random numbers included."""
    options = (
        *place.digits,
        *SAVING,
        f"model={network}",
        DROPOUT,
        f"trainer={place.trainer}",
        "trainer.deterministic=true",
    )
    whole = run_here(place, *options)
    folder = tempfile.mkdtemp(dir=place.folder)
    fault = [f"+callbacks.fault.{each}" for each in ("_target_=faults.Crash", "batch=5", "during=train")]
    _, line = train_here(folder, *options, *fault)
    assert "crashed on purpose" in line, line
    broken = the_run(folder)
    code, line = train_here(folder, f"resume={broken}", "~callbacks.fault")
    assert code == 0, line
    mine, theirs = (torch.load(run / LAST, weights_only=True)["state_dict"] for run in (whole, broken))
    different = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    largest = max((float((mine[n].double() - theirs[n].double()).abs().max()) for n in different), default=0)
    assert not different, f"{len(different)} of {len(mine)} weights differ, by up to {largest:.1e}"
    assert (whole / "metrics.csv").read_bytes() == (broken / "metrics.csv").read_bytes(), "metrics.csv differs"
    return f"{len(mine)} weights and metrics.csv equal bit for bit"


def mixed_precision(place: Place) -> str:
    """Compare the loss of a training in 16-mixed, with its scaled gradients, and in bf16-mixed with that in fp32."""
    precisions = ["32-true", "16-mixed", *["bf16-mixed"] * has_bf16(place)]
    options = (*place.digits, "model=patch_set", f"trainer={place.trainer}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a processor, 16-mixed is bf16-mixed
        losses = {each: loss_of(run_here(place, *options, f"trainer.precision={each}")) for each in precisions}
    text = ", ".join(f"{precision} {loss:.3f}" for precision, loss in losses.items())
    assert all(abs(loss / losses["32-true"] - 1) < 0.1 for loss in losses.values()), f"{text}: more than 10 % apart"
    return f"training loss: {text}"


def one_rank(place: Place) -> str:
    """Compare data-parallel training of one rank, by NCCL on a GPU, with training on the device alone."""
    if place.on_gpu and not torch.distributed.is_nccl_available():
        raise MissingError("this torch has no NCCL")
    options = (*place.digits, "model=patch_set", "trainer.deterministic=true")
    alone = loss_of(run_here(place, *options, f"trainer={place.trainer}"))
    strategy, backend = ("ddp", "NCCL") if place.on_gpu else ("ddp_cpu", "gloo")
    rank = loss_of(the_run(train_in_a_process(place, *options, f"trainer={strategy}", "trainer.devices=1")))
    text = f"{backend}: training loss {rank:.6f}, alone {alone:.6f}"
    assert abs(rank / alone - 1) < 1e-4, text
    return text


def sweep(place: Place) -> str:
    """Run two jobs of a sweep by joblib, each of which sees one GPU: another one, if there are several."""
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        raise MissingError("hydra-joblib-launcher is not installed")
    options = (
        *place.digits,
        *["hydra.launcher.n_jobs=1"] * place.quick,  # as with one GPU: both in the process of the sweep
        "model=cnn",
        "hparams.max_epochs=1",
        "hparams.seed=0,1",
        "+callbacks.visible._target_=visible.Visible",
    )
    folder = train_in_a_process(place, *options, f"trainer={place.trainer}", "hydra/launcher=joblib", "-m")
    jobs = sorted(path.parent for path in Path(folder).glob("multirun/*/*/*/*/run.json"))
    losses = ", ".join(f"{loss_of(job):.3f}" for job in jobs)
    seen = [json.loads((job / "visible.json").read_text()) for job in jobs]
    counts, gpus = [each["count"] for each in seen], {each["names"] for each in seen}
    if not place.on_gpu:
        assert counts == [0, 0], f"the jobs see {counts} GPUs"
        return f"2 jobs without a GPU, training loss {losses}"
    expected = min(2, torch.cuda.device_count())
    assert counts == [1, 1], f"the jobs see {counts} GPUs"
    assert len(gpus) == expected, f"the 2 jobs are on {len(gpus)} of {torch.cuda.device_count()} GPUs"
    return f"2 jobs on {expected} GPU{'s' * (expected > 1)}, each sees one; training loss {losses}"


def compiled(place: Place) -> str:
    """Compare set modules, each compiled into one graph with its backward, with eager ones, until the time is over."""
    if place.on_gpu and importlib.util.find_spec("triton") is None:
        raise MissingError("triton is not installed, with which torch.compile makes kernels for GPUs")
    backend, bound = "aot_eager" if place.quick else "inductor", GRADIENT_EPS * torch.finfo(torch.float32).eps
    started, count, largest = time.monotonic(), 0, 0.0
    names = COMPILED_FIRST[:1] if place.quick else [*COMPILED_FIRST, *[n for n in MODULES if n not in COMPILED_FIRST]]
    for name in names:
        if time.monotonic() - started > place.compile_seconds:
            break
        torch.manual_seed(0)
        module = MODULES[name](in_features=16).to(place.device)
        function = torch.compile(deepcopy(module), fullgraph=True, backend=backend)
        weights = torch.randn(100_000, device=place.device)
        for batch in (5, 8):  # the second makes the sizes of the graph free
            sets = random_sets(16, place.device, batch)
            try:
                ours = results(function, sets, weights)
            except RuntimeError as error:
                if "not supported on Python" in str(error):
                    raise MissingError(first_line(error)) from error
                raise
            eager = [tensor.double().cpu() for tensor in results(module, sets, weights)]
            error = max(relative(one, other, 2) for one, other in zip(ours, eager, strict=True))
            assert error <= bound, f"{name}: {error:.1e} > {bound:.1e} away from eager"
            largest = max(largest, error)
        count += 1
    torch._dynamo.reset()
    rest = "" if count == len(names) else ", no time for the others"
    return f"{count} of {len(MODULES)} modules by {backend}{rest}; largest error {largest:.1e}, allowed {bound:.1e}"


@contextlib.contextmanager
def silent() -> Iterator[io.StringIO]:
    """Collect what is printed in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
        yield printed


def train_here(folder: str, *arguments: str) -> tuple[int, str]:
    """Run train.py in this process, in a folder, and return its exit code and its last line."""
    before, code = sys.argv, 0
    sys.argv = [TRAIN, *arguments, "verbosity=0"]
    with silent() as printed, contextlib.chdir(folder):
        try:
            runpy.run_path(TRAIN, run_name="__main__")
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            sys.argv = before
    return code, last_line(printed.getvalue())


def run_here(place: Place, *overrides: str) -> Path:
    """Train in this process, and return the run folder."""
    folder = tempfile.mkdtemp(dir=place.folder)
    code, line = train_here(folder, *overrides)
    assert code == 0, f"train.py {' '.join(overrides)}: {line}"
    return the_run(folder)


def train_in_a_process(place: Place, *overrides: str) -> str:
    """Train in a process of its own, in a new folder, and return the folder."""
    folder = tempfile.mkdtemp(dir=place.folder)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, TRAIN, *overrides, "verbosity=0"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate()
        except BaseException:  # not ready in time, or Ctrl-C
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
            raise
    assert process.returncode == 0, f"train.py {' '.join(overrides)}: {last_line(printed)}"
    return folder


def the_run(folder: str) -> Path:
    (run,) = Path(folder).glob("outputs/*/*/*")
    return run


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")


def loss_of(run: Path) -> float:
    """Return the training loss of the last epoch of a finished run."""
    assert record(run)["status"] == "finished", record(run).get("error", "the run is not finished")
    return float(record(run)["last_metrics"]["train_loss"])


CHECKS: dict[str, Callable[[Place], str]] = {
    "set modules, fp32": partial(set_modules, torch.float32),
    "set modules, bf16": partial(set_modules, torch.bfloat16),
    "set modules, fp16": partial(set_modules, torch.float16),
    "patches and crops": same_patches,
    "data on the device": data_on_device,
    "resume, patch_set": partial(resumed, "patch_set"),
    "resume, set_transformer": partial(resumed, "set_transformer"),
    "resume, cnn": partial(resumed, "cnn"),
    "mixed precision": mixed_precision,
    "one rank": one_rank,
    "sweep by joblib": sweep,
    "torch.compile": compiled,
}
