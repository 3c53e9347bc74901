"""Plan of a sweep: the settings that it varies, and a check of their values before its folder exists."""

from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from command import hints
from process.errors import UserError
from settings import check_value


def varied(config: DictConfig) -> dict[str, list[str] | None]:
    """Return the settings in which the jobs differ, each with its values, or None for an interval."""
    return {
        _name(override): list(override.sweep_string_iterator()) if override.is_discrete_sweep() else None
        for override in _overrides(config)
        if override.is_sweep_override()
    }


def refuse_impossible(config: DictConfig, config_name: str) -> None:
    """Raise a UserError for a value that its setting cannot have, and Hydra's own error for what cannot be composed.

    Each option of a group is composed with the first values of the others; the jobs themselves find settings
    that do not go together.
    """
    _refuse_hydra_settings(config.hydra)
    parser = _parser()
    fixed: list[str] = list(OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False))  # type: ignore[arg-type]
    firsts, options = {}, []
    for override in _overrides(config):
        name = _name(override)
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
            values = [] if override.is_delete() else [override.value()]
        elif override.is_discrete_sweep():
            lines = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
            values = [parser.parse_override(line).value() for line in lines]
            firsts[name] = lines[0]
            options += [(name, line) for line in lines[1:] if name in config.hydra.runtime.choices]
        elif "n_trials" not in config.hydra.sweeper:
            raise UserError(
                f"{override.input_line}: a grid needs values, a,b,c; hparams_search=tpe searches an interval"
            )
        else:
            interval: Any = override.value()
            values = [interval.start]
            firsts[name] = f"{override.get_key_element()}={values[0]}"
        for value in values:
            check_value(name, value)
    if "n_trials" in config.hydra.sweeper and not firsts:
        raise UserError(
            "each setting has one value: there is nothing to search; a range: 'hparams.lr=interval(0.001,0.1)'"
        )
    for chosen in [firsts, *({**firsts, name: line} for name, line in options)]:
        composed = compose(config_name, overrides=[*fixed, *chosen.values()], return_hydra_config=True)
        launcher = composed.hydra.runtime.choices["hydra/launcher"]
        if launcher != config.hydra.runtime.choices["hydra/launcher"]:  # a recipe chose it
            command = hints.command([*hints.typed, f"hydra/launcher={launcher}"])
            raise UserError(
                f"{' '.join(chosen.values())} would choose hydra/launcher={launcher}, but all jobs of a sweep have the "
                f"same: choose it yourself; type: {command}"
            )


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
