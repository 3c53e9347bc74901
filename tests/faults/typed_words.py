"""Command lines and settings files as nobody should type them: real names with wrong values, and damaged real words."""

import random
from pathlib import Path

import settings
from command.hints import CONFIG

Line = tuple[str, list[str]]  # a command of src/, and the words after it

GROUPS = {
    str(folder.relative_to(CONFIG)): sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in sorted(CONFIG.rglob("*"))
    if folder.is_dir()
}
# fmt: off
HYDRAS = (
    "hydra.verbose", "hydra.mode", "hydra.job.name", "hydra.job.chdir", "hydra.job.num", "hydra.job.env_set.X",
    "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir", "hydra.searchpath",
    "hydra.launcher.n_jobs", "hydra.sweeper.n_trials", "hydra.sweeper.params", "hydra.callbacks", "hydra.help",
    "hydra.job_logging", "hydra.job_logging.root.level", "hydra.callbacks.sweep", "hydra.runtime.output_dir",
)
# fmt: on
NAMES = (*settings.ROWS, *HYDRAS, "model.network", "model.network.pool", "loggers.csv", "callbacks.best", "callbacks.x")
PLAIN_NAMES = [name for name, row in settings.ROWS.items() if not row.optional and not row.before_hydra]
# fmt: off
WORDS = (
    "null", "true", "False", "yes", "a",
    "mnist", "best", "last", "none", "auto", "日本語", "🙂", "ab" * 200, "x/" * 3000,
)
NUMBERS = (
    "0", "-1", "1", "3.5", "1e-3", "1e400", "-1e400", "nan", "inf", "1_000", "0x1F", "00", "9" * 400, "9" * 5000,
)
LISTS = (
    "[]", "[[[]]]", "[", "]", "[,]", "[1,]", "[1,2]", "[a,[b,{c:d}]]", "[null]", "[true,1.5,x]",
    "[" * 400 + "]" * 400, "{}", "{", "{a}", "{a:1}", "{a:{b:[]}}", "{_target_:os.getcwd}", "{_target_:1}", "{1:2}",
    "{a:1,a:2}", "{null:1}", "{a:" * 300 + "1" + "}" * 300,
)
REFERENCES = (
    "${x}", "${hparams.lr}", "${hparams}", "${.lr}", "${..}", "${.}", "${}", "${", "$", "\\${x}", "${a.b", "x${x}y",
    "${oc.env:HOME}", "${oc.env:NO_SUCH_NAME}", "${oc.decode:'['}", "${oc.select:x}", "${oc.create:[]}", "${oc.env:}",
    "${call:os.getcwd}", "${call:nothing.at.all}", "${call:}", "${call:os.getcwd,1}", "${nothing:1}", "${checked:1}",
    "${run_folder:a,b,c}", "${run_folder:}", "${tensor_weights:1}", "${mixed_sizes:1}", "${short_options:1}",
    "${hydra:}", "${hydra:runtime.output_dir}", "${hydra:x.y}", "${${x}}", "${now:%Y}", "${now:}", "${comment}",
    "${data}", "${model}",
)
SWEPT = (
    "1,2", "a,b", ",", "1,,2", "[a],[b]", "range(1,4)", "range(1)", "range(0,1000000000)", "range(0,1,0)",
    "range(a,b)", "choice(a,b)", "choice()", "interval(0,1)", "interval(1,0)", "interval(a,b)", "glob(*)",
    "glob([a*,m*],exclude=x)", "sort(3,2)", "sort([1,a])", "shuffle(1,2)", "int(3.5)", "int(a)", "float([1])",
    "str([1])", "bool(a)", "json_str({a:1})", "extend_list(1)", "tag(a,choice(1,2))", "nothing(1)", "cast(int,a)",
    "shuffle(range(0,100000000))",
)
TEXTS = (
    "", "'", '"', "'a", "'a'b", '"a b"', "'${x}'", "a b", "a=b", "=", "==", ":", "a:b", "@", "/", "..", "../..", "*",
    "~", "--", "-", "\\", "a\\,b", "%", "%(x)s", "#", "!", "$(date)", "`id`", ";", "|", "&", "?", "(", ")", "<", ">",
    "\x1b[31mred", "a\rb", "a\nb", "\t", "\u2028", "\x85", "\x7f", "\udcff", "\u202eabc", "\ufeff", "a\x00b",
    "../given/run", "../given/sweep", "../given/nowhere", "../given/configs", "../given", "../given/broken.yaml",
)
# fmt: on
KINDS = (WORDS, NUMBERS, LISTS, REFERENCES, SWEPT, TEXTS)
# fmt: off
PACKAGES = (
    "", "", "", "@", "@x", "@_global_", "@_group_", "@hparams", "@x:y", "@:", "@model.network", "@_here_", "@a@b",
)
FLAGS = (
    "--cfg", "-c", "--info", "-i", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir",
    "-cd", "--run", "-r", "--multirun", "-m", "-m", "-m", "--help", "-h", "--hydra-help", "--version", "--resolve",
    "--shell-completion", "-sc", "--experimental-rerun", "--lr", "--bs", "--epochs", "--device", "--resume", "-c",
    "--", "-", "-x", "--l", "--batch_size", "--conf", "-mm", "-cmjob", "--trainer", "-1", "--9", "--\uff4c\uff52",
)
ARGUMENTS = (
    "job", "hydra", "all", "defaults", "config", "searchpath", "plugins", "defaults-tree", "install=bash", "x",
    "last", "hparams", "x.y", "predict", "experiment/mnist_fast", "data/digits", "broken", "../given/configs", "2,3",
    "",
)
REPORTS = (
    "all=true", "group=true", "sort=test_accuracy", "sort=-data", "top=1", "columns=*", "curve=n", "compare=data",
    "output=a.csv", "output=a.md", "output=a.tex", "output=/nowhere/a.csv", "output=.csv", "reference=1", "../given",
    "data=*", "test_accuracy>0.5", "test_accuracy>x", "started<2026", "hparams.lr!=0.1", "status=dead", "folder=[!a]",
)
REAL = (
    "data=digits", "model=cnn", "model/pool=attention", "hparams.lr=0.1", "experiment=mnist_fast", "trainer=cpu",
    "-m", "hparams.batch_size=16,64", "loggers=none", "loggers=[tensorboard,mlflow]", "+callbacks=histograms",
    "scheduler=step", "hparams_search=tpe", "hparams.pool=[mean,max]", "+optimizer.momentum=0.9", "~callbacks.best",
    "debug=True", "comment=a b", "tags=[a,b]", "resume=last", "init_from=../given/run", "resume_sweep=../given/sweep",
    "data.fold=1", "settings_file=../given/settings.yaml", "hydra/launcher=joblib", "hydra.sweeper.n_trials=3",
    "hydra.run.dir=here",
)
# fmt: on


