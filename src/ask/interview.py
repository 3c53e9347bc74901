"""The interview of start.py, and the arguments of train.py that its answers make."""

import re

from ask import choices, questions
from process.gpus import GPU
from settings import quote, quoted

OWN, ALL, CPU = "none", "all GPUs", "processor"


def ask(gpus: list[GPU], before: dict[str, str]) -> dict[str, str]:
    """Ask for the device (if there are GPUs), a recipe or data and a model, and a comment; return the answers.

    The answers `before` are the defaults.
    """
    answers = {}
    if gpus:
        devices = {f"GPU {gpu.number}": str(gpu) for gpu in gpus}
        devices |= {ALL: "each trains on a part of the images"} if len(gpus) > 1 else {}
        freest = f"GPU {max(gpus, key=lambda gpu: gpu.free or 0).number}"
        answers["device"] = questions.select("Where?", devices | {CPU: ""}, before.get("device", freest))
    recipes = {OWN: "data and model of your choice", **choices.options("experiment")}
    answers["recipe"] = questions.select("A recipe?", recipes, before.get("recipe"))
    data = choices.chosen(f"experiment/{answers['recipe']}", "data")
    if answers["recipe"] == OWN:
        data = answers["data"] = questions.select("Which data?", choices.options("data"), before.get("data"))
        models = choices.options("model")
        if choices.holds_bags(data):
            models = {name: text for name, text in models.items() if choices.takes_sets(name)}
        answers["model"] = questions.select("Which model?", models, before.get("model"))
    if data is not None and choices.is_folder(data):
        answers["root"] = questions.image_folder("Which folder, or .zip, of images?", before.get("root"))
    if data is not None and choices.is_bag_folder(data):
        answers["root"] = questions.bag_folder("Which folder, with bags.csv in it?", before.get("root"))
    answers["comment"] = questions.text("A comment, if you like:", before.get("comment", ""))
    return answers


def arguments(answers: dict[str, str]) -> list[str]:
    """Return the arguments of train.py."""
    words = {None: [], CPU: ["trainer=cpu"], ALL: ["trainer=ddp"]}.get(answers.get("device"))
    if words is None:
        words = ["--device", answers["device"].removeprefix("GPU ")]
    if answers["recipe"] == OWN:
        words += [f"data={answers['data']}", f"model={answers['model']}"]
    else:
        words.append(f"experiment={answers['recipe']}")
    if "root" in answers:
        words.append(_text("data.root", answers["root"]))
    if answers["comment"]:
        words.append(_text("comment", answers["comment"]))
    return words


def _text(name: str, value: str) -> str:
    """Return name=value, in Hydra's quotes if train.py would read it as another value, such as a comment `null`."""
    plain = f"{name}={value}"
    if quote(plain) != plain or re.fullmatch(r"[\w.-]*/[\w./-]*", value, re.ASCII):
        return plain
    return f"{name}={quoted(value)}".replace("${", "\\${")
