"""List runs, compare their settings and metrics, average over seeds: `python src/report.py --help`.

It needs neither Hydra nor torch, so it starts at once.
"""

import sys
from dataclasses import replace
from pathlib import Path

from command import plain_command
from process.errors import UserError
from table.collect import RunRecord, known_as, main_metric, plain_name, read_runs, with_errors
from table.query import Query, describe_hidden, needs_errors, parse, select, why_none
from table.rows import AT_SIZE, Table, make_table, sizes_of
from table.terminal import show
from table.text import write

HELP = """\
List the runs under outputs/ and multirun/: status, comment, the settings in which they differ, metrics.

  python src/report.py [FOLDER ...] [FILTER ...] [all=true] [group=true] [sort=NAME] [top=N] [columns=NAME,...]
                       [curve=n | compare=SETTING [reference=VALUE]] [output=FILE ...]

== Which runs ==
  FOLDER          look there instead
  NAME=VALUE      with this setting (data, hparams.lr, ...), metric (test_accuracy, ...), status, comment, folder,
                  experiment_name, started, seconds, host, device, parameters; * and ? stand for any letters
  NAME!=VALUE     all but those
  'NAME>VALUE'    also >= < <=; in quotes, or the shell takes it for a file
  all=true        also the runs that are no results: debug=True, and those refused before they trained

== What to show ==
  group=true      runs that differ in seeds or folds alone become one: mean ± standard deviation (n - 1), and n
                  (of runs with the same seeds and fold too, the newest counts)
  sort=NAME       by a metric, the best first (of a loss or an error, the smallest), or by anything else; sort=-NAME
                  reverses. It is also the metric of figures, curves and comparisons (default: test_accuracy; if no
                  run has it, that of hparams.monitor in the test)
  top=N           the first N only
  columns=NAME,.. these metrics and facts, with * and ?, instead of the default metrics
  output=FILE     as a file too: .csv (all digits, all metrics), .md (Markdown), .tex (LaTeX, package booktabs, the best
                  in bold), .png .svg .pdf (a figure of the sorted metric)

== Metrics ==
  test_accuracy            metrics of the tested checkpoint, from run.json and from evaluation.json (src/evaluate.py)
  test_accuracy/n=16       with 16 patches per image, or sets of 16 elements
  test_accuracy/class=cat  of the images of a class; also test_f1/label=NAME, test_mae/count=3, test_mae/component=0
  last_valid_accuracy      of the last epoch
  test_error               1 - test_accuracy; also valid_, train_, and with /n= and /class=
The last four kinds are shown only if columns=, sort= or a filter names them, and in .csv (test_error: if named).

== Curves and comparisons ==
  curve=n         a metric against the number of patches: a table with a column for each, and as a figure a curve for
                  each run or group, mean ± standard deviation; sort=test_error draws the error rate
  compare=SETTING paired differences between its values over the seeds and folds that two values have in common, all
                  other settings equal; SETTING,SETTING compares combinations. n pairs, 95 % confidence interval
                  (Student's t), p of the paired t test with Holm's correction for all comparisons in the table. Fewer
                  than 3 pairs, or a corrected p of 0.05 or more, show no difference
  reference=VALUE compare with this value; the default is the best one, which flatters it a little

== Examples ==
  python src/report.py
  python src/report.py status=finished data=MNIST hparams.lr=0.01
  python src/report.py group=true sort=test_accuracy
  python src/report.py group=true sort=valid_loss top=20 output=report.md output=report.png
  python src/report.py 'started>2026-11-20' 'test_accuracy>=0.98' model!=cnn
  python src/report.py multirun/Default/2026-11-20/09-00-00 sort=test_accuracy
  python src/report.py group=true curve=n output=curve.pdf output=curve.tex
  python src/report.py compare=hparams.pool output=pools.tex
  python src/report.py group=true 'columns=test_accuracy/class=*,seconds'

A run whose process has vanished from this machine is `dead`, a folder without a readable run.json `damaged`. Groups
and comparisons count finished runs only. Through a pipe the table is plain and is not cut to the width.
"""


def main(words: list[str]) -> None:
    if {"-h", "--help"} & set(words):
        print(HELP, end="")
        return
    query = parse(words)
    folders = query.folders or [folder for folder in ("outputs", "multirun") if Path(folder).is_dir()]
    if not folders:
        raise UserError("no outputs/ or multirun/ here: name a folder with runs, or make one: python src/train.py")
    found = read_runs(folders)
    if needs_errors(query):
        found = [with_errors(run) for run in found]
    selected = select(found, query)
    hidden = [] if query.all else [run for run in selected if run.no_result]
    runs = [run for run in selected if query.all or not run.no_result]
    curve = curve_of(runs, query) if query.curve and runs else None
    table = comparison(runs, query) if query.compare and runs else listing(runs, query, curve)
    show(table)
    if hidden:
        print(describe_hidden(hidden), file=sys.stderr)
    elif not runs and (hint := why_none(found, query)):
        print(hint, file=sys.stderr)
    if warnings := [run.warning for run in found if run.warning]:
        print(warnings[0], f"(and {len(warnings) - 1:,} others)" * (len(warnings) > 1), file=sys.stderr)
    for path in query.outputs:
        is_whole = path.suffix == ".csv" and not (query.columns or curve or query.compare)
        written = listing(runs, replace(query, columns=["*"]), None) if is_whole else table
        notes = write(written, path, curve)
        print(f"written: {path}", *notes, sep="\n", file=sys.stderr)


def listing(runs: list[RunRecord], query: Query, curve: str | None) -> Table:
    """Return the table of runs or groups; with `curve`, of this metric at each number of patches, the best first."""
    columns, sort = query.columns, query.sort
    if curve is not None:
        columns = sizes_of(curve, runs)
        sort = columns[-1] if sort in (None, curve) else sort
    asked = [each.name for each in query.filters]
    return make_table(runs, query.group, sort, query.reverse, query.top, columns, asked)


def comparison(runs: list[RunRecord], query: Query) -> Table:
    """Return the table of paired differences. Raises a UserError without scipy."""
    try:
        from table.compare import compare
    except ImportError as error:
        raise UserError("compare= needs scipy: pip install scipy") from error
    table = compare(runs, query.compare, ranked_metric(runs, query), query.reference)
    return replace(table, rows=table.rows[: query.top])


def curve_of(runs: list[RunRecord], query: Query) -> str:
    """Return the metric of a curve. Raises a UserError if no run has it at several numbers of patches."""
    metric = ranked_metric(runs, query)
    at_size = AT_SIZE.fullmatch(metric)
    metric = at_size["metric"] if at_size else plain_name(metric)
    if len(sizes_of(metric, runs)) < 2:
        remedy = "measure it: python src/evaluate.py run=FOLDER 'sizes=[1,4,16,64]'"
        raise UserError(f"curve=n: no run has {metric} at several numbers of patches; {remedy}")
    return metric


def ranked_metric(runs: list[RunRecord], query: Query) -> str:
    """Return the metric of sort=, else the main one: test_accuracy, or what the runs watch."""
    measured = {name for run in runs for name in run.metrics}
    asked = known_as(query.sort or "", measured)
    return asked if asked in measured else main_metric(runs)


if __name__ == "__main__":
    plain_command.start(main)
