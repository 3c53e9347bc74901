"""The pictures of the page: patches on an image, heat maps, sheets of patches or images; and the report of clicks."""

# N elements, C H W of an image, p side of a patch

import base64
import io
from collections.abc import Callable, Sequence
from math import ceil

import streamlit as st
from PIL import Image, ImageDraw
from torch import Tensor

from explore.chosen_set import ChosenSet
from figure.looking import BOX, place_box, seen_part, write_numbers
from figure.picture import drawn, shortened, write

SIDE = 448  # pixels of an image on the page at most
CELL, GAP, LINE = 96, 6, 14  # pixels of an image in a sheet, of the space between two, of a line of text
OUT = (130, 140, 158)
FOR, AGAINST, CALM = (214, 40, 40), (40, 96, 214), (205, 210, 218)
WHITE, INK = (255, 255, 255), (70, 78, 92)

# a component in the page itself answers faster than one in an iframe
HTML = '<div><img alt="" tabindex="0"><i></i></div>'
CSS = """
div { position: relative }
img { display: block; width: 100%; cursor: pointer; border-radius: 6px }
i { position: absolute; display: none; box-sizing: border-box; border: 2px dashed #c026d3; pointer-events: none }
img:focus-visible { outline: 2px solid #d9701a; outline-offset: 2px }
img:focus-visible ~ i { display: block }
"""
JS = """
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }

export default function ({ data, parentElement, setTriggerValue }) {
  const [image, frame] = ["img", "i"].map((name) => parentElement.querySelector(name))
  if (image.src !== data.source) image.src = data.source
  image.alt = data.name
  image.parentElement.style.maxWidth = `${data.width}px`
  let [column, row] = JSON.parse(image.dataset.place ?? "[0, 0]")
  const go = (toColumn, toRow) => {
    column = Math.min(Math.max(toColumn, 0), data.columns - 1)
    row = Math.min(Math.max(toRow, 0), data.rows - 1)
    image.dataset.place = JSON.stringify([column, row])
    const [width, height] = [100 / data.columns, 100 / data.rows]
    const box = { left: column * width, top: row * height, width, height }
    for (const name in box) frame.style[name] = `${box[name]}%`
  }
  go(column, row)
  image.onclick = (event) => {
    const box = image.getBoundingClientRect()
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
    go(Math.floor(x * data.columns), Math.floor(y * data.rows))
    setTriggerValue("click", { x, y })
  }
  image.onkeydown = (event) => {
    if (event.key in MOVES) go(column + MOVES[event.key][0], row + MOVES[event.key][1])
    else if (event.key === "Enter" || event.key === " ")
      setTriggerValue("click", { x: (column + 0.5) / data.columns, y: (row + 0.5) / data.rows })
    else return
    event.preventDefault()
  }
}
"""


def outlined(
    image_CHW: Tensor, chosen: ChosenSet, patch_size: int, in_order: bool = False, scores_RX: Tensor | None = None
) -> Image.Image:
    """Draw the image, pale where no patch lies, with the outlines of the patches: thick if in the set, thin if out.

    Args:
        in_order: whether the drawn patches have numbers, in the order of choice.
        scores_RX: those of the next place, which are shown where no patch lies.
    """
    image_size = image_CHW.shape[1:]
    corners = [chosen.corner(number) for number in chosen.inside()]
    picture = seen_part(image_CHW, corners, patch_size, SIDE, scores_RX, opacity=235)
    lines = Image.new("RGBA", picture.size)
    pen = ImageDraw.Draw(lines)
    strength = 255 if len(chosen.inside()) <= 16 else 150
    for number in chosen.numbers():
        box = place_box(picture, chosen.corner(number), patch_size, image_size)
        if number in chosen.out:
            pen.rectangle(box, outline=(*OUT, 150))
        else:
            pen.rectangle(box, outline=(*BOX, strength), width=2)
    picture.paste(lines, mask=lines)
    if in_order:
        numbered = [(str(k + 1), chosen.corner(k)) for k in range(len(chosen.drawn)) if k not in chosen.out]
        write_numbers(picture, numbered, patch_size, image_size)
    return picture


