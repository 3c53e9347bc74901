"""The page: which run is opened, what of it is looked at. `make explore`, or docker/explore.sh, starts it.

PYTHONPATH=src streamlit run src/explore/app.py [-- FOLDER ...]     (folders of runs; outputs and multirun by default)
"""

import atexit
import gc
import logging
import sys
from pathlib import Path
from typing import Any

import streamlit as st
from omegaconf import DictConfig

from command import cli
from command.trained_run import refuse_other_classes
from explore.confusion_view import confusion_view
from explore.image_view import image_view
from explore.literal import literal
from explore.numbers_view import numbers_view
from explore.opened_run import OpenedRun, data_key, open_data, open_network, read_config, version
from explore.run_list import choosable, differing, labels, reason, short
from process.errors import UserError
from run.record import in_a_line
from table.collect import RunRecord

log = logging.getLogger(__name__)
FOLDERS = sys.argv[1:] or ["outputs", "multirun"]
KEPT = {"true", "named", "show", "position", "number", "click_does", "subset"}
STYLE = """<style>
.block-container { padding: 1.2rem 2.6rem 2rem; max-width: 1500px }
[data-testid=stSidebar] [data-baseweb=select], [data-baseweb=popover] li { font-size: .85rem }
@media (max-width: 1150px) {
  .block-container { padding: 1.5rem 1rem }
  [data-testid=stHorizontalBlock] { flex-wrap: wrap; gap: .6rem }
  [data-testid=stColumn] { min-width: 110px }
  [class*=st-key-looked] [data-testid=stColumn] { min-width: 240px }
}
h1 { font-size: 1.5rem !important; padding: 0 0 .2rem !important }
[data-testid=stCaptionContainer] p { line-height: 1.35 }
</style>"""


@st.cache_data(ttl=5, show_spinner=False)
def found_runs(folders: tuple[str, ...]) -> tuple[list[RunRecord], list[RunRecord]]:
    return choosable(list(folders))


@st.cache_resource(show_spinner="Loading the test images ...", max_entries=4)
def opened_data(key: str, _config: DictConfig) -> tuple[Any, list[str]]:
    """Once for all runs with this key: Streamlit leaves what begins with _ out of its own."""
    return open_data(_config)


@st.cache_resource(show_spinner="Opening the run ...", max_entries=8)
def opened_network(folder: Path, written: float, _config: DictConfig) -> Any:
    network = open_network(folder, _config)
    gc.collect()
    gc.freeze()  # Streamlit collects garbage after every click: among torch's objects that takes half a second
    return network


@st.cache_resource
def once() -> None:
    cli.register_resolvers()
    atexit.register(gc.unfreeze)  # or Triton reports at the end what it takes for leaks


def opened(run: RunRecord) -> OpenedRun | None:
    """None, and words on the page, where it cannot be opened."""
    folder = Path(run.facts["folder"])
    try:
        config = read_config(folder)
        key = data_key(config)
        source, class_names = opened_data(key, config)
        refuse_other_classes(folder, class_names)
        return OpenedRun(folder, key, opened_network(folder, version(folder), config), source, class_names)
    except UserError as error:
        words = str(error)
    except Exception as error:  # code of one's own may raise anything: the page stays usable
        words = f"{in_a_line(error)} (the traceback is in the terminal of this page)"
        log.exception(f"{folder} cannot be opened")
    st.error(literal(f"{short(run)} cannot be opened: {words}"))
    return None


def chosen(key: str, words: str, options: list[str], name_of: dict[str, str]) -> str:
    """What was chosen stays so as long as it is there, whatever is trained meanwhile; else the first."""
    if st.session_state.get(key) not in options:
        st.session_state[key] = options[0]
    return st.sidebar.selectbox(words, options, format_func=name_of.__getitem__, key=key)


def sidebar() -> tuple[RunRecord | None, RunRecord | None]:
    """The run, and the one that it is compared with."""
    st.sidebar.markdown("### PatchSets")
    good, bad = found_runs(tuple(FOLDERS))
    words = st.sidebar.text_input("Filter", placeholder="words: model, data, date, comment").lower().split()
    by_folder, name_of = {run.facts["folder"]: run for run in good}, {"": "none", **labels(good)}
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
                st.caption(literal(f"{short(run)}: {reason(run)}"))
    return by_folder.get(first), by_folder.get(second)


def page() -> None:
    st.set_page_config("PatchSets", layout="wide", initial_sidebar_state=400)
    st.html(f"{STYLE}<i></i>")  # of style alone Streamlit keeps until its next message, as a toast
    once()
    for name in KEPT & st.session_state.keys():  # of what is not on the page, Streamlit forgets the values
        st.session_state[name] = st.session_state[name]
    first, second = sidebar()
    run = None if first is None else opened(first)
    if first is None or run is None:
        return
    st.title(f"{first.known.get('model', '')} on {first.known.get('data', '')}")
    tested = first.metrics.get("test_accuracy")
    facts = [str(run.folder), f"test accuracy {tested:.4f}" if tested is not None else "", first.facts.get("comment")]
    st.caption(literal(" · ".join(str(fact) for fact in facts if fact)))
    other = None
    if second is not None:
        other = opened(second)
        if other is not None and other.data_key != run.data_key:
            st.warning(f"{short(second)} has other test images: runs are compared on the same ones.")
            other = None
        elif other is not None:
            st.caption(literal(f"first / second run: {differing(first, second)}"))
    shown = [each for each in (first, second) if each is not None][: 1 + (other is not None)]
    names = list(labels(shown).values())
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
