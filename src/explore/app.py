"""The page: the run that is opened and the view of it. server.py serves it."""

import atexit
import gc
import logging
import sys
from pathlib import Path
from typing import Any

import streamlit as st
from omegaconf import DictConfig

from adapter.streamlit import STYLE, escape_markdown
from command import cli
from command.trained_run import data_key, refuse_other_classes
from explore import runs
from explore.image_view import image_view
from explore.runs import OpenedRun
from explore.test_set_views import confusion_view, numbers_view
from process.errors import UserError
from run.record import describe_error
from table.collect import RunRecord, known_as

log = logging.getLogger(__name__)
FOLDERS = sys.argv[1:] or ["outputs", "multirun"]
KEPT = {"true", "predicted", "show", "position", "number", "click_does", "subset"}  # widgets whose values stay


@st.cache_data(ttl=5, show_spinner=False)
def found_runs(folders: tuple[str, ...]) -> tuple[list[RunRecord], list[RunRecord]]:
    return runs.list_runs(list(folders))


@st.cache_resource(show_spinner="Loading the test images ...", max_entries=4)
def opened_source(key: str, _config: DictConfig) -> tuple[Any, list[str]]:
    """Open the test images once for all runs with this key: the cache ignores arguments that begin with _."""
    return runs.open_source(_config)


@st.cache_resource(show_spinner="Opening the run ...", max_entries=8)
def opened_network(folder: Path, written: float, _config: DictConfig) -> Any:
    network = runs.open_network(folder, _config)
    gc.collect()
    gc.freeze()  # Streamlit collects garbage after each click; among torch's objects that takes half a second
    return network


@st.cache_resource
def set_up_once() -> None:
    cli.register_resolvers()
    atexit.register(gc.unfreeze)  # otherwise Triton reports leaks at the end


def opened(run: RunRecord) -> OpenedRun | None:
    """Open the run; if it cannot be opened, show the reason and return None."""
    folder = Path(run.facts["folder"])
    try:
        config = runs.read_config(folder)
        key = data_key(config)
        source, class_names = opened_source(key, config)
        refuse_other_classes(folder, class_names)
        return OpenedRun(folder, key, opened_network(folder, runs.checkpoint_time(folder), config), source, class_names)
    except UserError as error:
        words = str(error)
    except Exception as error:  # a user's own code may raise anything, and the page must stay usable
        words = f"{describe_error(error)} (the traceback is in the terminal of this page)"
        log.exception(f"{folder} cannot be opened")
    st.error(escape_markdown(f"{runs.short_name(run)} cannot be opened: {words}"))
    return None


def chosen(key: str, words: str, options: list[str], name_of: dict[str, str]) -> str:
    """Show a select box in the sidebar; keep its choice while that is among the options, even if new runs appear."""
    if st.session_state.get(key) not in options:
        st.session_state[key] = options[0]
    return st.sidebar.selectbox(words, options, format_func=name_of.__getitem__, key=key)


def sidebar() -> tuple[RunRecord | None, RunRecord | None]:
    """Show the lists of runs; return the chosen run and the one that it is compared with."""
    st.sidebar.markdown("### PatchSets")
    good, bad = found_runs(tuple(FOLDERS))
    words = st.sidebar.text_input("Filter", placeholder="words: model, data, date, comment").lower().split()
    by_folder, name_of = {run.facts["folder"]: run for run in good}, {"": "none", **runs.labels(good)}
    matching = [folder for folder in by_folder if all(word in f"{name_of[folder]} {folder}".lower() for word in words)]
    first = second = ""
    if matching:
        first = chosen("run", f"Run (of {len(matching)}, newest first)", matching, name_of)
        second = chosen("second", "Compared with", ["", *(each for each in matching if each != first)], name_of)
    elif good:
        st.info("No run has these words in its name.")
    else:
        places = " and ".join(str(Path(folder).absolute()) for folder in FOLDERS)
        st.info(f"No run to open in {places}. Train one: `python src/train.py data=digits`")
    if bad:
        with st.sidebar.expander(f"{len(bad)} that cannot be opened"):
            for run in bad[:100]:
                st.caption(escape_markdown(f"{runs.short_name(run)}: {runs.obstacle(run)}"))
    return by_folder.get(first), by_folder.get(second)


def page() -> None:
    st.set_page_config("PatchSets", layout="wide", initial_sidebar_state=400)
    st.html(f"{STYLE}<i></i>")  # <i>: Streamlit holds a style sheet alone back until its next message
    set_up_once()
    for name in KEPT & st.session_state.keys():  # Streamlit forgets the values of widgets that are not on the page
        st.session_state[name] = st.session_state[name]
    first, second = sidebar()
    run = None if first is None else opened(first)
    if first is None or run is None:
        return
    st.title(f"{first.known.get('model', '')} on {first.known.get('data', '')}")
    tested = first.metrics.get(known_as("test_accuracy", first.metrics))
    facts = [str(run.folder), f"test accuracy {tested:.4f}" if tested is not None else "", first.facts.get("comment")]
    st.caption(escape_markdown(" · ".join(str(fact) for fact in facts if fact)))
    other = None
    if second is not None:
        other = opened(second)
        if other is not None and other.data_key != run.data_key:
            st.warning(f"{runs.short_name(second)} has other test images: runs are compared on the same ones.")
            other = None
        elif other is not None:
            st.caption(escape_markdown(f"first / second run: {runs.differing_settings(first, second)}"))
    names = list(runs.labels([first] if second is None or other is None else [first, second]).values())
    views = ["Image", "Test set", "Number of patches"]
    st.session_state.setdefault("view", views[0])
    view = st.segmented_control("View", views, key="view", required=True, label_visibility="collapsed")
    if view == "Image":
        image_view(run, other, names)
    elif view == "Test set":
        confusion_view(run, other)
    else:
        numbers_view([run] if other is None else [run, other], names)


page()