def gallery(patches: Sequence[Tensor], scores: Sequence[float | None], columns: int, tile: int) -> Image.Image:
    """Draw the elements in the given order, each in a frame: red if it speaks for the class, blue if against it.

    An element that was taken out has the score None and is pale.
    """
    pitch, width = tile + GAP, tile // 26
    sheet = Image.new("RGB", (columns * pitch, row_count(len(patches), columns) * pitch), WHITE)
    pen = ImageDraw.Draw(sheet)
    largest = max((abs(score) for score in scores if score is not None and score == score), default=0.0) or 1.0
    for place, (patch_Cpp, score) in enumerate(zip(patches, scores, strict=True)):
        left, top = place % columns * pitch, place // columns * pitch
        picture = drawn(patch_Cpp, tile - 2 * width)
        if score is None:
            picture = Image.blend(picture, Image.new("RGB", picture.size, WHITE), 0.8)
        frame = CALM if score is None else frame_colour(score / largest)
        pen.rectangle((left, top, left + tile - 1, top + tile - 1), outline=frame, width=width)
        sheet.paste(picture, (left + width, top + width))
    return sheet


def frame_colour(strength: float) -> tuple[int, ...]:
    """Return a colour between gray (0, NaN) and red (1) or blue (-1)."""
    if strength != strength:
        return CALM
    end = FOR if strength > 0 else AGAINST
    part = min(1.0, abs(strength)) ** 0.5
    return tuple(round(calm + part * (full - calm)) for calm, full in zip(CALM, end, strict=True))


def contact_sheet(pictures: Sequence[Image.Image], captions: Sequence[Sequence[str]], columns: int) -> Image.Image:
    """Draw pictures of at most CELL pixels in rows, each above its captions, in cells of one size (see `cell_at`)."""
    pitch_x, pitch_y = CELL + GAP, CELL + GAP + LINE * max(map(len, captions), default=0)
    sheet = Image.new("RGB", (columns * pitch_x, row_count(len(pictures), columns) * pitch_y), WHITE)
    pen = ImageDraw.Draw(sheet)
    for place, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        left, top = place % columns * pitch_x, place // columns * pitch_y
        sheet.paste(picture, (left, top))
        for number, text in enumerate(lines):
            words = shortened(text, CELL, LINE - 2)
            write(pen, (left, top + CELL + (number + 0.5) * LINE), words, LINE - 2, INK)
    return sheet


def row_count(count: int, columns: int) -> int:
    """Return the number of rows of a sheet of `count` cells."""
    return max(1, ceil(count / columns))


def cell_at(x: float, y: float, count: int, columns: int) -> int | None:
    """Return which of `count` cells lies at x and y, given as parts of the sheet's width and height."""
    place = int(y * row_count(count, columns)) * columns + int(x * columns)
    return place if place < count else None


def clickable_picture(
    picture: Image.Image, key: str, name: str, grid: tuple[int, int], clicked: Callable[[float, float], None]
) -> None:
    """Show a picture that reports clicks; on a keyboard: Tab to the picture, arrows to a cell of its grid, Enter.

    Args:
        key: the name of the component on the page.
        name: the alternative text.
        grid: the columns and rows into which the arrow keys divide the picture.
        clicked: called as clicked(x, y), parts of the width and height, before the page is drawn again.
    """
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

    def report_click() -> None:
        place = st.session_state[key].click
        if place is not None:
            clicked(min(max(place["x"], 0.0), 0.999), min(max(place["y"], 0.0), 0.999))

    columns, rows = grid
    data = {"source": source, "name": name, "width": picture.width, "columns": columns, "rows": rows}
    _component()(data=data, key=key, on_click_change=report_click)


@st.cache_resource(show_spinner=False)
def _component() -> Callable:
    return st.components.v2.component("clickable_picture", html=HTML, css=CSS, js=JS)
