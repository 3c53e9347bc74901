"""Plan of a sweep: the settings that it varies, and a check of their values before its folder exists."""

import copy
from collections.abc import Iterator
from itertools import chain, islice, product
from math import prod
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from adapter import hydra_core
from command import cli, hints
from process.errors import UserError
from process.secrets import SecretError
from settings import check_value, refuse_secrets

MOST = 200  # jobs that are checked one by one, each of which takes some hundredths of a second


def varied(config: DictConfig) -> dict[str, list[str] | None]:
    """Return the settings in which the jobs differ, each with its values, or None for an interval."""
    return {
        _name(override): list(override.sweep_string_iterator()) if override.is_discrete_sweep() else None
        for override in _overrides(config)
        if override.is_sweep_override()
    }


def refuse_impossible(config: DictConfig, config_name: str) -> None:
    """Raise a UserError for the first job whose settings a single run refuses, and Hydra's own error for an override.

    A search chooses the values of a trial together: it is refused if no trial is possible, or none with one value.
    """
    _refuse_hydra_settings(config.hydra)
    is_search = "n_trials" in config.hydra.sweeper
    choices = [_choices(override, is_search) for override in _overrides(config)]
    if is_search and not any(len(each) > 1 for each in choices):
        raise UserError(
            "each setting has one value: there is nothing to search; a range: 'hparams.lr=interval(0.001,0.1)'"
        )
    for override in chain.from_iterable(choices):
        if not override.is_delete():
            check_value(_name(override), override.value())
    with hydra_core.shared_repository():
        (_refuse_trials if is_search else _refuse_jobs)(_Jobs(config, config_name, choices))


def _choices(override: Override, is_search: bool) -> list[Override]:
    """Return an override as it stands in each job; of an interval its two ends."""
    if not override.is_sweep_override():
        return [override]
    if override.is_discrete_sweep():
        values = list(override.sweep_string_iterator())
    elif is_search:
        interval: Any = override.value()
        values = [str(interval.start), str(interval.end)]
    else:
        raise UserError(f"{override.input_line}: a grid needs values, a,b,c; hparams_search=tpe searches an interval")
    return _parser().parse_overrides([f"{override.get_key_element()}={value}" for value in values])


class _Jobs:
    """The jobs of a sweep, each given by its overrides: one of each list in `choices`."""

    def __init__(self, config: DictConfig, config_name: str, choices: list[list[Override]]) -> None:
        self.config, self.name, self.choices = config, config_name, choices
        self.hydra: list[str] = list(OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False))  # type: ignore[arg-type]
        self.number = prod(map(len, choices))
        loader = GlobalHydra.instance().config_loader()
        names = {_name(each[0]) for each in choices}
        self.groups = {name for name in names if loader.get_group_options(name, None, config_name, self.hydra)}
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def all(self) -> Iterator[tuple[Override, ...]]:
        """Yield the first MOST jobs."""
        return islice(product(*self.choices), MOST)

    def each_value(self, place: int) -> Iterator[tuple[Override, ...]]:
        """Yield a job for each value, with the first (place 0) or the last (place -1) values of the other settings."""
        common = [each[place] for each in self.choices]
        for position, each in enumerate(self.choices):
            yield from ((*common[:position], override, *common[position + 1 :]) for override in each)

    def varied(self, job: tuple[Override, ...]) -> list[str]:
        """Return the settings of the job in which the jobs differ."""
        return [_line(override) for override, each in zip(job, self.choices, strict=True) if len(each) > 1]

    def check(self, job: tuple[Override, ...]) -> None:
        """Raise a UserError for settings that a single run refuses; it names those in which the jobs differ."""
        varied = " ".join(self.varied(job))
        config = self._compose(job, varied)
        try:
            cli.check_all(config)
        except (UserError, OmegaConfBaseException) as error:
            if isinstance(error, SecretError) or not varied:  # the line below shows values
                raise
            raise UserError(f"{varied}: {cli.describe(error)}") from error
        OmegaConf.copy_cache(config, self.config)  # what was counted in the data

    def _compose(self, job: tuple[Override, ...], varied: str) -> DictConfig:
        """Return the config of the job; the YAML files are combined once for each choice of options."""
        options = tuple(_line(override) for override in job if _name(override) in self.groups)
        if options not in self.composed:
            composed = compose(self.name, [*self.hydra, *options], return_hydra_config=True)
            refuse_secrets(composed)
            self._refuse_other_launcher(composed, varied)
            with open_dict(composed):
                del composed["hydra"]
            self.composed[options] = composed
        config = copy.deepcopy(self.composed[options])
        hydra_core.apply_overrides([override for override in job if _name(override) not in self.groups], config)
        OmegaConf.copy_cache(self.config, config)
        return config

    def _refuse_other_launcher(self, composed: DictConfig, varied: str) -> None:
        launcher = composed.hydra.runtime.choices["hydra/launcher"]
        if launcher != self.config.hydra.runtime.choices["hydra/launcher"]:  # a recipe chose it
            command = hints.command([*hints.typed, f"hydra/launcher={launcher}"])
            raise UserError(
                f"{varied} would choose hydra/launcher={launcher}, but all jobs of a sweep have the same: choose it "
                f"yourself; type: {command}"
            )


def _refuse_jobs(jobs: _Jobs) -> None:
    """Raise a UserError for the first impossible job of a grid."""
    for job in chain(jobs.all(), jobs.each_value(0) if jobs.number > MOST else ()):
        jobs.check(job)


def _refuse_trials(jobs: _Jobs) -> None:
    """Raise a UserError if no trial of a search is possible, or if one of its values makes all trials impossible."""
    possible: set[str] = set()
    refused: dict[str, UserError | OmegaConfBaseException] = {}
    for job in chain(jobs.each_value(0), jobs.each_value(-1), jobs.all() if jobs.number <= MOST else ()):
        varied = jobs.varied(job)
        if possible.issuperset(varied):
            continue
        try:
            jobs.check(job)
            possible.update(varied)
        except UserError as error:
            for line in varied:
                refused.setdefault(line, error)
    if refused and (not possible or jobs.number <= MOST):
        for line in refused.keys() - possible:
            raise refused[line]


def _refuse_hydra_settings(hydra: Any) -> None:
    trials = hydra.sweeper.get("n_trials")
    if trials is not None and not (type(trials) is int and trials >= 1):
        raise UserError(f"hydra.sweeper.n_trials={trials}: must be a whole number >= 1")
    if hydra.launcher.get("n_jobs") == 0:
        raise UserError("hydra.launcher.n_jobs=0: choose 1 or more, or -1 for as many as there are cores")
    raw: Any = OmegaConf.to_container(hydra.sweep, resolve=False)
    if raw["subdir"] != "${hydra.job.num}":
        raise UserError(
            f"hydra.sweep.subdir={raw['subdir']}: the jobs of a sweep are numbered; its folder: hydra.sweep.dir="
        )


def _parser() -> OverridesParser:
    """Return Hydra's parser; with the loader it also expands globs, model=glob(*mil*)."""
    return OverridesParser.create(GlobalHydra.instance().config_loader())


def _overrides(config: DictConfig) -> list[Override]:
    params: Any = config.hydra.sweeper.get("params") or {}
    task: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    lines = {line.partition("=")[0]: line for line in [*(f"{name}={value}" for name, value in params.items()), *task]}
    return _parser().parse_overrides(list(lines.values()))  # a setting that is given twice: the last one counts


def _name(override: Override) -> str:
    return str(override.key_or_group)


def _line(override: Override) -> str:
    return str(override.input_line)
