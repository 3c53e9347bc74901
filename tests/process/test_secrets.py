import logging
import sys

import pytest
from omegaconf import OmegaConf

from process.errors import UserError
from process.secrets import Formatter, refuse_in_arguments, scrub
from settings import refuse_secrets

KEY = "0123456789abcdef"


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY",
        "NEPTUNE_API_TOKEN",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
        "PGPASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "CLIENT_SECRET",
        "openai_apikey",
    ],
)
def test_the_value_of_a_variable_that_is_named_like_a_secret_is_hidden(monkeypatch, name):
    monkeypatch.setenv(name, KEY)
    assert scrub(f"Bearer {KEY}, again {KEY}.") == "Bearer ***, again ***."


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "IDENTITY_TOKEN_FILE", "AWS_ACCESS_KEY_ID", "DATASET"])
def test_other_variables_are_not(monkeypatch, name):
    monkeypatch.setenv(name, KEY)
    assert scrub(KEY) == KEY


def test_a_setting_may_be_called_a_token_of_another_kind():
    refuse_in_arguments(["+model.network.class_token=learned", "+model.network.token_num=128000"])


def test_short_values_stand_in_other_words(monkeypatch):
    monkeypatch.setenv("PASSWORD", "train")
    assert scrub("train_loss") == "train_loss"


def test_a_secret_that_holds_another_is_hidden_whole(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "abcdefgh12345")
    assert scrub("abcdefgh12345 abcdefgh") == "*** ***"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("at https://me:pw@host:5000/path?a=b", "at https://***@host:5000/path?a=b"),
        ("postgresql://me:p%40w@db/x and http://:pw@h", "postgresql://***@db/x and http://***@h"),
        ("http://0123456789abcdef@host:5000/a", "http://***@host:5000/a"),
        ("http://me:p@ss@host/a", "http://***@host/a"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("http://host/a:b@c", "http://host/a:b@c"),
        ("git@github.com:me/repo", "git@github.com:me/repo"),
        ("ssh://git@host/repo", "ssh://git@host/repo"),
    ],
)
def test_user_and_password_in_urls(text, hidden):
    assert scrub(text) == hidden


def test_the_password_of_a_url_is_hidden_where_it_stands_alone(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter22@host")
    assert scrub("401 for hunter22") == "401 for ***"


def test_a_traceback_is_hidden(key):
    try:
        raise RuntimeError(f"401: {KEY}")
    except RuntimeError:
        entry = logging.LogRecord("x", logging.ERROR, "x.py", 1, "key %s", (KEY,), sys.exc_info())
    text = Formatter("%(message)s").format(entry)
    assert "RuntimeError: 401: ***" in text
    assert "key ***" in text
    assert KEY not in text


@pytest.mark.parametrize(
    "argument",
    [
        f"+loggers.wandb.api_key={KEY}",
        "loggers.neptune.api_token=abcdef",
        "++x.password=hunter22",
        "+loggers.wandb.api_key=${oc.env:WANDB_API_KEY}",
        "comment=${oc.env:WANDB_API_KEY,none}",
        "comment=${oc.env:MLFLOW_TRACKING_URI}",
        f"comment=my key is {KEY}",
        "+loggers.mlflow.uri=https://me:pw@host",
        f"hparams.lr=0.1,{KEY}",
        "+x.password=12345678",
        "+x.api_key.value=hunter22",
        "+x.secrets.me=hunter22",
        f"+{KEY}x=1",
        "comment=${oc.env:'WANDB_API_KEY'}",
        '+x="${ oc.env : WANDB_API_KEY , none}"',
        "+x=${oc.decode:${oc.env:WANDB_API_KEY}}",
    ],
)
def test_a_secret_in_a_setting_is_refused_without_saying_it(key, monkeypatch, argument):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:pw@host")
    with pytest.raises(UserError) as refused:
        refuse_in_arguments(["-m", "data=digits", argument])
    (line,) = str(refused.value).splitlines()
    assert line.startswith(argument.lstrip("+").partition("=")[0].replace(KEY, "***") + "=***: ")
    assert ".env" in line
    assert not [word for word in (KEY, "abcdef", "hunter22", "me:pw") if word in line]
    name, _, value = argument.lstrip("+").partition("=")
    with pytest.raises(UserError):
        refuse_secrets(OmegaConf.create({"a": [{name: value}]}))
    with pytest.raises(UserError):
        refuse_secrets(OmegaConf.from_dotlist([f"{name}={value}"]))


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("+x={api_key: abcdef}", "x.api_key"),
        ("+x={a: 1, b: {'password': 'hunter22'}}", "x.password"),
        ('+model.foo=[{a: {}}, {"token": hunter22}]', "model.foo.token"),
        ("+x={a: 1},{client_secret: hunter22}", "x.client_secret"),
    ],
)
def test_a_secret_inside_braces_is_refused(argument, name):
    with pytest.raises(UserError) as refused:
        refuse_in_arguments([argument])
    assert str(refused.value).startswith(f"{name}=***: ")


