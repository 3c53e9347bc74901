import pytest

from logger.wandb_settings import find_mode

KEY = "0123456789abcdef" * 2 + "01234567"

pytestmark = pytest.mark.usefixtures("nobody_is_logged_in")


def test_offline_without_a_key():
    assert find_mode(None) == "offline"


def test_online_without_a_key_is_an_error_and_no_question():
    with pytest.raises(RuntimeError, match=r"^no key for https://.*: `wandb login`, WANDB_API_KEY, or loggers\.wandb"):
        find_mode("online")


def test_online_with_the_key_of_the_environment(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert find_mode(None) == find_mode("online") == "online"
    assert find_mode("offline") == "offline"


def test_online_with_that_of_wandb_login(tmp_path):
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert find_mode(None) == "online"


def test_the_environment_chooses_where_the_config_does_not(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert find_mode(None) == "disabled"
    assert find_mode("online") == "online"