def command_line(rng: random.Random) -> Line:
    """Return a command and one to five words."""
    command = rng.choices(*zip(*COMMANDS.items(), strict=True))[0]
    if command in ("train", "data_summary", "complete") and rng.random() < 0.5:
        return command, [*rng.sample(REAL, rng.choice((0, 1, 1, 2))), _almost_right(rng)]
    words = [_word(rng, command) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5)))]
    if command in ("predict", "evaluate", "export", "visualize") and rng.random() < 0.7:
        words.insert(0, "run=../given/run")
    if command == "predict" and rng.random() < 0.7:
        words.append("input=../given")
    if command == "rerun" and rng.random() < 0.7:
        words.insert(0, "../given/run")
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        words = _damaged(rng, words)
    return command, [word.replace("\0", "") for word in words]  # no shell can pass that byte


COMMANDS = {"train": 50, "predict": 7, "evaluate": 8, "export": 4, "visualize": 5, "data_summary": 5, "report": 9}
COMMANDS |= {"start": 1, "rerun": 3, "new_project": 3, "complete": 6}


def _almost_right(rng: random.Random) -> str:
    """Return a word that Hydra's grammar reads: a real name, and a value of any type."""
    value = _value(rng).replace("\0", "")
    if rng.random() < 0.4:
        value = settings.quoted(value)
    if rng.random() < 0.2:
        return f"{rng.choice([*GROUPS])}={value}"
    name = rng.choice((*PLAIN_NAMES, *HYDRAS))
    return rng.choice(("", "", "", "++", "+x.")) + f"{name}={value}"


