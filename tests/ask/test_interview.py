import shlex
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ask import interview, questions
from ask.interview import arguments, ask
from command.arguments import expand_short_options, prepare_argv
from process.gpus import GIB, GPU

COMMENTS = [
    "plain",
    "日本語 の メモ",
    "a=b, c",
    'it\'s "quoted" $HOME `x` \\ !',
    "'in quotes'",
    '"a" and "b"',
    "null",
    "{x} [y] ~z",
    "'${oc.env:HOME}'",
    "1e3",
    "'ends in \\'",
]
GPUS = [
    GPU(0, "A", 10 * GIB, 80 * GIB, 99, "GPU-a", (9, 0)),
    GPU(1, "A", 70 * GIB, 80 * GIB, 0, "GPU-b", (9, 0)),
]


def as_hydra_reads(argument: str) -> object:
    (override,) = OverridesParser.create().parse_overrides(prepare_argv([argument]))
    return override.value()


@pytest.mark.processes
@pytest.mark.parametrize("comment", COMMENTS)
def test_any_comment_reaches_train_as_it_was_typed(comment):
    *_, argument = arguments({"recipe": "mnist_fast", "comment": comment})
    pasted = subprocess.run(["bash", "-c", f"printf %s {shlex.join([argument])}"], capture_output=True, check=True)
    value = as_hydra_reads(pasted.stdout.decode())
    assert str(value).replace("\\${", "${") == comment  # OmegaConf takes this backslash away
    assert not isinstance(value, type(None) | dict | list)


@pytest.mark.parametrize("root", ["/data/pets", "flowers", "123", "a folder/with, commas", "日本/花", "it's/here"])
def test_any_folder_too(root):
    argument = arguments({"recipe": "none", "data": "image_folder", "model": "cnn", "root": root, "comment": ""})[-1]
    assert as_hydra_reads(argument) == root


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (None, []),
        ("processor", ["trainer=cpu"]),
        ("GPU 1", ["trainer=gpu", "trainer.devices=[1]"]),
        ("all GPUs", ["trainer=ddp"]),
    ],
)
def test_the_device(device, words):
    answers = {"recipe": "mnist_fast", "comment": ""} | ({"device": device} if device else {})
    assert expand_short_options(arguments(answers)) == [*words, "experiment=mnist_fast"]


@pytest.fixture
def asked(monkeypatch):
    """Answers what is proposed, but for `replies`; keeps what was asked."""
    calls, replies = {}, {}

    def select(question, options, default=None):
        calls[question] = (list(options), default or next(iter(options)))
        return replies.get(question, calls[question][1])

    monkeypatch.setattr(questions, "select", select)
    monkeypatch.setattr(questions, "text", lambda question, default: replies.get(question, default))
    monkeypatch.setattr(questions, "image_folder", lambda question, default: default or "/images")
    return calls, replies


def test_the_freest_gpu_and_the_defaults_are_proposed(asked):
    answers = ask(GPUS, {})
    assert asked[0]["Where?"] == (["GPU 0", "GPU 1", "all GPUs", "processor"], "GPU 1")
    assert arguments(answers) == ["--device", "1", "data=MNIST", "model=patch_set"]


def test_without_gpus_the_question_is_left_out(asked):
    assert arguments(ask([], {})) == ["data=MNIST", "model=patch_set"]
    assert "Where?" not in asked[0]


def test_answers_given_before_are_proposed(asked):
    before = {"device": "processor", "recipe": "none", "data": "image_folder", "model": "vgg11", "root": "/pets"}
    assert ask(GPUS, before | {"comment": "again"}) == before | {"comment": "again"}


def test_bags_are_for_networks_of_sets_alone(asked):
    asked[1]["Which data?"] = "MNIST_bags"
    ask([], {"model": "cnn"})
    assert {"patch_set", "pointnet"} <= set(asked[0]["Which model?"][0])
    assert not {"cnn", "lenet", "vgg11_bn"} & set(asked[0]["Which model?"][0])


def test_a_recipe_for_a_folder_asks_for_the_folder_and_no_more(asked):
    asked[1]["A recipe?"] = "cifar10_lenet"
    assert ask([], {}) == {"recipe": "cifar10_lenet", "root": "/images", "comment": ""}
    assert "Which data?" not in asked[0]
    assert interview.OWN in asked[0]["A recipe?"][0]


def test_bags_of_ones_own_are_in_a_folder_that_is_asked_for(asked, monkeypatch):
    monkeypatch.setattr(questions, "bag_folder", lambda question, default: default or "/slides")
    asked[1]["Which data?"] = "feature_bags"
    assert arguments(ask([], {})) == ["data=feature_bags", "model=patch_set", "data.root=/slides"]
