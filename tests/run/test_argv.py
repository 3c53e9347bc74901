import pytest

from run.argv import _quote, prepare_argv
from run.errors import UserError


@pytest.mark.parametrize(
    "text", ["a b", "lr=0.1, long", "日本語", "it's", 'say "x"', "${oc.env:HOME}", "[a", "back\\slash", "a\\'b"]
)
def test_free_text_arrives_as_it_is(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    (override,) = OverridesParser.create().parse_overrides([_quote(f"comment={text}")])
    assert OmegaConf.create({"comment": override.value()}).comment == text


def test_other_arguments_stay_as_they_are():
    argv = ["hparams.pool=[mean,max]", "-m", "comment=null", "+comment=x", "data=MNIST"]
    assert prepare_argv(argv) == argv


def test_a_run_brings_its_config_and_overrides(tmp_path):
    (tmp_path / "source" / "config").mkdir(parents=True)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- data=digits\n- hparams.lr=0.1\n")
    prepared = prepare_argv([f"run={tmp_path}", "hparams.lr=0.2"])
    assert prepared[0] == f"--config-path={tmp_path}/source/config"
    assert prepared[1:3] == ["data=digits", "hparams.lr=0.1"]
    assert prepared[3:5] == [f"run='{tmp_path}'", f"hydra.run.dir='{tmp_path}'"]
    assert prepared[-1] == "hparams.lr=0.2"


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no run folder"):
        prepare_argv([f"run={tmp_path}"])
