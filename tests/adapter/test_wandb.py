"""wandb still has the names that adapter/wandb.py and logger/wandb.py use."""

import inspect

import wandb
from wandb.sdk import wandb_setup
from wandb.sdk.lib import wbauth
from wandb.sdk.lib.service import service_connection
from wandb.sdk.wandb_run import Run

from adapter.wandb import cancel_exit_wait, started_at
from logger.wandb import RUN


def test_the_key_is_looked_up_without_a_prompt():
    parameters = inspect.signature(wbauth.authenticate_session).parameters
    missing = {"host", "source", "prompt", "update_session"} - parameters.keys()
    assert not missing, f"adapter/wandb.py needs wbauth.authenticate_session({', '.join(sorted(missing))}=)"


def test_the_wait_at_exit_can_be_cancelled(monkeypatch):
    singleton, cancelled = wandb_setup.singleton(), []
    assert hasattr(singleton, "_connection"), "adapter/wandb.py needs wandb_setup.singleton()._connection"
    source = inspect.getsource(service_connection)
    assert "cleanup=lambda: atexit.unregister(" in source, "adapter/wandb.py needs ServiceConnection(cleanup=)"
    connection = service_connection.ServiceConnection(None, None, None, cleanup=lambda: cancelled.append(True))
    monkeypatch.setattr(singleton, "_connection", connection)
    cancel_exit_wait()
    assert cancelled, "adapter/wandb.py needs ServiceConnection._cleanup"


def test_a_run_has_a_start_that_can_be_set():
    assert "self._start_time = time.time()" in inspect.getsource(Run), "adapter/wandb.py needs Run._start_time"
    begin = Run.__init__
    with started_at(1e9):
        assert Run.__init__ is not begin
    assert Run.__init__ is begin


def test_the_settings_are_known():
    missing = RUN.keys() - wandb.Settings.model_fields.keys()
    assert not missing, f"logger/wandb.py needs wandb.Settings({', '.join(sorted(missing))}=)"
