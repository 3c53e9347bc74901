import matplotlib
import numpy
import pytest
import torch
import warm
from given_logits import Given, noise
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning import Trainer
from recorder import Recorder
from runs import REPOSITORY

import fonts
from figure.picture import (
    BOX,
    MARGIN,
    TEXT,
    WHITE,
    WarnOnFailure,
    abreast,
    boxed,
    captioned,
    class_name,
    drawn,
    grid,
    has_picture_logger,
    log_picture,
    loggers_with,
    mosaic,
    shortened,
    text_width,
    write,
)
from logger.metrics_csv import MetricsCSV

DEJAVU = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"


def pixels(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(numpy.array(picture)).movedim(2, 0)


def test_a_small_image_becomes_squares():
    image_CHW = noise(1, 3, 7, 4)[0]
    shown = pixels(drawn(image_CHW, side=28))
    assert torch.equal(shown, image_CHW.repeat_interleave(4, 1).repeat_interleave(4, 2))


def test_a_large_image_is_averaged():
    image_CHW = noise(1, 3, 90, 60)[0]
    shown = pixels(drawn(image_CHW, side=30)).float()
    torch.testing.assert_close(shown, torch.nn.functional.avg_pool2d(image_CHW.float(), 3), atol=1, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (1, 1, 500), (2, 500, 1), (4, 30, 40), (3, 3000, 2000)])
def test_any_shape_fits_its_square(shape):
    shown = pixels(drawn(noise(1, *shape)[0], side=100))
    assert max(shown.shape[1:]) == 100
    assert shape[0] >= 3 or torch.equal(shown[0], shown[2])  # gray


def test_outlines_lie_where_the_patches_are():
    black = torch.zeros(1, 8, 8, dtype=torch.uint8)
    shown = pixels(boxed(black, torch.tensor([[2, 5]]), 3)).movedim(0, 2)  # 28 pixels to one of the image
    coloured = (shown == torch.tensor(BOX)).all(2).nonzero()
    assert coloured.min(0).values.tolist() == [2 * 28, 5 * 28]
    assert coloured.max(0).values.tolist() == [5 * 28 - 1, 8 * 28 - 1]


def test_a_grid_has_rows_as_high_as_their_highest():
    sizes = [(10, 20), (30, 5), (4, 4)]
    sheet = grid([Image.new("RGB", size, (number, 0, 0)) for number, size in enumerate(sizes)], columns=2, margin=2)
    assert sheet.size == (30 + 2 + 30, 20 + 2 + 4)
    assert [sheet.getpixel(place) for place in [(0, 19), (32, 0), (0, 22), (11, 0)]] == [
        (0, 0, 0),
        (1, 0, 0),
        (2, 0, 0),
        WHITE,
    ]


def test_a_mosaic_shows_the_first_of_many():
    bright = torch.full((1, 5, 5), 200, dtype=torch.uint8)
    picture = mosaic([bright] * 64 + [bright * 0] * 200, side=112)
    assert max(picture.size) <= 112
    assert pixels(picture).min() == 200


def test_of_a_text_too_long_beginning_and_end_are_kept():
    assert shortened("short", 224) == "short"
    cut = shortened("a name that is much too long 18", 80)
    assert cut.startswith("a ")
    assert cut.endswith(" 18")
    assert "..." in cut
    assert 60 < text_width(cut, TEXT) <= 80
    assert shortened("abc", 1) == "..."
    picture = captioned(Image.new("RGB", (80, 10), WHITE), "one", "two")
    assert picture.size == (80, 2 * (TEXT + 4) + 10)
    assert pixels(picture).min() < 100


def test_side_by_side_each_as_wide_as_it_is():
    sheet = abreast([Image.new("RGB", (3, 5), "red"), Image.new("RGB", (20, 2), "blue")], margin=4)
    assert sheet.size == (27, 5)
    colours = [sheet.getpixel(place) for place in ((2, 4), (3, 0), (7, 1), (26, 1), (7, 2))]
    assert colours == [(255, 0, 0), (255, 255, 255), (0, 0, 255), (0, 0, 255), (255, 255, 255)]


def trainer(*loggers) -> Trainer:
    return Trainer(accelerator="cpu", logger=list(loggers), callbacks=[], enable_checkpointing=False)


