"""`make faults`: change the files of a real run at random, and read them as the commands and the page do.

Six readers: run.json, sweep.json, evaluation.json, metrics.csv, the YAML of the config, checkpoints. Each mutation is
read or refused in one line; any other exception, and more than 5 s of the processor, is a failure, which is repeated by
`--reader run.json --first 17 --number 1`.
"""

import argparse
import contextlib
import copy
import io
import itertools
import json
import logging
import math
import os
import random
import resource
import runpy
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf
from runs import REPOSITORY

import report
import rerun
import train
from command import arguments, cli
from command.trained_run import open_run, refuse_other_classes
from evaluation.measure import measure
from export import trained_commit
from logger.guarded import guard
from logger.metrics_csv import MetricsCSV
from logger.run_logger import RunLogger, read_rows
from process.errors import UserError
from process.files import write_json
from run import sweep_record
from run.folder import locked, read_run_json
from run.record import Run
from run.resume import changes, earlier_record, find_run
from settings import check
from table.collect import measured, read_evaluation

SECONDS = 5.0  # of the processor for one mutation
OPTIONS = ("data=digits", "data.limit_train=64", "model=cnn", "trainer=cpu", "loggers=none", "callbacks=[basic]")
QUERIES = (
    [],
    ["group=true", "sort=test_accuracy", "output=report.csv"],
    ["all=true", "columns=*", "output=report.md"],
    ["sort=seconds", "output=report.tex"],
    ["sort=-hparams.lr", "columns=test_accuracy/*,parameters,best_score,error"],
    ["group=true", "columns=seconds,test_accuracy/n=*,parameters"],
    ["test_accuracy>=0.1", "started>2000"],
    ["status=finished", "hparams.lr<1", "comment!=*x*"],
    ["curve=n", "output=report.csv"],
    ["compare=hparams.seed"],
    ["compare=hparams.lr"],
)
FIGURES = (["output=report.svg"], ["curve=n", "output=report.svg"])  # a tenth of the queries: they are slow


class Hang(BaseException):
    """The alarm of a mutation that does not end."""


class Started(Exception):  # noqa: N818
    """The training would start now."""


class Stop:
    """Callback that ends a training where it would start; a test is not reached."""

    def __new__(cls) -> Any:
        from pytorch_lightning import Callback

        class StopHere(Callback):
            def on_train_batch_start(self, *_: Any) -> None:
                raise Started

        return StopHere()


def deep(levels: int = 60) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


# makers of values that a file may hold in place of another
VALUES: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: -1,
    lambda: 0,
    lambda: 1e308,
    lambda: -1e308,
    lambda: 2**70,
    lambda: 10**299,
    lambda: 10**400,
    lambda: math.nan,
    lambda: math.inf,
    lambda: "",
    lambda: "nan",
    lambda: "日本\x1b[31m\n\0",
    lambda: "\ud800",
    lambda: "x" * 300_000,
    lambda: [],
    lambda: {},
    lambda: [None],
    lambda: [[1], {"a": [1.5]}],
    lambda: {"a": 1, "": {"b": None}},
    lambda: ["x"] * 20_000,
    deep,
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of every value in plain data; one that is there several times, or in itself, once."""
    found, waiting, seen = [], [node], set[int]()
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            if id(each) in seen:
                continue
            seen.add(id(each))
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else []
        found += [(each, key) for key in keys]
        waiting += [each[key] for key in keys]
    return found


def with_other_node(content: Any, rng: random.Random, values: Any = VALUES) -> Any:
    """Return a copy of plain data in which one to three values are replaced, removed, renamed or moved."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not (found := places(content)):
            break
        container, key = rng.choice(found)
        action = rng.random()
        if action < 0.7:
            container[key] = rng.choice(values)()
        elif action < 0.8:
            del container[key]
        elif action < 0.9:
            other, place = rng.choice(found)
            container[key] = copy.deepcopy(other[place])
        elif isinstance(container, dict):
            container[
                rng.choice(
                    ("status", "seconds", "x" * 30_000, "", "test_accuracy/n=0", "test_accuracy/n=" + "9" * 5000)
                )
            ] = container.pop(key)
    return content


