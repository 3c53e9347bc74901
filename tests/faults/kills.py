"""A part of `make faults`: compare runs that SIGKILL ends and resume=last continues with uninterrupted runs.

Every network with every choice of loggers, with 0 or 2 workers, as real processes; weights and metrics.csv must be the
same bit for bit as those of a run without loggers. About half of the kills come at a random batch, from within; the
others at a random time, from outside: wherever the process is.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, pairwise, product
from pathlib import Path

import torch
from place import KILLED, Batch, Place
from resumed import SAVING, SHORT
from runs import REPOSITORY, record

from logger.mlflow import Store

NETWORKS = sorted(path.stem for path in (REPOSITORY / "config" / "model").glob("*.yaml"))
HOSTED = ("wandb", "neptune")  # loggers that need an account, unless they write files to upload later
EACH = sorted(
    path.stem for path in (REPOSITORY / "config" / "loggers").glob("*.yaml") if path.stem not in ("csv", "none")
)
LOGGERS = ("none", *EACH, ",".join(EACH))
WORKERS = (0, 2)
OPTIONS = (*SHORT, *SAVING, "data.crop_padding=1", "hparams.patience=1")
AT_ONCE = 2


@dataclass(frozen=True)
class Trial:
    """Kills of the runs of one network with some loggers and DataLoader workers."""

    network: str
    loggers: str
    workers: int
    kills: int

    def options(self, loggers: str) -> list[str]:
        offline = [f"loggers.{name}.mode=offline" for name in HOSTED if name in loggers.split(",")]
        written = loggers if loggers == "none" else f"[{loggers}]"
        return [*OPTIONS, f"model={self.network}", f"data.num_workers={self.workers}", f"loggers={written}", *offline]


class Whole:
    """An uninterrupted run and how long it took; before it begins, during `imports`, a kill proves nothing."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.place, began = Place(folder, *options), time.monotonic()
        self.code = self.place.start()
        self.seconds = time.monotonic() - began
        self.imports = self.seconds - record(self.place.run)["seconds"] if self.place.run else 0.0


def compare(trial: Trial, whole: Whole, seed: int, scratch: Path) -> tuple[list[str], list[str]]:
    """Return where the kills came and the differences that they made, both in words."""
    if whole.code:
        return [], [f"exit code {whole.code} without a kill"]
    rng = random.Random(f"{seed} {trial}")
    came: list[str] = []
    for number in count():  # where a run ends before all kills have come, the others are for another one
        place = Place(scratch / f"killed-{number}", *trial.options(trial.loggers))
        code = KILLED
        while code == KILLED and not place.finished:
            if len(came) == trial.kills:
                code = place.start()
            elif rng.random() < 0.5:
                during, batch = random_batch(rng, whole.place.steps - place.steps)
                code = place.start((during, batch))
                came += [f"{during} {batch}"] if code == KILLED else []
            else:
                after = rng.uniform(whole.imports, 1.25 * whole.seconds)  # loggers make a run longer
                code = place.start(seconds=after)
                came += [f"{after:.1f} s"] if code == KILLED else []
        found = differences(whole.place.run, place.run) if place.finished else [f"exit code {code}: see terminal.log"]
        if found or len(came) == trial.kills:
            return came, found


def random_batch(rng: random.Random, steps: int) -> Batch:
    """Return a batch that occurs if `steps` are left to train; an epoch validates 5 batches, the test has 6."""
    during = rng.choices(("train", "validation", "test"), (4, 1, 1))[0] if steps > 0 else "test"
    return during, rng.randrange({"train": steps, "validation": 5, "test": 6}[during])


def differences(whole: Path, killed: Path) -> list[str]:
    """Return the differences between the two runs in words, empty if there are none."""
    found = []
    if (whole / "metrics.csv").read_bytes() != (killed / "metrics.csv").read_bytes():
        found.append("metrics.csv")
    for name in ("last.ckpt", "best.ckpt"):
        mine, theirs = (
            torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"] for run in (whole, killed)
        )
        if differing := [key for key in mine if not torch.equal(mine[key], theirs[key])]:
            found.append(f"{len(differing)} of {len(mine)} weights in {name}")
    mine, theirs = record(whole), record(killed)
    found += [
        f"{key} in run.json"
        for key in ("metrics", "last_metrics", "best_score", "best_epoch", "lr")
        if mine[key] != theirs[key]
    ]
    if any(part["changes"] for part in theirs.get("resumed", [])):
        found.append("settings, though none was changed")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"which of {', '.join(NETWORKS)} (default: all)")
    parser.add_argument("--kills", type=int, default=24, help="in all, spread evenly (default: 24)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    arguments = parser.parse_args()
    if unknown := set(arguments.networks) - set(NETWORKS):
        parser.error(f"no network {', '.join(sorted(unknown))}: choose from {', '.join(NETWORKS)}")
    if arguments.kills < 1:
        parser.error(f"--kills={arguments.kills}: choose >= 1")

    pairs = list(product(arguments.networks or NETWORKS, LOGGERS))
    # 24 over 72 pairs: 0, 0, 1, ...; a pair without a kill is left out
    ends = [arguments.kills * i // len(pairs) for i in range(len(pairs) + 1)]
    trials = [
        Trial(network, loggers, WORKERS[number % 2], end - begin)
        for number, ((network, loggers), (begin, end)) in enumerate(zip(pairs, pairwise(ends), strict=True))
        if end > begin
    ]
    scratch = Path(tempfile.mkdtemp(prefix="kills-"))
    os.environ["MLFLOW_TRACKING_URI"] = (store := Store(scratch / "mlruns")).uri
    store.prepare()

    def of_network(network: str) -> list[tuple[Trial, list[str], list[str]]]:
        wholes: dict[int, Whole] = {}  # by the number of workers: loggers change no number
        results = []
        for trial in (trial for trial in trials if trial.network == network):
            folder = scratch / f"{network}-{trial.loggers}-{trial.workers}"
            if trial.workers not in wholes:
                place = scratch / f"{network}-whole-{trial.workers}"
                wholes[trial.workers] = Whole(place, trial.options("none"))
            folder.mkdir()
            came, found = compare(trial, wholes[trial.workers], arguments.seed, folder)
            if not found:
                shutil.rmtree(folder)
            results.append((trial, came, found))
        return results

    began, total, differing = time.monotonic(), 0, 0
    print(f"{'network':<16}{'loggers':<36}{'workers':>8}{'kills':>6}  {'result':<8} killed at (batches per process)")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        networks = list(dict.fromkeys(trial.network for trial in trials))
        for trial, came, found in chain.from_iterable(pool.map(of_network, networks)):
            words = f"{trial.network:<16}{trial.loggers:<36}{trial.workers:>8}{len(came):>6}"
            print(f"{words}  {'DIFFERS' if found else 'equal':<8} {', '.join(came)}", flush=True)
            for what in found:
                print(f"  differs: {what} (kept: {scratch})", flush=True)
            total += len(came)
            differing += bool(found)
    if not differing:
        shutil.rmtree(scratch)
    minutes = (time.monotonic() - began) / 60
    print(f"{total} kills, {len(trials)} combinations, {differing} differ, {minutes:.0f} minutes")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
