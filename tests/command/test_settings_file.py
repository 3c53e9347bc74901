import pytest

from command.arguments import expand_settings_files, read_settings_file
from process.errors import UserError


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_mapping_becomes_settings_as_hydra_reads_them(tmp_path):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    text = """
    data: digits
    model/pool: attention
    hparams: {lr: 1e-3, pool: [mean, "a,b"], patience: null}
    "+optimizer.betas": [0.9, 0.99]
    callbacks.pictures: {}
    debug: true
    comment: "日本語, it's = ${x} \\\\"
    """
    settings = read_settings_file(written(tmp_path, text))
    parsed = OverridesParser.create().parse_overrides(settings)
    assert {override.key_or_group: override.value() for override in parsed} == {
        "data": "digits",
        "model/pool": "attention",
        "hparams.lr": 0.001,
        "hparams.pool": ["mean", "a,b"],
        "hparams.patience": None,
        "optimizer.betas": [0.9, 0.99],
        "callbacks.pictures": {},
        "debug": True,
        "comment": "日本語, it's = ${x} \\",
    }
    assert settings[0] == "data=digits"


def test_a_list_is_a_command_line(tmp_path):
    path = written(tmp_path, "- data=digits\n- +optimizer.momentum=0.9\n- comment=a, b\n")
    assert read_settings_file(path) == ["data=digits", "+optimizer.momentum=0.9", "comment='a, b'"]


def test_what_stands_on_the_command_line_wins(tmp_path):
    path = written(tmp_path, "data: digits\nhparams: {lr: 0.1, seed: 3}\n")
    argv = [f"settings_file={path}", "hparams.lr=0.2", "-m"]
    assert expand_settings_files(argv) == ["data=digits", "hparams.seed=3", "hparams.lr=0.2", "-m"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- [1]\n", "is no setting"),
        ("17\n", "cannot be read"),
        ("a: [\n", "cannot be read"),
        ("data: {_target_: x}\n", "whole config.*rerun"),
        (None, "No such file"),
    ],
)
def test_refuses_in_a_line(tmp_path, text, words):
    path = tmp_path / "mine.yaml" if text is None else written(tmp_path, text)
    with pytest.raises(UserError, match=words) as raised:
        read_settings_file(path)
    assert "\n" not in str(raised.value)


def test_trains_by_it(train, tmp_path):
    from run.folder import read_run_json

    path = written(tmp_path, "data: digits\nmodel: cnn\ndebug: true\ncomment: out of a file\nhparams.seed: 5\n")
    folder = train("-c", str(path), "--bs", "32")
    facts = read_run_json(folder)
    assert (facts["seed"], facts["comment"]) == (5, "out of a file")
    assert facts["settings"]["hparams.batch_size"] == 32
