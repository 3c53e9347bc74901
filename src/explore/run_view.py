"""The view of the chosen run, and of the one that it is compared with: opened once, then kept for further clicks."""

import atexit
import gc
import logging
from pathlib import Path
from typing import Any

import streamlit as st
from omegaconf import DictConfig

from command import cli
from command.trained_run import data_key, refuse_other_classes
from command.trust import is_trusted, strange_names, trust
from explore import opened_run, runs
from explore.image_view import image_view
from explore.opened_run import OpenedRun
from explore.task_view import task_view
from explore.test_set_views import confusion_view, numbers_view
from explore.words import LONGEST, as_typed, code
from process.console import format_number
from process.errors import UserError
from process.text import one_line
from run.record import describe_error
from table.collect import RunRecord

MOST_NAMES = 20
log = logging.getLogger(__name__)


@st.cache_resource(show_spinner="Loading the test images ...", max_entries=4)
def opened_source(key: str, _config: DictConfig) -> tuple[Any, list[str]]:
    """Open the test images once for all runs with this key: the cache ignores arguments that begin with _."""
    return opened_run.open_source(_config)


@st.cache_resource(show_spinner="Opening the run ...", max_entries=8)
def opened_network(folder: Path, written: float, _config: DictConfig) -> tuple[Any, Any]:
    opened = opened_run.open_network(folder, _config)
    gc.collect()
    gc.freeze()  # Streamlit collects garbage after each click; among torch's objects that takes half a second
    return opened


@st.cache_resource
def set_up_once() -> None:
    cli.register_resolvers()
    atexit.register(gc.unfreeze)  # otherwise Triton reports leaks at the end


def may_run(run: RunRecord, folder: Path, config: DictConfig) -> bool:
    """Return whether the run is the user's own, trusted, or data alone; else show what it names, and a button."""
    if is_trusted(folder) or not (names := strange_names(config)):
        return True
    more = f" and {len(names) - MOST_NAMES} others" if len(names) > MOST_NAMES else ""
    named = ", ".join(one_line(name, LONGEST) for name in names[:MOST_NAMES]) + more
    words = f"{runs.short_name(run)} was not made by you here, and to open it runs what its config names: {named}"
    st.error(as_typed(words, most=2500))
    st.caption(f"Read {code(str(folder / '.hydra' / 'config.yaml'))} before you trust it.")
    st.button("Trust this folder and open it", on_click=trust, args=[folder], key=f"trust {str(folder)!a}")
    return False


def opened(run: RunRecord) -> OpenedRun | None:
    """Open the run; if it cannot be opened, show the reason and return None."""
    folder = Path(run.facts["folder"])
    try:
        config = opened_run.read_config(folder)
        if not may_run(run, folder, config):
            return None
        key = data_key(config)
        source, class_names = opened_source(key, config)
        refuse_other_classes(folder, class_names)
        network, task = opened_network(folder, opened_run.checkpoint_time(folder), config)
        return OpenedRun(folder, key, network, source, [one_line(name, LONGEST) for name in class_names], task)
    except UserError as error:
        words = str(error)
    except Exception as error:  # a user's own code may raise anything, and the page must stay usable
        words = f"{describe_error(error)} (the traceback is in the terminal of this page)"
        log.exception(f"{folder} cannot be opened")
    st.error(as_typed(f"{runs.short_name(run)} cannot be opened: {words}"))
    return None


def run_view(first: RunRecord, second: RunRecord | None) -> None:
    """Show the first run; beside it the second, if there is one that has the same test images."""
    set_up_once()
    run = opened(first)
    if run is None:
        return
    model, data = (as_typed(one_line(first.known.get(group, ""), LONGEST)) for group in ("model", "data"))
    st.title(f"{model} on {data}")
    stage, metric, value = runs.main_result(first)
    measured = "" if value is None else f"{stage} {one_line(metric, LONGEST)} {format_number(value)}"
    facts = [str(run.folder), measured, first.facts.get("comment")]
    st.caption(as_typed(" · ".join(str(fact) for fact in facts if fact)))
    other = None
    if second is not None:
        other = opened(second)
        if other is not None and other.data_key != run.data_key:
            name = as_typed(runs.short_name(second))
            st.warning(f"{name} has other test images: runs are compared on the same ones.")
            other = None
        elif other is not None:
            st.caption(as_typed(f"first / second run: {runs.differing_settings(first, second)}"))
    names = list(runs.labels([first] if second is None or other is None else [first, second]).values())
    if not run.classifies or not (other is None or other.classifies):
        task_view(run, first, other, names)
        return
    views = ["Image", "Test set", "Number of patches"]
    st.session_state.setdefault("view", views[0])
    view = st.segmented_control("View", views, key="view", required=True, label_visibility="collapsed")
    if view == "Image":
        image_view(run, other, names)
    elif view == "Test set":
        confusion_view(run, other)
    else:
        numbers_view([run] if other is None else [run, other], names)
