"""`make faults`: compare runs that SIGKILL ends and resume=last continues with uninterrupted runs.

Every network with 0 and 2 workers, as real processes; weights and metrics.csv must be the same bit for bit. About half
of the kills come at a random batch, from within; the others at a random time, from outside: wherever the process is.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from pathlib import Path

import torch
from place import KILLED, Batch, Place
from resumed import SAVING, SHORT
from runs import REPOSITORY, record

NETWORKS = sorted(path.stem for path in (REPOSITORY / "config" / "model").glob("*.yaml"))
WORKERS = (0, 2)
OPTIONS = (*SHORT, *SAVING, "data.crop_padding=1", "hparams.patience=1", "loggers=none")
AT_ONCE = 2


def compare(network: str, workers: int, kills: int, seed: int, scratch: Path) -> tuple[list[str], list[str]]:
    """Return where the kills came and the differences that they made, both in words."""
    rng = random.Random(f"{seed} {network} {workers}")
    options = (*OPTIONS, f"model={network}", f"data.num_workers={workers}")
    whole = Place(scratch / "whole", *options)
    began = time.monotonic()
    if code := whole.start():
        return [], [f"exit code {code} without a kill"]
    seconds = time.monotonic() - began
    imports = seconds - record(whole.run)["seconds"]  # before the run begins, when a kill proves nothing
    came: list[str] = []
    for number in count():  # where a run ends before all kills have come, the others are for another one
        place = Place(scratch / f"killed-{number}", *options)
        code = KILLED
        while code == KILLED and not place.finished:
            if len(came) == kills:
                code = place.start()
            elif rng.random() < 0.5:
                during, batch = random_batch(rng, whole.steps - place.steps)
                code = place.start((during, batch))
                came += [f"{during} {batch}"] if code == KILLED else []
            else:
                after = rng.uniform(imports, seconds)
                code = place.start(seconds=after)
                came += [f"{after:.1f} s"] if code == KILLED else []
        found = differences(whole.run, place.run) if place.finished else [f"exit code {code}: see terminal.log"]
        if found or len(came) == kills:
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
    parser.add_argument("--kills", type=int, default=50, help="in all, spread evenly (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    arguments = parser.parse_args()
    if unknown := set(arguments.networks) - set(NETWORKS):
        parser.error(f"no network {', '.join(sorted(unknown))}: choose from {', '.join(NETWORKS)}")
    if arguments.kills < 1:
        parser.error(f"--kills={arguments.kills}: choose >= 1")

    pairs = [(network, workers) for network in arguments.networks or NETWORKS for workers in WORKERS]
    # 50 over 22 pairs: 2, 2, 2, 3, ...; a pair without a kill is left out
    ends = [arguments.kills * i // len(pairs) for i in range(len(pairs) + 1)]
    shares = [end - begin for begin, end in pairwise(ends)]
    combinations = [(*pair, kills) for pair, kills in zip(pairs, shares, strict=True) if kills]
    scratch = Path(tempfile.mkdtemp(prefix="kills-"))

    def one(combination: tuple[str, int, int]) -> tuple[list[str], list[str]]:
        network, workers, kills = combination
        folder = scratch / f"{network}-{workers}"
        folder.mkdir()
        came, found = compare(network, workers, kills, arguments.seed, folder)
        if not found:
            shutil.rmtree(folder)
        return came, found

    began, total, differing = time.monotonic(), 0, 0
    print(f"{'network':<16}{'workers':>8}{'kills':>6}  {'result':<8} killed at (batches count from 0 in each process)")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for (network, workers, _), (came, found) in zip(combinations, pool.map(one, combinations), strict=True):
            result = "DIFFERS" if found else "equal"
            print(f"{network:<16}{workers:>8}{len(came):>6}  {result:<8} {', '.join(came)}", flush=True)
            for what in found:
                print(f"  differs: {what} (kept: {scratch / f'{network}-{workers}'})", flush=True)
            total += len(came)
            differing += bool(found)
    if not differing:
        scratch.rmdir()
    minutes = (time.monotonic() - began) / 60
    print(f"{total} kills, {len(combinations)} combinations, {differing} differ, {minutes:.0f} minutes")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
