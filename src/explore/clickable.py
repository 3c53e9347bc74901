"""A picture that tells where it was clicked: a component of Streamlit's in the page itself, so that it answers fast.

By keyboard: Tab to the picture, the arrows to a cell of its grid, Enter.
"""

import base64
import io
from collections.abc import Callable

import streamlit as st
from PIL.Image import Image

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


def clickable(
    picture: Image, key: str, name: str, grid: tuple[int, int], clicked: Callable[[float, float], None]
) -> None:
    """Show the picture; `clicked(x, y)`, parts of its width and height, is called before the page is drawn anew.

    `grid`: into how many columns and rows the arrows of a keyboard divide it.
    """
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

    def tell() -> None:
        place = st.session_state[key].click
        if place is not None:
            clicked(min(max(place["x"], 0.0), 0.999), min(max(place["y"], 0.0), 0.999))

    columns, rows = grid
    data = {"source": source, "name": name, "width": picture.width, "columns": columns, "rows": rows}
    _component()(data=data, key=key, on_click_change=tell)


@st.cache_resource(show_spinner=False)
def _component() -> Callable:
    return st.components.v2.component("clickable_picture", html=HTML, css=CSS, js=JS)
