"""The page: the list of runs. Only their records are read until a person chooses one. server.py serves it."""

import sys
from pathlib import Path

import streamlit as st

from adapter.streamlit import STYLE
from explore import runs
from explore.words import as_typed, code
from table.collect import RunRecord

FOLDERS = sys.argv[1:] or ["outputs", "multirun"]
KEPT = {"true", "predicted", "show", "position", "number", "click_does", "subset"}  # widgets whose values stay


def sidebar() -> tuple[RunRecord | None, RunRecord | None]:
    """Show the lists of runs; return the chosen run and the one that it is compared with."""
    st.sidebar.markdown("### PatchSets")
    by_folder, name_of, bad = runs.found_runs(tuple(FOLDERS))
    words = st.sidebar.text_input("Filter", placeholder="words: model, data, date, comment").lower().split()
    matching = [folder for folder in by_folder if all(word in f"{name_of[folder]} {folder}".lower() for word in words)]
    for key in ("run", "second"):
        if st.session_state.get(key) not in by_folder:
            st.session_state[key] = None

    def choose(key: str, label: str, placeholder: str, without: str | None = None) -> str | None:
        chosen = st.session_state[key]  # stays among the options if it does not match or a newer run appears
        options = [folder for folder in (matching if chosen in matching else [chosen, *matching]) if folder != without]
        options = [folder for folder in options if folder]
        return st.sidebar.selectbox(label, options, None, name_of.__getitem__, key, placeholder=placeholder)

    first = second = None
    if by_folder:
        first = choose("run", f"Run (of {len(matching)}, newest first)", "Choose a run")
    if first:
        second = choose("second", "Compared with", "None", without=first)
    if not by_folder:
        places = " and ".join(str(Path(folder).absolute()) for folder in FOLDERS)
        st.info(f"No run to open in {as_typed(places)}. Train one: {code('python src/train.py data=digits')}")
    elif not matching:
        st.info("No run has these words in its name.")
    elif not first:
        st.info("Choose a run in the list on the left: its network and its test images are opened then.")
    if bad:
        with st.sidebar.expander(f"{len(bad)} that cannot be opened"):
            for run in bad[:100]:
                st.caption(as_typed(f"{runs.short_name(run)}: {runs.obstacle(run)}", most=200))
    return by_folder.get(first or ""), by_folder.get(second or "")


def page() -> None:
    st.set_page_config("PatchSets", layout="wide", initial_sidebar_state=400)
    st.html(f"{STYLE}<i></i>")  # <i>: Streamlit holds a style sheet alone back until its next message
    for name in KEPT & st.session_state.keys():  # Streamlit forgets the values of widgets that are not on the page
        st.session_state[name] = st.session_state[name]
    first, second = sidebar()
    if first is not None:
        from explore.run_view import run_view  # imports torch, for which the list need not wait

        run_view(first, second)


page()
