"""Start of every Hydra command: prepare its arguments, have Hydra compose, build objects, report errors in one line."""

import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import CompactHydraException, HydraException, InstantiationException
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adapter import hydra_core
from command import arguments, completion, hints, own_tasks, trust
from command.hints import CONFIG
from process import interruption, ranks
from process.console import discard_stdout
from process.errors import PastHydraError, UserError, find_user_error
from process.secrets import scrub
from process.text import printable, shorten_words
from run.folder import locked, make_run_folder, remove_unused, run_copy
from run.record import describe_error
from run.sweep_record import write_start
from settings import SettingError, check, holds_sets, leaves, mixed_sizes, names

full_error = False  # whether the user has set HYDRA_FULL_ERROR
made_folders: list[Path] = []
describe_failure: list[Callable[[Exception], str]] = []  # set while a sweep runs: describes an error of its launcher


def call(main: Callable[[], Any], folder: str | None = None) -> None:
    """Call a Hydra main with the arguments in sys.argv; `folder` is Hydra's where there is no run folder."""
    prepare_arguments()
    sys.argv += [f"hydra.run.dir={folder}"] if folder else []
    run_hydra(main)


def start(main: Callable[[], Any], call: Callable[[Callable[[], Any]], None] = call) -> None:
    """Run a Hydra main; what the user can correct becomes one line on stderr and exit code 1.

    With HYDRA_FULL_ERROR=1 every error shows its whole traceback. `call` calls `main`, perhaps for several runs.
    """
    global full_error
    full_error = os.environ.setdefault("HYDRA_FULL_ERROR", "0") not in ("", "0")
    hints.script, *hints.typed = sys.argv
    interruption.remedy_sources.clear()
    made_folders.clear()
    try:
        with interruption.handle_signals():
            if sys.argv[1:2] == ["-sc"] and "COMP_LINE" in os.environ:
                complete(main)
            else:
                call(main)
    except (Exception, PastHydraError) as failure:
        remove_unused(made_folders)
        report(failure)
        sys.exit(1)
    except ranks.FailureReportedElsewhere:  # another rank reports it
        sys.exit(1)
    except interruption.Interrupted as interrupted:
        if ranks.is_rank_zero():
            print(interrupted, *interruption.remedies(), sep="; ", file=sys.stderr)
        sys.exit(interrupted.exit_code)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = str(int(full_error))


def complete(main: Callable[[], Any]) -> None:
    """Answer TAB."""
    register_resolvers()
    with hydra_core.shared_repository():
        completion.answer(_command(), main)


def prepare_arguments() -> None:
    """Turn the typed arguments into Hydra's; `resume_sweep=` replaces this process by that sweep's."""
    sys.argv[1:] = trust.take_switch(sys.argv[1:])
    if _command() == "train":
        sys.argv[1:] = arguments.expand_settings_files(arguments.expand_short_options(sys.argv[1:]))
    else:
        arguments.refuse_short_options(sys.argv[1:])
        arguments.refuse_sweeps(sys.argv[1:], f"{_command()}.py")
    if _command() == "embed":
        sys.argv[1:] = arguments.network_of_library(sys.argv[1:])
    ranks.refuse_unsupported_launch(sys.argv[1:])
    if sweep := arguments.resumed_sweep(sys.argv[1:]):
        trust.check_code(sweep[0])
        resume_sweep(*sweep)
    sys.argv[1:] = ranks.agree_on("arguments", lambda: arguments.prepare_argv(sys.argv[1:]))
    arguments.refuse_misused_options(sys.argv[1:])
    if _command() != "train" and any(argument.startswith("run=") for argument in sys.argv[1:]):
        sys.argv.insert(1, f"--config-name={_own_config()}")
    if not ranks.is_rank_zero():
        sys.argv.append("hydra.output_subdir=null")


