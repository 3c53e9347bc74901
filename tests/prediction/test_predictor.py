import pytest
import torch
from tasks import classification
from torch import nn

from prediction.predictor import Predictor
from prediction.table import Table
from process.errors import UserError
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
    return Predictor(network, TASK, draws, None).predict_step((images, torch.arange(len(images)) + 40, {}), 0)


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
    several = Several({"rate": Count((), num_outputs=1, loss=None), "label": Multilabel(1, nn.BCEWithLogitsLoss())}, {})
    means, stds = Predictor(Drawing(), several, 3, None).predict_step((IMAGES, torch.arange(2), {}), 0)
    outputs_DBK = torch.stack([Drawing.logits[[d, d]] + IMAGES.flatten(1) for d in range(3)])
    rates_DB = outputs_DBK[..., 0].exp()
    torch.testing.assert_close(means["rate"], rates_DB.mean(0))
    torch.testing.assert_close(stds["rate"], rates_DB.std(0))
    torch.testing.assert_close(means["label"], outputs_DBK[..., 1:].sigmoid().mean(0))
    assert Predictor(Drawing(), several, 1, None).predict_step((IMAGES, torch.arange(2), {}), 0)[1] is None


def test_the_table_has_a_row_for_each_image_and_counts_the_answers(tmp_path):
    task = Count((), num_outputs=1, loss=None)
    with (tmp_path / "out.csv").open("w") as file:
        table = Table(file, ["a.png", "b.png", "c.png"], task, [], spread=True)
        rates = torch.tensor([2.5, 2.75])
        table.on_predict_batch_end(None, None, (rates, rates / 10), (None, torch.tensor([0, 2]), {1: "b"}), 0)
        table.on_predict_batch_end(None, None, (torch.empty(0, 1), None), (None, torch.tensor([]), {}), 1)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines == ["file,count,rate,spread", "a.png,2,2.5,0.25", "c.png,3,2.75,0.275"]
    assert table.totals() == {"images": 2, "unreadable": 1, "predicted": "2: 1, 3: 1"}
    assert table.first[0] == "a.png  2  2.5 ± 0.25"