def with_other_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return a file with flipped, lost, repeated or inserted parts, or of another encoding."""
    at, length = rng.randrange(len(content)), rng.choice((1, 4, 40, 400))
    match rng.randrange(12):
        case 0:
            return content[:at]
        case 1 | 2 | 3:
            flipped = bytearray(content)
            for _ in range(rng.choice((1, 2, 20))):
                flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            return bytes(flipped)
        case 4 | 5:
            return content[:at] + content[at + length :]
        case 6:
            return content[:at] + content[at : at + length] * rng.choice((2, 50)) + content[at:]
        case 7:
            words = (
                b"[",
                b"{" * 5000,
                b"-" * 300,
                b"9" * 5000,
                b"\xff",
                b"\0",
                b"NaN",
                b"-Infinity",
                b"'",
                b'"',
                b"\t",
                b",",
                b"1e9999",
            )
            return content[:at] + rng.choice(words) + content[at:]
        case 8:
            return rng.choice((b"", b"\n", b"null", b"[]", b"{}", b"3", b"[" * 100_000, b"\0" * 1000, b'"x"'))
        case 9:
            return b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
        case 10:
            return content.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "latin-1")), "replace")
        case _:
            lines = content.splitlines(keepends=True)
            rng.shuffle(lines)
            return b"".join(lines)


def json_of(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.4:
        return with_other_bytes(content, rng)
    text = json.dumps(
        with_other_node(json.loads(content), rng), indent=rng.choice((None, 2)), ensure_ascii=rng.random() < 0.5
    )
    if rng.random() < 0.1:  # duplicate names: the last one counts
        text = text[:-1].rstrip() + ', "status": "failed", "settings": {"data": "digits", "data": []}}'
    return text.encode("utf-8", "surrogatepass")


TRICKS = (
    "a0: &a0 [x, x]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)),
    "a0: &a0 {x: 1}\n" + "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)),
    "b: &b {c: *b}\n",
    "t: !!python/object/apply:os.system [exit]\n",
    "t: !!int ''\n",
    "t: !!binary x\n",
    "t: 2026-13-45\n",
    "t: 2026-01-01 00:00:00\n",
    "? {a: b}\n: c\n",
    "t: " + "9" * 10_000 + "\n",
    "t: 1" + ":59" * 20_000 + "\n",
    "\tt: 1\n",
    "t: ${oc.env:HOME}${a.${b}}${\n",
    "%YAML 9.9\n---\n",
    "- " * 3000 + "\n",
    "---\na: 1\n---\nb: 2\n",
)


def yaml_of(rng: random.Random, content: bytes) -> bytes:
    action = rng.random()
    if action < 0.4:
        return with_other_bytes(content, rng)
    if action < 0.6:
        lines = content.decode().splitlines(keepends=True)
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(TRICKS))
        return "".join(lines).encode()
    text = yaml.dump(with_other_node(yaml.safe_load(content), rng), Dumper=yaml.SafeDumper, allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


def csv_of(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.5:
        return with_other_bytes(content, rng)
    rows = [line.split(",") for line in content.decode().splitlines()]
    cells = (
        "",
        "nan",
        "inf",
        "-1",
        "1e999",
        "9" * 5000,
        "x",
        '"',
        '"a\nb"',
        "1,2",
        "\0",
        "1.5",
        "٣",
        "x" * 200_000,
        "1_0",
        " 3 ",
    )
    for _ in range(rng.choice((1, 2, 5))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(cells)
    return "\n".join(",".join(row) for row in rows).encode()


def tensors(rng: random.Random, like: Any) -> Any:
    """Return a tensor of another kind."""
    shape = like.shape if isinstance(like, torch.Tensor) else (3,)
    dense = torch.ones(shape)
    makers: tuple[Callable[[], Any], ...] = (
        lambda: dense.to_sparse(),
        lambda: dense.to("meta"),
        lambda: torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
        lambda: dense.to(torch.complex64),
        lambda: dense.to(torch.int64),
        lambda: dense.to(torch.bool),
        lambda: dense.to(torch.float8_e4m3fn),
        lambda: dense.to(torch.bfloat16),
        lambda: dense.to(torch.float64),
        lambda: dense * math.nan,
        lambda: torch.ones(()).expand(shape),
        lambda: torch.ones(()).expand((10**6, 10**6)),
        lambda: torch.ones(7),
        lambda: torch.ones(0),
        lambda: dense.unsqueeze(0).mT if dense.dim() else dense,
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.nn.Parameter(dense),
        lambda: dense.tolist(),
    )
    return rng.choice(makers)()


def checkpoint_of(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.15:
        return with_other_bytes(content, rng)
    whole = torch.load(io.BytesIO(content), weights_only=True)
    parts = [name for name in whole if name != "hyper_parameters"]
    for _ in range(rng.choice((1, 1, 2))):
        # as many mutations of each part as of the weights, which are most values
        part = rng.choice([name for name in parts if name in whole])
        found = [(whole, part), *(3 * places(whole[part]))]
        container, key = rng.choice(found)
        action = rng.random()
        if action < 0.1 and isinstance(container, dict):
            container.pop(key, None)
        elif action < 0.15 and isinstance(container, dict):
            container[rng.choice((3, None, "x", ("a",)))] = container.pop(key, None)
        elif action < 0.6 and isinstance(
            container.get(key) if isinstance(container, dict) else container[key], torch.Tensor
        ):
            container[key] = tensors(rng, container[key])
        elif action < 0.7:
            container[key] = tensors(rng, None)
        elif action < 0.73:
            shared: Any = [1, 2]
            for _ in range(30):
                shared = [shared] * 9
            container[key] = shared
        elif action < 0.75:
            circle: dict[str, Any] = {}
            circle["a"] = container[key] = circle
        else:
            container[key] = rng.choice(VALUES)()
    file = io.BytesIO()
    torch.save(whole, file)
    return file.getvalue()


class Readers:
    """The commands' ways to the files of one run, with the config of the run and without their output."""

    def __init__(self, folder: Path, sweep: Path) -> None:
        self.folder, self.sweep = folder, sweep
        self.config: Any = OmegaConf.load(folder / ".hydra" / "config.yaml")
        self.config.resume = str(folder)
        self.config.callbacks.stop = {"_target_": f"{__name__}.Stop"}
        check(self.config)
        self.config.run = str(folder)
        self.model = cli.build(self.config.model)

    def report(self, rng: random.Random) -> None:
        words = rng.choice(FIGURES if rng.random() < 0.02 else QUERIES)
        report.main([str(self.folder.parents[2]), *words])

    def record(self, rng: random.Random) -> None:
        refuse = [
            lambda: refuse_other_classes(self.folder, [str(digit) for digit in range(10)]),
            lambda: trained_commit(self.folder),
            lambda: open_run(self.folder, self.config, "best").class_names(),
            lambda: rerun.differences(self.folder, rerun.read_needed(self.folder)),
            lambda: earlier_record(self.folder),
            lambda: find_run("last"),
            self.resume,
        ]
        self.report(rng)
        rng.choice(refuse)()

    def resume(self) -> None:
        """Resume as train.py does, until the first batch."""
        texts = {"overrides": list(OPTIONS), "chosen": {"settings": {}, "composed": {"data": "digits", "model": "cnn"}}}
        config = self.config.copy()
        del config.run
        with contextlib.suppress(Started), Run(self.folder, config, **texts, relaunch=([], ""), check=check) as run:
            train.train(config, run)

    def evaluation(self, rng: random.Random) -> None:
        from explore.opened_run import OpenedRun
        from explore.test_set_views import recorded_accuracy

        self.report(rng)
        found = read_evaluation(str(self.folder))
        measured(found or {})
        recorded_accuracy(OpenedRun(self.folder, "", None, range((found or {}).get("images", 0) % 1000), []))

    def sweep_start(self, rng: random.Random) -> None:
        word = rng.choice((f"resume_sweep={self.sweep}", "resume_sweep=last"))
        found = arguments.resumed_sweep([word])
        sweep_record.latest_start(self.sweep)
        with contextlib.suppress(UserError), locked(self.sweep), locked(self.sweep):  # names the process
            pass
        assert found is not None
        sweep_record.write_start(*found)

    def metrics(self, rng: random.Random) -> None:
        from callback.median_stopping import read_curve

        path = self.folder / "metrics.csv"
        read_curve(path, rng.choice(("valid_loss", "valid_accuracy")), min)
        logger = MetricsCSV(str(self.folder))
        logger.load_state_dict({"rows": rng.choice((0, 3, 1000))})
        logger.log_metrics({"epoch": 3, "valid_loss": 0.5}, 30)

        class Recorder(RunLogger):
            def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:
                assert all(isinstance(value, float) for value in metrics.values())

        Recorder(str(self.folder)).resume_at(30)
        read_rows(path)
        guard([], [], 1.0, 1.0, str(self.folder), {}, images_only=True)

    def configs(self, rng: random.Random) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from explore.opened_run import read_config

        config = self.config.copy()
        open_run(self.folder, config, "best")
        for file in ("config.yaml", ".hydra/config.yaml"):
            for change in changes(self.folder, {"data": {"a": 1}}, file):
                str(change)
        overrides = arguments.recorded_overrides(self.folder, ["hparams.lr=0.1"])
        for override in overrides if sum(map(len, overrides)) < 20_000 else ():  # Hydra reads 1 MB in 3 s
            OverridesParser.create().parse_overrides([override])
        read_config(self.folder)

    def checkpoint(self, rng: random.Random) -> None:
        if rng.random() < 0.4:
            open_run(self.folder, self.config, "last").model("this reads", "network", "predict_step")
        else:
            self.resume()