def _word(rng: random.Random, command: str) -> str:
    if command == "report" and rng.random() < 0.6:
        return rng.choice(REPORTS)
    if command in ("start", "new_project") and rng.random() < 0.8:
        return _value(rng)
    match rng.choices(("setting", "group", "flag", "real"), (45, 20, 13, 22))[0]:
        case "setting":
            sign = rng.choices(("", "+", "++", "~", "+++", "-", "~~"), (70, 10, 8, 8, 1, 1, 1))[0]
            equals = rng.choices(("=", "", "==", " = ", ":"), (92, 3, 2, 1, 1))[0]
            return sign + rng.choice(NAMES) + equals + _value(rng)
        case "group":
            group = rng.choice([*GROUPS])
            options = GROUPS[group] or ["none"]
            chosen = rng.choices(
                (rng.choice(options), f"[{','.join(options)}]", ",".join(options), _value(rng)), (4, 1, 1, 4)
            )
            sign = rng.choices(("", "+", "~", "override "), (80, 10, 9, 1))[0]
            return f"{sign}{group}{rng.choice(PACKAGES)}={chosen[0]}"
        case "flag":
            return rng.choice(FLAGS) + rng.choice(("", "", "=" + rng.choice(ARGUMENTS)))
    return rng.choice((*REAL, *ARGUMENTS))


def _value(rng: random.Random) -> str:
    return rng.choice(rng.choice(KINDS))


def _damaged(rng: random.Random, words: list[str]) -> list[str]:
    place = rng.randrange(len(words))
    word = words[place]
    cut = rng.randrange(len(word) + 1)
    match rng.randrange(8):
        case 0:
            new = [word[:cut] + word[cut + 1 :]]
        case 1:
            new = [word[:cut] + rng.choice("[]{}(),:='\"$@~+-\\/ .*%#\t\né\x1b0a") + word[cut:]]
        case 2:
            new = [word, word]
        case 3:
            new = [word[:cut]]
        case 4:
            new = [word[:cut], word[cut:]]
        case 5:
            new = [""]
        case 6:
            new = [word, rng.choice(ARGUMENTS)]
        case _:
            new = [word[:cut] + _value(rng) + word[cut:]]
    return [*words[:place], *new, *words[place + 1 :]]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{this}: &{this} [{','.join([f'*{before}'] * 9)}]\n" for before, this in zip("abcdefgh", "bcdefghi", strict=True)
)
# fmt: off
FILES = (
    "", "\n", "#", "---", "...", "--- a\n--- b\n", "null", "17", "text", "[]", "{}", "- ", "- - a=b", "a", "a:",
    ": a", "&a [*a]", "a: &a [*a]", "a: &a {b: *a}", "&a {b: *a}", "hparams: &a\n  lr: *a\n", "- &a [*a]\n", "*a",
    "a: *nothing", BOMB, BOMB + "comment: *i\n", "hparams: {<<: {lr: 0.1}}", "<<: [1]", "<<: &a {b: 1}",
    "a: &a {<<: *a}", "[" * 3000, "[" * 400 + "]" * 400, "a: " + "{b: " * 400 + "1" + "}" * 400, "- " * 3000,
    "? " * 1000, "a" * 100000, "!!python/object/apply:os.getcwd []", "a: !!python/name:os.system", "a: !!binary aGk=",
    "a: !!set {b, c}", "!x y", "a: !!timestamp 2026-01-01", "comment: 2026-01-01", "a: 2026-01-01 10:00:00",
    "a: !!omap [b: 1]", "a: !!int x", "a: !!float x", "a: !!int 1_0", "? [a, b]\n: 1",
    "{1: 2, null: 3, true: 4, 1.5: 6}", "1: a", "null: a", "[a]: b", "a: 1\na: 2", "a.b: 1\na: {b: 2}", "'': 1",
    "' ': 1", "'=': 1", "'a=b': c", "'~data': ''", "'~data':", "+data: digits", 'comment: "a\\0b"',
    'experiment_name: "\\e[31m"', 'data.root: "\\ud800"', "comment: |\n  a\n  b\n", "comment: '\t'", "\tdata: digits",
    "data: digits\n\tmodel: cnn", "\ufeffdata: digits", "%YAML 9.9\n---\na: 1", "%TAG ! x\n--- !a b", "@", "`",
    "a: [", "a: {", "a: 'x", 'a: "x', 'a: "\\q"', "a: |9\n x", "a: b: c", "- a\nb: c", "a: 0o17", "a: 190:20:30",
    "a: .inf", "hparams: {lr: .nan}", "hparams: {seed: 1" + "0" * 400 + "}", "hparams: {lr: 1" + "0" * 5000 + "}",
    "hparams: 1", "data: [1]", "settings_file: ../given/settings.yaml", "run: x", "resume: last",
    "resume_sweep: ../given/sweep", "-m: ", "- -m", "- --help", "defaults: [a]", "hydra: {run: {dir: x}}", "hydra: 1",
    "hydra.verbose: 1e400", "data: {_target_: x}", "- run=x", "- ''",
)
# fmt: on


