import csv

import pytest
import torch
from given_logits import noise, shown_in_test
from torch import nn

from figure.layer_table import LayerTable, as_csv, as_markdown, layers_of, name_groups, shape_of
from logger.figure_files import FigureFiles
from set_module.attention import MultiheadAttention
from set_module.set_batch import SetBatch

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.parts = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 6 * 5, 7))
        self.idle = nn.Linear(2, 2)
        self.weight = nn.Parameter(torch.ones(7, 2))

    def forward(self, images_BCHW, index_B=None):
        return self.parts(self.conv(images_BCHW.float())) @ self.weight


def test_shapes_parameters_and_multiply_adds_are_those_of_the_definition():
    layers = layers_of(Convolutions(), noise(1, 3, 6, 5))
    assert [(layer.name, layer.kind, layer.shape, layer.parameters, layer.multiply_adds) for layer in layers] == [
        ("", "Convolutions", "2", 14, 7 * 2),
        ("conv", "Conv2d", "4 x 6 x 5", 4 * 3 * 9, 6 * 5 * 4 * 3 * 9),
        ("parts.0", "ReLU", "4 x 6 x 5", 0, 0),
        ("parts.1", "Flatten", "120", 0, 0),
        ("parts.2", "Linear", "7", 120 * 7 + 7, 120 * 7),
        ("idle", "Linear", "", 6, 0),
    ]


@pytest.mark.parametrize("inference", [True, False])
def test_attention_is_counted_where_it_is_done(inference):
    module, sets = MultiheadAttention(8, 2), SetBatch(torch.randn(5, 8), torch.tensor([5]))
    with torch.inference_mode(inference):
        layers = {layer.name: layer for layer in layers_of(module, sets, sets)}
    # the products with Q, K, V, whose weights are `project`'s but whose work is not, then q k and a v
    assert layers[""].multiply_adds == 5 * 8 * 24 + 2 * 5 * 5 * 8
    assert (layers["project"].shape, layers["project"].parameters) == ("", 8 * 24 + 24)
    assert (layers["out"].shape, layers["out"].multiply_adds) == ("5 x 8", 5 * 8 * 8)


def test_of_a_batch_of_one_the_one_is_left_out():
    assert shape_of(torch.zeros(1, 3, 4)) == "3 x 4"
    assert shape_of(torch.zeros(6, 3)) == "6 x 3"
    assert shape_of(SetBatch(torch.zeros(6, 3), torch.tensor([6]))) == "6 x 3"
    assert shape_of(None) == ""


def test_text_agrees_with_the_layers():
    layers = layers_of(Convolutions(), noise(1, 3, 6, 5))
    lines = as_markdown("A title", layers).splitlines()
    assert lines[0] == "A title"
    assert len({len(line) for line in lines if line.startswith("|")}) == 1, "aligned"
    total = sum(layer.parameters for layer in layers)
    assert f" {total:,} |" in next(line for line in lines if "in all" in line)
    rows = list(csv.DictReader(as_csv(layers).splitlines()))
    assert [int(row["multiply_adds"]) for row in rows] == [layer.multiply_adds for layer in layers]


class OwnRates:
    """LightningModule of an embedding with a rate of its own, as far as the table reads it."""

    embed_lr = "0.1x"

    def __init__(self, embed, rest):
        self.groups = [{"name": "rest", "params": rest}, {"name": "embed", "params": embed}]

    def parameter_groups(self):
        return self.groups


def test_a_column_names_the_groups_of_parameters_with_rates_of_their_own():
    network = Convolutions()
    layers = layers_of(network, noise(1, 3, 6, 5))
    assert "rate" not in as_csv(layers) + as_markdown("", layers)
    network.idle.requires_grad_(False)
    of_embedding = [network.conv.weight]
    rest = [each for each in network.parameters() if each is not network.conv.weight]
    name_groups(layers, network, OwnRates(of_embedding, rest))
    rows = csv.DictReader(as_csv(layers).splitlines())
    expected = {"": "rest", "conv": "embed", "parts.0": "", "parts.1": "", "parts.2": "rest", "idle": "frozen"}
    assert {row["layer"]: row["rate"] for row in rows} == expected
    assert "| embed" in next(line for line in as_markdown("", layers).splitlines() if "| conv " in line)


@pytest.mark.parametrize("verbosity", [0, 1])
def test_is_shown_as_a_picture_text_and_numbers_and_printed_if_wanted(tmp_path, capsys, verbosity):
    files = FigureFiles(str(tmp_path / "figures"))
    images, labels = noise(5, 3, 6, 5), torch.zeros(5, dtype=torch.long)
    shown_in_test(LayerTable(verbosity), tmp_path, torch.zeros(5, 2), labels, images, Convolutions(), loggers=[files])
    assert sorted(files.files) == ["layer_table.csv", "layer_table.md", "layer_table.png"]
    assert files.files["layer_table.md"].startswith(b"Convolutions: an image of 3 x 6 x 5\n")
    assert ("multiply-adds" in capsys.readouterr().out) == bool(verbosity)