def make_runs(scratch: Path) -> tuple[Path, Path]:
    """Train a small network, measure it, copy its folder, and make the folder of a sweep."""
    sys.argv = [str(REPOSITORY / "src" / "train.py"), *OPTIONS, "hparams.max_epochs=2", "verbosity=0"]
    runpy.run_path(sys.argv[0], run_name="__main__")
    logging.disable()
    (folder,) = (scratch / "outputs").glob("*/*/*")
    of_hydra = OmegaConf.load(folder / ".hydra" / "hydra.yaml").hydra
    OmegaConf.register_new_resolver("hydra", lambda name: OmegaConf.select(of_hydra, name), replace=True)
    for seed in (1, 2):  # for groups and comparisons
        other = folder.with_name(f"0{seed}-00-00")
        shutil.copytree(folder, other, ignore=shutil.ignore_patterns("source"))
        record = read_run_json(other)
        record["settings"] |= {"hparams.seed": seed, "hparams.lr": 0.1 / seed}
        record["metrics"] |= {f"test_accuracy/n={n}": 0.1 * n for n in (1, 4, 8)}
        write_json(other / "run.json", record)
    config: Any = OmegaConf.load(folder / ".hydra" / "config.yaml")
    run = open_run(folder, config, "best")
    result = measure(run, run.model("this measures", "network", "test_step", "test_logits"), run.test_data(), [])
    sizes = {"sizes": {f"test_accuracy/n={n}": 0.1 * n for n in (1, 4, 8)}}
    write_json(folder / "evaluation.json", {"checkpoint": str(run.checkpoint), **result, **sizes})
    sweep = scratch / "multirun" / "Default" / "2026-11-20" / "09-00-00"
    (sweep / "source" / "src" / "sweep").mkdir(parents=True)
    (sweep / "source" / "src" / "sweep" / "callback.py").touch()
    sweep_record.write_start(sweep, ["data=digits", "hparams.lr=0.1,0.2", "-m"])
    sweep_record.write_start(sweep, [])
    return folder, sweep


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(read: Callable[[random.Random], None], rng: random.Random) -> str | None:
    """Read once; return None if the content was taken, `refused`, or what is wrong."""
    screen = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # strict, as a terminal
    began = time.process_time()
    try:
        with alarm(12 * SECONDS), contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
            read(rng)
            screen.flush()
        found = None
    except Hang:
        return "hang: " + traceback.format_exc(limit=-4)
    except Exception as error:
        line = cli._user_error(error)
        if line is None:
            return "traceback: " + traceback.format_exc()
        if "\n" in line or len(line) > 30_000 or (not line.isascii() and not line.encode("utf-8", "backslashreplace")):
            return f"more than one line: {line[:2000]}"
        found = "refused"
    if (seconds := time.process_time() - began) > SECONDS:
        return f"hang: {seconds:.1f} s"
    return found


