"""CPU seconds of `python src/report.py` over 10,000 run folders, the start of Python and the drawing included.

Each record has the accuracy at four numbers of patches and the last epoch's metrics; every tenth run was evaluated.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import in_turn, row

REPORT = Path(__file__).parents[2] / "src" / "report.py"
RUNS = 10_000


def make_runs(outputs: Path) -> None:
    """Write run folders as train.py does: 100 a day, three seeds of each learning rate."""
    names = [f"{part}_{name}" for part in ("test", "train", "valid") for name in ("accuracy", "loss")]
    sizes = [f"test_accuracy/n={n}" for n in (1, 4, 16, 64)]
    for i in range(RUNS):
        day, second = divmod(i, 100)
        folder = (
            outputs
            / "Default"
            / f"2026-{1 + day // 28:02}-{1 + day % 28:02}"
            / f"09-{second // 60:02}-{second % 60:02}"
        )
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "source").mkdir()
        record = {
            "status": "finished" if i % 50 else "failed",
            "started": f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000+00:00",
            "seconds": 1.0 * i,
            "command": "python src/train.py " + "x" * 200,
            "experiment_name": "Default",
            "comment": f"the {i}th" if i % 7 == 0 else None,
            "settings": {"data": "digits", "hparams.lr": 1e-3 * (1 + i // 3), "hparams.seed": i % 3},
            "git": {"commit": "0" * 40, "dirty": False},
            "host": "bench",
            "versions": {f"package-{k}": "1.2.3" for k in range(6)},
            "metrics": dict.fromkeys(names + sizes, 1 / (1 + i)),
            "last_metrics": dict.fromkeys(names[2:], 1 / (1 + i)),
        }
        (folder / "run.json").write_text(json.dumps(record, indent=2))
        if i % 10 == 0:
            classes = {f"test_accuracy/class={k}": 0.5 for k in range(10)}
            evaluation = {"sizes": dict.fromkeys(sizes, 0.5), "per_class": classes, "confusion_matrix": [[9] * 10] * 10}
            (folder / "evaluation.json").write_text(json.dumps(evaluation, indent=2))


def seconds(folder: str, *words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, str(REPORT), *words], cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder, "outputs"))
        grouped = ("group=true", "sort=test_accuracy", "output=report.csv")
        figures = in_turn({"a list": lambda: seconds(folder), "groups": lambda: seconds(folder, *grouped)})
    for name, values in figures.items():
        values.sort()
        row(
            f"report.py, {RUNS:,} runs, {name}, CPU s",
            f"{values[2]:.2f} ({values[0]:.2f} to {values[-1]:.2f})",
            "goal <= 5",
        )
