"""The server of the page: it answers to its own names only. `make explore`, or docker/explore.sh, starts it.

PYTHONPATH=src streamlit run src/explore/server.py --server.allowedHosts localhost [-- FOLDER ...]
(its names in URLs, one option for each; folders with runs: outputs and multirun by default)
"""

from pathlib import Path

from starlette.middleware import Middleware
from streamlit.starlette import App

from adapter.streamlit import OwnNamesOnly

app = App(Path(__file__).with_name("app.py"), middleware=[Middleware(OwnNamesOnly)])
