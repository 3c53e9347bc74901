"""TAB in this process: the answers, and what is left to the shell. tests/hydra types into real shells."""

import pytest

import settings
from command import completion

WORDS = {"hparams.ba": "hparams.batch_size=\n", "hparams.lr=": "hparams.lr=0.003\n", "re": "resume=\n"}


@pytest.fixture
def answered(monkeypatch, capsys):
    """`answered("train", "--lr ")` -> the answers, the line that Hydra was asked, or None."""

    def ask(command, line):
        monkeypatch.setenv("COMP_LINE", f"python src/{command}.py {line}")
        asked = []

        def hydra():
            import os

            asked.append(os.environ["COMP_LINE"])
            print(WORDS.get(asked[0].split(" ")[-1], ""), end="")

        completion.answer(command, hydra)
        return capsys.readouterr().out.split(), asked[0] if asked else None

    return ask


def test_short_options_and_those_of_hydra(answered):
    assert answered("train", "--l") == (["--lr"], None)
    assert answered("train", "--") == (["--lr", "--bs", "--epochs", "--device", "--resume", *completion.HYDRAS], None)
    assert answered("evaluate", "--") == (list(completion.HYDRAS), None)


def test_the_value_of_a_short_option_is_that_of_its_setting(answered):
    assert answered("train", "--lr ") == (["0.003"], "python src/train.py hparams.lr=")


def test_short_options_before_are_settings_for_hydra(answered):
    answers, asked = answered("train", "--bs 4 hparams.ba")
    assert (answers, asked) == (["hparams.batch_size="], "python src/train.py hparams.batch_size=4 hparams.ba")


@pytest.mark.parametrize("name", settings.names("path"))
def test_the_shell_completes_paths(answered, name):
    assert answered("train", f"{name}=") == ([], None)
    assert answered("train", f"{name}")[1] is not None


def test_a_line_that_hydra_cannot_read_has_no_answers(command, monkeypatch, capfd):
    monkeypatch.setenv("COMP_LINE", "python x.py --cfg a=1 hparams.")
    assert command("train", "-sc", "query=fish") == 0
    captured = capfd.readouterr()
    assert (captured.out.split(), captured.err) == ([], "")


def test_settings_that_are_read_before_hydra_belong_to_train(answered):
    assert answered("train", "re")[0] == ["resume=", "resume_sweep="]
    assert answered("evaluate", "re")[0] == ["resume="]


def test_embed_without_a_run_takes_the_networks_of_libraries(answered):
    assert answered("embed", "model=") == (["model=torchvision", "model=timm"], None)
    assert answered("embed", "model=ti") == (["model=timm"], None)
