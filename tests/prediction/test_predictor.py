from functools import partial

import pytest
import torch
from tasks import classification
from torch import nn

from network.canvas import Canvas
from network.cnn import CNN
from prediction.places_file import PlacesFile
from prediction.predictor import Predictor
from prediction.table import Table
from process.errors import UserError
from selection.glimpse import Glimpses
from selection.grid import Grid
from task.multilabel import Multilabel
from task.regression import Count
from task.several import Several

# B images, D draws, K classes

TASK = classification(num_classes=2)


class Drawing(nn.Module):
    """Logits [B, K], `logits` [D, K] that the draw decides, plus the image's own; at most 8 patches."""

    patch_num, max_patch_num, cutout = (1, 4), 8, object()
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.5, 0.0]])

    def forward(self, images_BCHW, index_B):
        return self.logits[index_B] + images_BCHW.flatten(1).float()


class Unlimited(Drawing):
    def forward(self, images_BCHW, index_B):
        return torch.empty(10**14)


class Broken(Drawing):
    def forward(self, images_BCHW, index_B):
        return self.logits @ self.logits


IMAGES = torch.tensor([[1, 0], [0, 3]], dtype=torch.uint8).view(2, 1, 1, 2)


def predicted(network, draws, images=IMAGES):
    return Predictor(network, TASK, draws, None).predict_step((images, torch.arange(len(images)) + 40, {}), 0)[:2]


def test_mean_and_standard_deviation_of_the_same_draws_for_each_image():
    mean_BK, spread_BK = predicted(Drawing(), 3)
    for image, mean_K, spread_K in zip(IMAGES, mean_BK, spread_BK, strict=True):
        softmax_DK = (Drawing.logits + image.flatten()).softmax(1)
        torch.testing.assert_close(mean_K, softmax_DK.sum(0) / 3)
        torch.testing.assert_close(spread_K, (((softmax_DK - mean_K) ** 2).sum(0) / 2).sqrt())


def test_what_draws_nothing_looks_once():
    class Once(nn.Module):
        def forward(self, images_BCHW, index_B):
            return images_BCHW.flatten(1).float()

    mean_BK, spread_BK = predicted(Once(), 16)
    torch.testing.assert_close(mean_BK, IMAGES.flatten(1).float().softmax(1))
    assert spread_BK is None


def test_a_batch_of_which_nothing_could_be_read():
    mean_BK, spread_BK = predicted(Drawing(), 3, IMAGES[:0])
    assert len(mean_BK) == 0
    assert spread_BK is None


def test_the_number_of_patches_is_set_or_refused():
    network = Drawing()
    Predictor(network, TASK, 2, 5)
    assert network.patch_num == 5
    with pytest.raises(UserError, match=r"patch_num=9: must be <= 8, the most that its selection takes"):
        Predictor(Drawing(), TASK, 2, 9)
    with pytest.raises(UserError, match="does not draw patches"):
        Predictor(nn.Flatten(), TASK, 2, 5)


def test_more_than_the_memory_holds_is_refused():
    with pytest.raises(
        UserError, match=r"2 images at once need too much memory: choose a smaller hparams.batch_size or patch_num"
    ):
        predicted(Unlimited(), 2)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        predicted(Broken(), 2)


def test_bags_are_no_images():
    network = Drawing()
    network.cutout = None
    network.cut = network.encode = network.read = network.forward
    with pytest.raises(UserError, match="takes bags of images"):
        Predictor(network, TASK, 1, None)


def test_several_tasks_have_a_mean_and_a_spread_each():
    several = Several(
        {"rate": Count((), num_outputs=1, loss=nn.PoissonNLLLoss()), "label": Multilabel(1, nn.BCEWithLogitsLoss())}, {}
    )
    means, stds, _ = Predictor(Drawing(), several, 3, None).predict_step((IMAGES, torch.arange(2), {}), 0)
    outputs_DBK = torch.stack([Drawing.logits[[d, d]] + IMAGES.flatten(1) for d in range(3)])
    rates_DB = outputs_DBK[..., 0].exp()
    torch.testing.assert_close(means["rate"], rates_DB.mean(0))
    torch.testing.assert_close(stds["rate"], rates_DB.std(0))
    torch.testing.assert_close(means["label"], outputs_DBK[..., 1:].sigmoid().mean(0))
    assert Predictor(Drawing(), several, 1, None).predict_step((IMAGES, torch.arange(2), {}), 0)[1] is None