def settings_file(rng: random.Random) -> bytes:
    """Return the content of a settings file."""
    match rng.randrange(4):
        case 0:
            text = rng.choice(FILES)
        case 1:
            text = "".join(f"- {_word(rng, 'train')}\n" for _ in range(rng.randrange(1, 5)))
        case 2:
            text = "".join(f"{rng.choice(NAMES)}: {_value(rng)}\n" for _ in range(rng.randrange(1, 4)))
        case _:
            text = "".join(f"{_branch(rng)}\n" for _ in range(rng.randrange(1, 3))) + rng.choice(
                ("", rng.choice(FILES))
            )
    content = text.encode("utf-8", "surrogatepass")
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        cut = rng.randrange(len(content) + 1)
        end = min(len(content), cut + rng.choice((0, 0, 1, 3, 20)))
        content = content[:cut] + rng.choice(BYTES) + content[end:]
    return content


# fmt: off
BYTES = (
    b"", b"", b"\xff", b"\x00", b"\xed\xa0\x80", b"\n", b"\r", b"\t", b" ", b"  ", b":", b"- ", b"&a ", b"*a", b"!",
    b"!!", b"[", b"]", b"{", b"}", b"'", b'"', b"|", b">", b"%", b"@", b"#", b"? ", b"<<: ", b"\n---\n",
    b"\xef\xbb\xbf", b"=", b"~",
)
# fmt: on


def _branch(rng: random.Random) -> str:
    """Return a nested mapping for a real name: hparams.lr -> hparams: {lr: VALUE}."""
    parts = rng.choice(NAMES).split(".")
    text = rng.choice((_value(rng), rng.choice(FILES).partition("\n")[0]))
    return f"{': {'.join(parts)}: {text}{'}' * (len(parts) - 1)}"


def write_given(folder: Path) -> None:
    """Write what the words name: a run, a sweep, a config folder with damaged YAML files, a settings file."""
    import json
    import shutil

    run = folder / "run"
    shutil.copytree(CONFIG, run / "source" / "config")
    for file, text in {
        "run/run.json": json.dumps(
            {
                **{
                    "status": "failed",
                    "started": "2026-01-02T03:04:05.000+00:00",
                    "host": "elsewhere",
                    "comment": None,
                },
                **{"experiment_name": "Default", "versions": {}, "python": "3.11.0", "settings": {"data": "digits"}},
                **{"metrics": {"test_accuracy": 0.9}, "composed": {"data": "digits", "hparams.lr": 0.1}},
            }
        ),
        "run/source/src/train.py": "",
        "run/.hydra/overrides.yaml": "- data=digits\n- model=cnn\n",
        "run/checkpoints/last.ckpt": "",
        "sweep/sweep.json": json.dumps({"arguments": ["-m", "data=digits", "hparams.lr=1,2"], "started": "2026-01-02"}),
        "sweep/source/src/train.py": "",
        "configs/broken.yaml": "a: [",
        "configs/experiment/broken.yaml": "# @package _global_\na: [",
        "configs/data/x.yaml": "defaults: [nothing]\n",
        "settings.yaml": "data: digits\nmodel: cnn\n",
        "broken.yaml": "a: [",
    }.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