@pytest.mark.parametrize(
    "value", ["${oc.env:${n}}", "${oc.env:WANDB_${n}}", "${oc.${n}:WANDB_API_KEY}", "${${n}:WANDB_API_KEY}"]
)
def test_the_name_of_a_variable_is_not_computed(key, value):
    with pytest.raises(UserError, match="name of the environment variable") as refused:
        refuse_secrets(OmegaConf.create({"n": "x", "a": [value]}))
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "argument",
    [
        "data=digits",
        "--multirun",
        "loggers.wandb.api_key=null",
        "+model.network.cls_token=true",
        "data.root=${oc.env:DATASET,dataset}",
        "+loggers.mlflow.uri=http://host:5000",
        "comment=a@b: 10:30",
        "+x={tokenizer: sentences, key_dim: 128000, class_token: learned}",
        "+model.network.token={_target_: network.tokens.Learned, number: 128000}",
        "+model.secret={_target_: network.secret.Sharing}",
        "data.root=${oc.env:DATASET,${hparams.root}}",
        "+x=${data.${hparams.name}}:1",
        "comment=oc.env: nothing",
        "+x.password_file=/run/secrets/wandb",
    ],
)
def test_other_settings_pass(key, argument):
    refuse_in_arguments([argument])
    name, _, value = argument.partition("=")
    refuse_secrets(OmegaConf.create({name: value, "n": 1, "none": None}))


def test_a_short_secret_may_be_a_word_of_a_setting(monkeypatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", "mlflow")
    refuse_in_arguments(["loggers=[mlflow]"])
    refuse_secrets(OmegaConf.create({"_target_": "logger.mlflow.MLflow"}))


@pytest.mark.parametrize("more", [[], ["hparams.lr=0.1,0.2", "-m"]])
def test_refused_before_a_folder_exists(command, capfd, tmp_path, more):
    assert command("train", "data=digits", f"+loggers.wandb.api_key={KEY}", *more) == 1
    captured = capfd.readouterr()
    assert captured.err.startswith("error: loggers.wandb.api_key=***: a secret")
    assert captured.err.count("\n") == 1
    assert KEY not in captured.err + captured.out
    assert list(tmp_path.iterdir()) == []


def test_a_crash_shows_it_nowhere(broken_off, key, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", f"--key={KEY}"])
    monkeypatch.setattr("faults.Crash.happen", lambda fault: exec(f"raise RuntimeError('401 for {KEY}')"))
    broken_off("data=digits", "model=cnn", "loggers=none", "callbacks=[basic]", batch=1)
    captured = capsys.readouterr()
    assert "RuntimeError: 401 for ***" in captured.err
    assert KEY not in captured.err + captured.out
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "train.log" in {path.name for path in files}
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