def test_pictures_go_to_the_loggers_that_take_them(tmp_path):
    both = trainer(MetricsCSV(tmp_path), recorder := Recorder(tmp_path))
    assert has_picture_logger(both)
    assert loggers_with(both, "log_image") == [recorder]
    log_picture(both, "pictures/x", Image.new("RGB", (7, 3), (1, 2, 3)))
    with Image.open(tmp_path / "pictures" / "x_at_0.png") as shown:
        assert shown.size == (7 + 2 * MARGIN, 3 + 2 * MARGIN)
        assert shown.getpixel((MARGIN, MARGIN)) == shown.getpixel((MARGIN + 6, MARGIN + 2)) == (1, 2, 3)
        assert shown.getpixel((0, 0)) == shown.getpixel((MARGIN + 7, MARGIN + 3)) == WHITE
    with pytest.raises(TypeError, match="pictures/x: a ndarray is no picture: give a PIL image"):
        log_picture(both, "pictures/x", numpy.zeros((3, 7, 3)))
    assert not has_picture_logger(trainer(MetricsCSV(tmp_path)))
    assert not has_picture_logger(trainer())


def test_on_other_ranks_nobody_takes_them(tmp_path, monkeypatch):
    other = trainer(Recorder(tmp_path))
    monkeypatch.setattr(Trainer, "is_global_zero", False)
    assert loggers_with(other, "log_image") == []


def test_names_are_drawn_in_a_font_that_has_their_letters_else_numbered(monkeypatch, caplog):
    monkeypatch.setattr(fonts, "find", lambda letters: DEJAVU if letters == "é" else None)
    named = trainer()
    assert class_name(named, 3) == "3"  # nobody knows a name
    named.datamodule = Given(noise(1, 1, 2, 2), None, 1, ["Café", "猫", "", "犬"])
    with caplog.at_level("INFO"):
        assert [class_name(named, label) for label in range(5)] == ["Café", "class 1", "2", "class 3", "4"]
    assert caplog.messages[-1].endswith("pictures show class 1 for 猫, class 3 for 犬")
    pictures = [captioned(Image.new("RGB", (80, 9), WHITE), name) for name in ("Café", "Cafe")]
    assert pixels(pictures[0]).ne(pixels(pictures[1])).any()
    assert text_width("Café", TEXT) == ImageFont.truetype(DEJAVU, TEXT).getlength("Café")


@pytest.mark.parametrize("align", ["left", "centre", "right"])
def test_a_line_of_several_fonts_ends_where_it_should(align, monkeypatch):
    default, other = fonts.default(TEXT), ImageFont.truetype(DEJAVU, TEXT)
    monkeypatch.setattr(fonts, "pieces", lambda text, size: [("ab", default), ("Ж", other)])
    width = default.getlength("ab") + other.getlength("Ж")
    sheet = Image.new("RGB", (120, 30), WHITE)
    write(ImageDraw.Draw(sheet), (60, 15), "abЖ", TEXT, align=align)
    columns = (pixels(sheet).amin((0, 1)) < 128).nonzero()
    start = 60 - {"left": 0, "centre": width / 2, "right": width}[align]
    assert abs(int(columns.min()) - start) <= 2
    assert abs(int(columns.max()) - (start + width)) <= 2


@pytest.mark.processes
def test_two_processes_show_what_one_does(tmp_path):
    """Counts and worst images are those of all ranks."""
    options = (
        *("data=digits", "model=lenet", "hparams.lr=1e-30", "hparams.max_epochs=1", "trainer=ddp"),
        *("trainer.accelerator=cpu", "callbacks=[basic,pictures]", "loggers=none"),
        "+loggers.recorder={_target_: recorder.Recorder, folder: '${hydra:runtime.output_dir}'}",
    )
    environment = {"PYTHONPATH": str(REPOSITORY / "tests" / "support"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    shown = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        command = (str(REPOSITORY / "src" / "train.py"), *options, f"trainer.devices={ranks}")
        done = warm.Process(*command, cwd=folder, variables=environment)
        _, error = done.communicate()
        assert done.returncode == 0, error
        paths = {path.name.split("_at_")[0]: path for path in folder.rglob("pictures/*.png")}
        assert sorted(paths) == ["confusion_matrix", "inputs", "worst_images"]
        shown.append([paths[name].read_bytes() for name in ("confusion_matrix", "worst_images")])
    assert shown[0] == shown[1]


def test_the_first_error_is_a_warning(caplog):
    drawing = WarnOnFailure("picture")
    for reason in ("out of memory", "again"):
        with drawing:
            raise RuntimeError(reason)
    assert caplog.messages == ["no picture: RuntimeError: out of memory"]
    assert drawing.failed
    with pytest.raises(KeyboardInterrupt), drawing:
        raise KeyboardInterrupt
