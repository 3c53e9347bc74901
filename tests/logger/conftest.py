"""Fixtures of several loggers' tests."""

import sys

import pytest


@pytest.fixture
def nobody_is_logged_in(tmp_path, monkeypatch):
    """Hide the machine's key and login of wandb, and undo with the test what wandb writes and replaces."""
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "exit", sys.exit)  # both are replaced by wandb
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield
    wandb.teardown()