def fuzz(
    name: str, path: Path, mutate: Any, read: Any, numbers: range, seed: int, restore: Path, minutes: float
) -> int:
    """Try the mutations of one file, or those for which there is time; print a line, and each failure; count these."""
    until = time.monotonic() + 60 * minutes
    content, counts, slowest = path.read_bytes(), {"read": 0, "refused": 0, "traceback": 0, "hang": 0, "more": 0}, 0.0
    for number in numbers:
        if time.monotonic() > until:
            break
        rng = random.Random(f"{seed} {name} {number}")
        mutated = mutate(rng, content)
        path.write_bytes(mutated)
        began = time.process_time()
        found = attempt(read, rng)
        slowest = max(slowest, time.process_time() - began)
        kind = "read" if found is None else found.split(":")[0].split(" ")[0]
        counts[kind] += 1
        if found not in (None, "refused"):
            print(f"{name}, --seed {seed} --first {number}: {found}", flush=True)
        for file in ("run.json", "metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
            shutil.copy2(restore / file, path_of_run(path, restore) / file)
    path.write_bytes(content)
    print(
        f"{name}: {sum(counts.values()):,} tried, {counts['read']:,} read, {counts['refused']:,} refused in one line, "
        f"{counts['traceback'] + counts['more']} tracebacks, {counts['hang']} hangs, slowest {slowest:.1f} s",
        flush=True,
    )
    return counts["traceback"] + counts["hang"] + counts["more"]


def path_of_run(path: Path, restore: Path) -> Path:
    """Return the folder of the run that was copied to `restore`."""
    return Path((restore / "place").read_text(encoding="utf-8"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", nargs="+", metavar="FILE", help="some of the readers, by their names")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which each reader ends")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    sys.argv[1:] = []
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        cli.register_resolvers()
        folder, sweep = make_runs(Path(scratch))
        restore = Path(scratch, "restore")
        shutil.copytree(folder, restore)
        (restore / "place").write_text(str(folder), encoding="utf-8")
        readers = Readers(folder, sweep)
        yamls = itertools.cycle(("config.yaml", ".hydra/config.yaml", ".hydra/overrides.yaml"))
        third = options.number // 3
        parts: list[tuple[str, Path, Any, Any, int]] = [
            ("run.json", folder / "run.json", json_of, readers.record, options.number),
            ("sweep.json", sweep / "sweep.json", json_of, readers.sweep_start, options.number),
            ("evaluation.json", folder / "evaluation.json", json_of, readers.evaluation, options.number),
            ("metrics.csv", folder / "metrics.csv", csv_of, readers.metrics, options.number),
            *(
                (file, folder / file, yaml_of, readers.configs, third + (k < options.number % 3))
                for k, file in zip(range(3), yamls, strict=False)
            ),
            ("checkpoint", folder / "checkpoints" / "last.ckpt", checkpoint_of, readers.checkpoint, options.number),
        ]
        for name, path, mutate, read, number in parts:
            if options.reader is None or name in options.reader:
                numbers = range(options.first, options.first + number)
                failures += fuzz(name, path, mutate, read, numbers, options.seed, restore, options.minutes)
        os.chdir("/")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GiB")
    return 1 if failures or peak > 4 else 0


if __name__ == "__main__":
    sys.exit(main())
