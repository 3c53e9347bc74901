"""The end of a sweep: a table of its jobs, the best first, and why the others failed."""

import sys
from dataclasses import replace

from sweep.progress import FAILED, Progress, reason, shown
from table.rows import is_lower_better, is_repeat, make_table
from table.terminal import show


def print_table(progress: Progress) -> None:
    """Sorted by the best value of hparams.monitor; what failed is last, with its reason below."""
    best = f"best {progress.monitor}"
    runs = []
    for job, run in sorted(progress.runs.items()):
        score = run.facts.get("best_score")
        metrics = run.metrics if score is None else {best: score, **run.metrics}
        facts = {name: value for name, value in run.facts.items() if name != "error"}
        runs.append(replace(run, facts={**facts, "folder": str(job)}, metrics=metrics))
    show(make_table(runs, sort=best, reverse=(progress.mode == "max") == is_lower_better(best, runs)))
    failures: dict[str, list[str]] = {}
    for job, run in sorted(progress.runs.items()):
        if run.facts["status"] in FAILED:
            failures.setdefault(reason(run), []).append(f"#{job}")
    for why, jobs in failures.items():
        print(f"{', '.join(jobs)} failed: {why}", file=sys.stderr)
    folder = shown(progress.folder)
    if any(is_repeat(name) for name in progress.varied) and progress.finished > 1:
        print(f"mean ± std over seeds and folds: python src/report.py {folder} group=true", file=sys.stderr)