def test_the_table_has_a_row_for_each_image_and_counts_the_answers(tmp_path):
    task = Count((), num_outputs=1, loss=nn.PoissonNLLLoss())
    with (tmp_path / "out.csv").open("w") as file:
        table = Table(file, ["a.png", "b.png", "c.png"], task, [], spread=True)
        rates = torch.tensor([2.5, 2.75])
        table.on_predict_batch_end(None, None, (rates, rates / 10), (None, torch.tensor([0, 2]), {1: "b"}), 0)
        table.on_predict_batch_end(None, None, (torch.empty(0, 1), None), (None, torch.tensor([]), {}), 1)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines == ["file,count,rate,spread", "a.png,2,2.5,0.25", "c.png,3,2.75,0.275"]
    assert table.totals() == {"images": 2, "unreadable": 1, "predicted": "2: 1, 3: 1"}
    assert table.first[0] == "a.png  2  2.5 ± 0.25"


def canvas(selection):
    torch.manual_seed(0)
    facts = {"channels": 1, "image_size": [8, 8], "num_outputs": 2, "mean": [0.5], "std": [0.5]}
    patches = {"patch_size": 3, "patch_num_min": 1, "patch_num_max": 4, "test_patch_num": 4, "seed": 0}
    network = Canvas(**facts, **patches, selection=selection, body=partial(CNN, widths=[4])).eval()
    for parameter in network.cutout.parameters():
        torch.nn.init.normal_(parameter)  # the choice shall differ from image to image
    return network


def test_places_are_those_that_the_prediction_is_made_from_in_their_order(tmp_path):
    network = canvas(Glimpses)
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = (images, torch.arange(5), {})
    predictor = Predictor(network, TASK, 1, 3, places=True)
    mean_BK, _, places = outputs = predictor.predict_step(batch, 0)
    torch.testing.assert_close(mean_BK, network(images).softmax(1))
    assert places.lengths.tolist() == 5 * [3]
    for image, corners_n2 in zip(images, places, strict=True):
        for number in range(3):
            scores_RX = network.cutout.next_scores(image, corners_n2[:number])
            assert divmod(int(scores_RX.argmax()), 6) == tuple(corners_n2[number].tolist())
    assert len({str(corners_n2.tolist()) for corners_n2 in places}) > 1

    file = PlacesFile(tmp_path / "places.csv", [f"{number}.png" for number in range(5)])
    file.on_predict_batch_end(None, None, outputs, batch, 0)
    file.on_predict_end(None, None)
    lines = (tmp_path / "places.csv").read_text().splitlines()
    assert lines[0] == "file,patch,x,y"
    assert lines[1:4] == [f"0.png,{number},{x},{y}" for number, (y, x) in enumerate(places[0].tolist(), 1)]
    assert [line.split(",")[0] for line in lines[1:]] == [f"{image}.png" for image in range(5) for _ in range(3)]
    assert file.written == 15


def test_without_a_readable_image_no_places_are_written(tmp_path):
    predictor, file = (
        Predictor(canvas(Glimpses), TASK, 1, None, places=True),
        PlacesFile(tmp_path / "places.csv", ["a"]),
    )
    batch = (torch.empty(0, 1, 8, 8, dtype=torch.uint8), torch.arange(0), {0: "a: damaged"})
    file.on_predict_batch_end(None, None, predictor.predict_step(batch, 0), batch, 0)
    file.on_predict_end(None, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("network", [Drawing(), nn.Flatten(), canvas(Grid)])
def test_places_of_a_network_that_chooses_none_are_refused(network):
    with pytest.raises(UserError, match="places=true: this network does not choose where to look: leave it out"):
        Predictor(network, TASK, 1, None, places=True)