def run_hydra(main: Callable[[], Any]) -> None:
    """Have Hydra compose the config and call the command's function, or print help or the config."""
    register_resolvers()
    only_asks, opened = arguments.has_option(sys.argv, arguments.HELP), arguments.opened_run(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises instead of printing and exiting
    try:
        with (
            hydra_core.shared_repository() if only_asks else nullcontext(),
            trust.guard(opened, _own_hydra, _own_settings),
        ):
            main()
        sys.stdout.flush()
    except BrokenPipeError:
        if not arguments.has_option(sys.argv, (*arguments.HELP, *arguments.SHOW)):
            raise
        discard_stdout()  # `--help | head` has read enough
    except Exception:
        interruption.check()  # Ray wraps the Interrupted that a signal raises inside it in another error
        raise


def report(failure: Exception | PastHydraError) -> None:
    """Print one line for what the user can correct, and a traceback for a bug; on one of several ranks only."""
    error = failure.error if isinstance(failure, PastHydraError) else failure
    line = _user_error(error)
    if line is not None and (mistake := find_user_error(error)) and mistake.resumable:
        line = "; ".join([line, *interruption.remedies()])
    if line is None and describe_failure and not isinstance(failure, PastHydraError):
        line = describe_failure[0](error)
    if ranks.is_reported_elsewhere():
        return
    if full_error or line is None:
        lines = traceback.format_exception(error if full_error else hydra_core.inside_job(error))
        print(scrub("".join(lines)), end="", file=sys.stderr)
    else:
        print(f"error: {shorten_words(printable(scrub(line)))}", file=sys.stderr)


def describe(failure: Exception | PastHydraError) -> str:
    """Return an error as one line; with HYDRA_FULL_ERROR=1 print its traceback too."""
    error = failure.error if isinstance(failure, PastHydraError) else failure
    if full_error:
        report(failure)
    line = _user_error(error)
    return describe_error(error) if line is None else scrub(line)


def resume_sweep(folder: Path, words: list[str]) -> NoReturn:
    if _command() != "train":
        raise UserError("resume_sweep= belongs to src/train.py; for one of a sweep's jobs: run=FOLDER/0")
    with locked(folder):
        write_start(folder, words)
    run_sweep(folder, words)


def _command() -> str:
    return Path(sys.argv[0]).stem


def _own_config() -> str:
    """Store the command's current YAML and return its new name: the config folder of a run may hold an older one."""
    name = f"{_command()}_as_here"
    ConfigStore.instance().store(name, OmegaConf.load(CONFIG / f"{_command()}.yaml"))
    return name


def _own_hydra() -> DictConfig:
    """Compose what config/ of this repository says about Hydra itself."""
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        return compose(_command_config(), return_hydra_config=True).hydra


def _command_config() -> str:
    """Return the name of the command's YAML."""
    if f"--config-name={arguments.OF_LIBRARY}" in sys.argv:
        return arguments.OF_LIBRARY
    return _command() if (CONFIG / f"{_command()}.yaml").exists() else "config"


def _own_settings() -> dict[str, Any]:
    """Return the values that the YAML of the command adds to config.yaml (output, ckpt, ...), and nobody has typed."""
    typed = {re.split(r"[.=]", word.lstrip("+~"), maxsplit=1)[0] for word in hints.typed}
    files = (OmegaConf.load(CONFIG / f"{name}.yaml") for name in (_command_config(), "config"))
    command, trained = (cast(dict[str, Any], OmegaConf.to_container(file, resolve=False)) for file in files)
    others = {name: value for name, value in command.items() if name not in {*trained, *typed}}
    return {name: value for name, value in others.items() if not isinstance(value, dict | list)}


def build(config: DictConfig, **arguments: Any) -> Any:
    """Instantiate what a config node describes. Raises a UserError for what a constructor refuses."""
    try:
        return instantiate(trust.checked_again(config), **arguments)
    except InstantiationException as error:
        raise find_user_error(error) or UserError(hints.for_instantiation(error)) from error


def check_all(config: DictConfig) -> None:
    """Raise a UserError for settings that no run takes, before a folder exists: see `settings.check`.

    What tasks of one's own measure is known only when they are built, which imports torch.
    """
    check(config)
    if tasks := own_tasks.asked_for_monitor(config):
        own_tasks.refuse_unmeasured(config, {name: build(config.task[name]) for name in tasks})


def build_loggers(config: DictConfig) -> list[Any]:
    """Return the configured loggers, wrapped in the configured guard."""
    chosen = {name: logger for name, logger in config.loggers.items() if logger is not None}
    return build(config.guard, loggers=[build(logger) for logger in chosen.values()], names=list(chosen))


def run_sweep(folder: Path, argv: list[str]) -> NoReturn:
    """Replace this process by that of the sweep in `folder`, which runs the copy of the code there."""
    os.environ["HYDRA_FULL_ERROR"] = str(int(full_error))
    words = [word for word in argv if not word.startswith("hydra.sweep.dir=")]
    folder = folder.resolve()
    run_copy(folder / "source", arguments.options_first([*words, f"hydra.sweep.dir={folder}"]))


def register_resolvers() -> None:
    """Register the ${resolvers:} that config/ uses."""
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/")  # a preset is merged onto its plugin's config
    # cached: the folder is made when Hydra first asks for its name, and keeps that name, in a sweep's workers too
    shows = arguments.has_option(sys.argv, arguments.SHOW)
    folder = _name_only if shows else _make_folder  # showing the config makes no folder
    OmegaConf.register_new_resolver("run_folder", folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("checked", _checked, replace=True)
    # facts that only the data knows: ${call:datamodule.class_folders.count_classes,${data.root}}
    OmegaConf.register_new_resolver("call", _call, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("holds_sets", lambda *, _root_: holds_sets(_root_.data), replace=True)
    OmegaConf.register_new_resolver("mixed_sizes", lambda *, _root_: mixed_sizes(_root_), replace=True)
    OmegaConf.register_new_resolver("tensor_weights", _tensor_weights, replace=True)
    OmegaConf.register_new_resolver("num_outputs", _num_outputs, replace=True)
    OmegaConf.register_new_resolver("short_options", arguments.described_short_options, replace=True)  # for --help


def _make_folder(kind: str, experiment_name: str, comment: str | None) -> str:
    made_folders.append(Path(make_run_folder(kind, experiment_name, comment)))
    return str(made_folders[-1])


def _name_only(kind: str, experiment_name: str, comment: str | None) -> str:
    return f"{kind}/{experiment_name}/..."


def _call(name: str, *arguments: Any) -> Any:
    trust.check_call(name)
    return get_method(name)(*arguments)


def _tensor_weights(loss: DictConfig) -> Any:
    """Return the settings of a loss with its weights, plain lists, as the tensors that torch's losses take."""
    settings: Any = OmegaConf.to_container(loss, resolve=True)
    for name in ("weight", "pos_weight"):
        if isinstance(settings.get(name), list):
            settings[name] = {"_target_": "torch.tensor", "data": [float(weight) for weight in settings[name]]}
    return OmegaConf.create(settings)


def _num_outputs(tasks: DictConfig) -> int:
    """Return the number of outputs of all tasks, which a network has."""
    for name, task in tasks.items():
        if "num_outputs" not in task:
            raise UserError(
                f"task.{name!s}.num_outputs is not set: choose task={name!s}, or state the number in its YAML file"
            )
    return sum(task.num_outputs for task in tasks.values())


def _checked(value: Any, *, _root_: DictConfig) -> Any:
    """Check all settings and return the value: inside ${run_folder:...}, the last moment before a folder exists."""
    check_all(_root_)
    return value


def _user_error(error: BaseException) -> str | None:
    """Return the line for an error that the user can correct, None for a bug."""
    if mistake := find_user_error(error):
        return hints.for_value(mistake) if isinstance(mistake, SettingError) else str(mistake)
    if isinstance(error, CompactHydraException | OmegaConfBaseException):
        return hints.for_composition(error, _known_settings)
    if isinstance(error, OSError) and hydra_core.while_making_folder(error):
        reason = f"cannot make the folder {error.filename}: {error.strerror}"
        return f"{reason}; choose another one by hydra.run.dir=FOLDER, in a sweep hydra.sweep.dir=FOLDER"
    return hints.for_unexpected(error, sys.argv[1:]) if hydra_core.while_composing(error) else None


def _known_settings() -> list[str]:
    """Return the dotted names of all settings, and the groups, of the command that was called."""
    groups = [str(folder.relative_to(CONFIG)) for folder in CONFIG.rglob("*") if folder.is_dir()]
    chosen = [word for word in sys.argv[1:] if word.partition("=")[0] in groups and "," not in word]
    try:
        with initialize_config_dir(str(CONFIG), version_base="1.3"):
            config = compose(_command_config(), chosen)  # the chosen options may add settings
    except HydraException:  # the user's own YAML is broken, so no names are known
        return []
    parts = [name.split(".") for name, _ in leaves(OmegaConf.to_container(config))]
    settings = dict.fromkeys(".".join(each[: end + 1]) for each in parts for end in range(len(each)))  # each once
    return [*settings, *groups, *names("before_hydra")]
