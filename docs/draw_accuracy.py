"""Print a table of accuracy by the number of patches and draw it: mean ± std over the seeds of each kind of run.

PYTHONPATH=src python docs/draw_accuracy.py --output docs/accuracy.png RUN_FOLDER ...
(RUN_FOLDER needs an evaluation.json, which `python src/evaluate.py run=RUN_FOLDER 'sizes=[1,4,8,16,32,64,128]'` writes)
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

import matplotlib
from matplotlib import pyplot

Curves = dict[str, dict[int, list[float]]]  # kind of run -> number of patches -> accuracy of each seed


NOT_A_KIND = ("hparams.seed", "comment", "experiment_name")


def text(value: object) -> str:
    """Return the value as it is written on the command line."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def gather(folders: list[Path]) -> Curves:
    """Return the accuracies of each kind of run, named by the settings that differ between kinds.

    Two runs are of one kind if they differ only in the seed.
    """
    settings, sizes = [], []
    for folder in folders:
        chosen = json.loads((folder / "run.json").read_text())["settings"]
        settings.append({name: text(value) for name, value in chosen.items() if name not in NOT_A_KIND})
        sizes.append(json.loads((folder / "evaluation.json").read_text())["sizes"])
    shared = set.intersection(*(set(each.items()) for each in settings))
    curves: Curves = defaultdict(lambda: defaultdict(list))
    for each, accuracies in zip(settings, sizes, strict=True):
        kind = " ".join(f"{name}={value}" for name, value in each.items() if (name, value) not in shared)
        for name, accuracy in accuracies.items():
            curves[kind or "default"][int(name.partition("n=")[2])].append(accuracy)
    return curves


def table(curves: Curves) -> str:
    """Return a Markdown table, the most accurate kind at the largest number of patches first."""
    numbers = sorted({number for curve in curves.values() for number in curve})
    for kind, curve in curves.items():
        if sorted(curve) != numbers:
            raise SystemExit(f"{kind}: evaluated at {sorted(curve)}, others at {numbers}: make them the same")
    lines = ["| patches | " + " | ".join(map(str, numbers)) + " | n |", "| --- " * (len(numbers) + 2) + "|"]
    for kind, curve in sorted(curves.items(), key=lambda item: -mean(item[1][numbers[-1]])):
        cells = [f"{mean(a):.4f}" + (f" ± {stdev(a):.4f}" if len(a) > 1 else "") for _, a in sorted(curve.items())]
        lines.append(f"| `{kind}` | " + " | ".join(cells) + f" | {len(curve[numbers[-1]])} |")
    return "\n".join(lines)


def draw(curves: Curves, output: Path) -> None:
    figure, axis = pyplot.subplots(figsize=(9, 5))
    for place, (kind, curve) in enumerate(sorted(curves.items(), key=lambda item: -mean(item[1][max(item[1])]))):
        numbers = sorted(curve)
        errors = [100 * (1 - mean(curve[number])) for number in numbers]
        spread = [100 * stdev(curve[number]) if len(curve[number]) > 1 else 0 for number in numbers]
        axis.errorbar(numbers, errors, spread, capsize=2, label=kind, linestyle=("-", "--", ":")[place // 10 % 3])
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(numbers, map(str, numbers))
    axis.set_xlabel("patches")
    axis.set_ylabel("test error, %")
    axis.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize="small", bbox_to_anchor=(1, 1), loc="upper left")
    figure.savefig(output, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_FOLDER")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    found = gather(arguments.runs)
    print(table(found))
    draw(found, arguments.output)
