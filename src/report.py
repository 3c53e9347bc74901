"""List runs, compare their settings and metrics, average over seeds: `python src/report.py --help`.

It needs neither Hydra nor torch, so it starts at once.
"""

import sys
from pathlib import Path

from command import plain_command
from process.errors import UserError
from table.collect import read_runs
from table.files import write
from table.query import describe_hidden, parse, select, why_none
from table.rows import make_table
from table.terminal import show

HELP = """\
List the runs under outputs/ and multirun/: status, comment, the settings in which they differ, metrics.

  python src/report.py [FOLDER ...] [FILTER ...] [all=true] [group=true] [sort=NAME] [top=N] [output=FILE ...]

== Which runs ==
  FOLDER          look there instead
  NAME=VALUE      with this setting (data, hparams.lr, ...), metric (test_accuracy, ...), status, comment, folder,
                  experiment_name, started, seconds, host, device, parameters; * and ? stand for any letters
  NAME!=VALUE     all but those
  'NAME>VALUE'    also >= < <=; in quotes, or the shell takes it for a file
  all=true        also the runs that are no results: debug=True, and those refused before they trained

== What to show ==
  group=true      runs that differ in seeds or folds alone become one: mean ± standard deviation (n - 1), and n
  sort=NAME       by a metric, the best first (of a loss, the smallest), or by anything else; sort=-NAME reverses
  top=N           the first N only
  output=FILE     as a file too: .csv (all digits), .md (Markdown), .png .svg .pdf (a figure of the sorted metric)

== Examples ==
  python src/report.py
  python src/report.py status=finished data=MNIST hparams.lr=0.01
  python src/report.py group=true sort=test_accuracy
  python src/report.py group=true sort=valid_loss top=20 output=report.md output=report.png
  python src/report.py 'started>2026-11-20' 'test_accuracy>=0.98' model!=cnn
  python src/report.py multirun/Default/2026-11-20/09-00-00 sort=test_accuracy
  python src/report.py status=damaged

A run whose process has vanished from this machine is `dead`, a folder without a readable run.json `damaged`. Groups
count finished runs only. Through a pipe the table is plain and has all its columns.
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
    selected = select(found, query)
    hidden = [] if query.all else [run for run in selected if run.no_result]
    runs = [run for run in selected if query.all or not run.no_result]
    table = make_table(runs, query.group, query.sort, query.reverse, query.top)
    show(table)
    if hidden:
        print(describe_hidden(hidden), file=sys.stderr)
    elif not runs and (hint := why_none(found, query)):
        print(hint, file=sys.stderr)
    for path in query.outputs:
        write(table, path)
        print(f"written: {path}", file=sys.stderr)


if __name__ == "__main__":
    plain_command.start(main)
