"""Between the shell and a command: Hydra's start, its errors in one line, the objects that YAML describes."""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import CompactHydraException, HydraException, InstantiationException
from hydra.experimental.callback import Callback as HydraCallback
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from command import arguments, completion, hints
from command.arguments import options_first, prepare_argv, resumed_sweep
from command.settings import check
from process import interruption, ranks
from process.errors import PastHydraError, UserError, find_user_error
from process.nested import leaves
from process.secrets import scrub
from run.folder import REPOSITORY, locked, make_run_folder, run_copy
from run.sweep_record import write_start

__all__ = ["HydraCallback"]  # for sweep/callback.py, which shall know Hydra by this file alone
CONFIG = REPOSITORY / "config"

full_error = False  # whether the user has set HYDRA_FULL_ERROR
at_failure: list[Callable[[Exception], str]] = []  # while a sweep runs: what is said of its engine's error
log = logging.getLogger(__name__)


def start(main: Callable[[], Any]) -> None:
    """Run a Hydra main; what the user can mend becomes one line on stderr and exit code 1.

    With HYDRA_FULL_ERROR=1 every error shows its whole traceback.
    """
    global full_error
    full_error = os.environ.setdefault("HYDRA_FULL_ERROR", "0") not in ("", "0")
    try:
        with interruption.handle_signals():
            if sys.argv[1:2] == ["-sc"]:  # TAB
                register_resolvers()
                completion.answer(_command(), main)
                return
            if _command() == "train":
                sys.argv[1:] = arguments.expand_settings_files(arguments.expand_short_options(sys.argv[1:]))
            else:
                arguments.refuse_short_options(sys.argv[1:])
            register_resolvers()
            ranks.refuse_unsupported_launch(sys.argv[1:])
            if sweep := resumed_sweep(sys.argv[1:]):
                if _command() != "train":
                    raise UserError("resume_sweep= belongs to src/train.py; of a sweep's job: run=FOLDER/0")
                folder, words = sweep
                with locked(folder):
                    write_start(folder, words)
                run_sweep(folder, words)
            sys.argv[1:] = ranks.agree_on("arguments", lambda: prepare_argv(sys.argv[1:]))
            if _command() != "train" and any(argument.startswith("run=") for argument in sys.argv[1:]):
                sys.argv.insert(1, f"--config-name={_own_config()}")
            if not ranks.is_rank_zero():
                sys.argv.append("hydra.output_subdir=null")
            os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises instead of printing and exiting
            try:
                main()
            except Exception:
                interruption.check()  # Ray makes an error of its own of what a signal raises within it
                raise
    except (Exception, PastHydraError) as failure:
        error = failure.error if isinstance(failure, PastHydraError) else failure
        line = _user_error(error)
        if line is None and at_failure and not isinstance(failure, PastHydraError):
            line = at_failure[0](error)
        if ranks.is_reported_elsewhere():  # by the first of several ranks
            pass
        elif full_error or line is None:
            lines = traceback.format_exception(error if full_error else _below_hydra(error))
            print(scrub("".join(lines)), end="", file=sys.stderr)
        else:
            print(f"error: {scrub(line)}", file=sys.stderr)
        sys.exit(1)
    except ranks.FailureReportedElsewhere:
        sys.exit(1)
    except interruption.Interrupted as interrupted:
        if ranks.is_rank_zero():
            print(interrupted, *interruption.remedies(), sep="; ", file=sys.stderr)
        sys.exit(interrupted.exit_code)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = str(int(full_error))


def _command() -> str:
    return Path(sys.argv[0]).stem


def _own_config() -> str:
    """The name of the command's own YAML as it is beside its code: in the config of a run may be an older one."""
    name = f"{_command()}_as_here"
    ConfigStore.instance().store(name, OmegaConf.load(CONFIG / f"{_command()}.yaml"))
    return name


def build(config: DictConfig, **arguments: Any) -> Any:
    """Instantiate what a config node describes; what a constructor refuses is the user's to mend."""
    try:
        return instantiate(config, **arguments)
    except InstantiationException as error:
        raise find_user_error(error) or UserError(hints.for_instantiation(error)) from error


def build_loggers(config: DictConfig) -> list[Any]:
    """Return the loggers of the config, in the guard that it describes."""
    chosen = {name: logger for name, logger in config.loggers.items() if logger is not None}
    return build(config.guard, loggers=[build(logger) for logger in chosen.values()], names=list(chosen))


def run_sweep(folder: Path, arguments: list[str]) -> NoReturn:
    """Become the process of the sweep in `folder`, out of its copy of the code."""
    os.environ["HYDRA_FULL_ERROR"] = str(int(full_error))
    words = [argument for argument in arguments if not argument.startswith("hydra.sweep.dir=")]
    folder = folder.resolve()
    run_copy(folder / "source", options_first([*words, f"hydra.sweep.dir={folder}"]))


def register_resolvers() -> None:
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/")  # a preset is merged onto its plugin's config
    # cached: the folder is made when Hydra first asks for its name, and keeps that name, in a sweep's workers too
    shows = any(argument in ("-c", "--cfg", "-i", "--info") or argument.startswith("--cfg=") for argument in sys.argv)
    folder = _name_only if shows else make_run_folder  # whoever looks at the config starts no run
    OmegaConf.register_new_resolver("run_folder", folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("checked", _checked, replace=True)
    # facts that only the data knows: ${call:datamodule.class_folders.count_classes,${data.root}}
    OmegaConf.register_new_resolver("call", _call, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("short_options", arguments.described_short_options, replace=True)  # for --help


def _name_only(kind: str, experiment_name: str, comment: str | None) -> str:
    return f"{kind}/{experiment_name}/..."


def _call(name: str, *arguments: Any) -> Any:
    return get_method(name)(*arguments)


def _checked(value: Any, *, _root_: DictConfig) -> Any:
    """Stands inside ${run_folder:...}: the last moment at which a bad setting is refused without leaving a folder."""
    check(_root_)
    return value


def _user_error(error: BaseException) -> str | None:
    """The line for an error that the user can mend, or None for a bug."""
    if mistake := find_user_error(error):
        return str(mistake)
    if isinstance(error, CompactHydraException | OmegaConfBaseException):
        return hints.for_composition(error, CONFIG, _known_settings)
    return hints.for_no_name(error, CONFIG, sys.argv[1:]) if isinstance(error, ValueError) else None


def _known_settings() -> list[str]:
    """The dotted names of all settings, and the groups, of the command that was called."""
    command = _command()
    name = command if (CONFIG / f"{command}.yaml").exists() else "config"
    groups = [str(folder.relative_to(CONFIG)) for folder in CONFIG.rglob("*") if folder.is_dir()]
    chosen = [word for word in sys.argv[1:] if word.partition("=")[0] in groups and "," not in word]
    try:
        with initialize_config_dir(str(CONFIG), version_base="1.3"):
            config = compose(name, chosen)  # which may bring settings of their own
    except HydraException:  # a YAML of one's own is broken: then there is nothing to compare with
        return []
    parts = [name.split(".") for name, _ in leaves(OmegaConf.to_container(config))]
    settings = dict.fromkeys(".".join(each[: end + 1]) for each in parts for end in range(len(each)))  # each once
    return [*settings, *groups, "resume_sweep", "settings_file"]


def _below_hydra(error: Exception) -> Exception:
    """Cut Hydra's own frames, those above the command's function, off the traceback."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_name != "run_job":
        frame = frame.tb_next
    return error.with_traceback(frame.tb_next) if frame is not None and frame.tb_next is not None else error
