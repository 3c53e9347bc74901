"""Between the shell and a command: the one place beside the commands that knows Hydra.

It makes the run folder, builds what the config describes, and says a mistake of the user in one line.
"""

import functools
import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, HydraException, InstantiationException
from hydra.experimental.callback import Callback as HydraCallback
from hydra.types import RunMode
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from run import hints, interruption, requeue
from run.argv import options_first, prepare_argv, resumed_sweep
from run.errors import PastHydraError, UserError, find_user_error
from run.folder import make_run_folder
from run.isolation import isolated
from run.noise import filter_warnings
from run.record import Run, in_a_line, is_recorded, plain
from run.resume import earlier_record, locked
from run.secrets import scrub
from run.settings import check
from run.source import REPOSITORY, run_copy
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
    register_resolvers()
    global full_error
    full_error = os.environ.setdefault("HYDRA_FULL_ERROR", "0") not in ("", "0")
    try:
        with interruption.heeded():
            if sweep := resumed_sweep(sys.argv[1:]):
                folder, arguments = sweep
                with locked(folder):
                    write_start(folder, arguments)
                run_sweep(folder, arguments)
            sys.argv[1:] = prepare_argv(sys.argv[1:])
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
        if full_error or line is None:
            lines = traceback.format_exception(error if full_error else _below_hydra(error))
            print(scrub("".join(lines)), end="", file=sys.stderr)
        else:
            print(f"error: {scrub(line)}", file=sys.stderr)
        sys.exit(1)
    except interruption.Interrupted as interrupted:
        print("; ".join([str(interrupted), *interruption.remedies]), file=sys.stderr)
        sys.exit(interrupted.exit_code)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = str(int(full_error))


def job(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Decorate a command's function: the error of a single run ends it, that of a sweep's job only this job."""

    @functools.wraps(function)
    def decorated(config: DictConfig) -> Any:
        filter_warnings()
        logging.raiseExceptions = False  # a full disk is said once, not by each line that train.log cannot take
        try:
            with interruption.heeded():
                if in_sweep(HydraConfig.get()):
                    return _job_of_sweep(function, config)
                return function(config)
        except interruption.Interrupted as interrupted:
            if not in_sweep(HydraConfig.get()) or is_serial(HydraConfig.get()):
                raise
            if requeue.in_submitit():
                requeue.after(interrupted, Path(HydraConfig.get().sweep.dir, ".stop"))
            return None  # one job of several in workers: the sweep goes on without it
        except Exception as error:
            raise PastHydraError(error) from error

    return decorated


def _job_of_sweep(function: Callable[[DictConfig], Any], config: DictConfig) -> Any:
    """What is there of the job already is not done again. Returns None where it fails: run.json says why."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with ExitStack() as stack:
        try:
            facts = earlier_record(folder)
            if facts is not None and facts["status"] == "finished":
                return _objective(facts["best_score"])
            if facts is not None:
                config.resume = str(folder)
            stack.enter_context(isolated())
            return _objective(function(config))
        except Exception as error:
            if not is_recorded(folder, error):
                log.error(f"{folder}: {in_a_line(error)}")
            return None


def record(config: DictConfig) -> Run:
    """The record of the job that Hydra has just started, in the folder that it made."""
    hydra = HydraConfig.get()
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # ${...} as it was written
    parsed = OverridesParser.create().parse_overrides(overrides)
    settings = {override.key_or_group: override.value() for override in parsed if not override.is_delete()}
    # what report.py can ask for: also what a default or a recipe chose
    composed = {group: option for group, option in hydra.runtime.choices.items() if not group.startswith("hydra/")}
    composed |= {f"hparams.{name}": value for name, value in plain(config.hparams).items()}
    chosen = {"settings": settings, "composed": composed}
    return Run(Path(hydra.runtime.output_dir), config, overrides, chosen, in_sweep=hydra.mode == RunMode.MULTIRUN)


def build(config: DictConfig, **arguments: Any) -> Any:
    """Instantiate what a config node describes; what a constructor refuses is the user's to mend."""
    try:
        return instantiate(config, **arguments)
    except InstantiationException as error:
        raise UserError(hints.for_instantiation(error)) from error


def run_sweep(folder: Path, arguments: list[str]) -> NoReturn:
    """Become the process of the sweep in `folder`, out of its copy of the code."""
    os.environ["HYDRA_FULL_ERROR"] = str(int(full_error))
    words = [argument for argument in arguments if not argument.startswith("hydra.sweep.dir=")]
    folder = folder.resolve()
    run_copy(folder / "source", options_first([*words, f"hydra.sweep.dir={folder}"]))


def _objective(score: Any) -> float | None:
    """What a search may be told; run.json holds NaN and infinity as text."""
    return None if score is None or not math.isfinite(float(score)) else float(score)


def in_sweep(hydra: Any) -> bool:
    return hydra.mode == RunMode.MULTIRUN


def is_serial(hydra: Any) -> bool:
    """Whether the jobs of a sweep run one after the other in the process of the sweep."""
    if hydra.launcher._target_.endswith(".JoblibLauncher"):
        from joblib import effective_n_jobs

        return effective_n_jobs(hydra.launcher.n_jobs) == 1
    return hydra.launcher._target_.endswith(".BasicLauncher")


def register_resolvers() -> None:
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/")  # a preset is merged onto its plugin's config
    # cached: the folder is made when Hydra first asks for its name, and keeps that name, in a sweep's workers too
    shows = any(argument in ("-c", "--cfg", "-i", "--info") or argument.startswith("--cfg=") for argument in sys.argv)
    folder = _name_only if shows else make_run_folder  # whoever looks at the config starts no run
    OmegaConf.register_new_resolver("run_folder", folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("checked", _checked, replace=True)
    # facts that only the data knows: ${call:datamodule.class_folders.count_classes,${data.root}}
    OmegaConf.register_new_resolver("call", _call, use_cache=True, replace=True)


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
    return None


def _known_settings() -> list[str]:
    """The dotted names of all settings, and the groups, of the command that was called."""
    command = Path(sys.argv[0]).stem
    name = command if (CONFIG / f"{command}.yaml").exists() else "config"
    try:
        with initialize_config_dir(str(CONFIG), version_base="1.3"):
            config = compose(name)
    except HydraException:  # a YAML of one's own is broken: then there is nothing to compare with
        return []

    def walk(node: Any, prefix: str) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                yield f"{prefix}{key}"
                yield from walk(value, f"{prefix}{key}.")

    groups = [str(folder.relative_to(CONFIG)) for folder in CONFIG.rglob("*") if folder.is_dir()]
    return [*walk(OmegaConf.to_container(config), ""), *groups]


def _below_hydra(error: Exception) -> Exception:
    """Cut Hydra's own frames, those above the command's function, off the traceback."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_name != "run_job":
        frame = frame.tb_next
    return error.with_traceback(frame.tb_next) if frame is not None and frame.tb_next is not None else error
