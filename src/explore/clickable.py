"""A picture that tells where it was clicked: a component of Streamlit's in the page itself, so that it answers fast."""

import base64
import io
from collections.abc import Callable

import streamlit as st
from PIL.Image import Image

HTML = '<img alt="">'
CSS = "img { display: block; width: 100%; cursor: pointer; border-radius: 6px }"
JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const image = parentElement.querySelector("img")
  if (image.src !== data.source) image.src = data.source
  image.alt = data.name
  image.style.maxWidth = `${data.width}px`
  image.onclick = (event) => {
    const box = image.getBoundingClientRect()
    setTriggerValue("click", { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height })
  }
}
"""


def clickable(picture: Image, key: str, name: str, clicked: Callable[[float, float], None]) -> None:
    """Show the picture; `clicked(x, y)`, parts of its width and height, is called before the page is drawn anew."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

    def tell() -> None:
        place = st.session_state[key].click
        if place is not None:
            clicked(min(max(place["x"], 0.0), 0.999), min(max(place["y"], 0.0), 0.999))

    _component()(data={"source": source, "name": name, "width": picture.width}, key=key, on_click_change=tell)


@st.cache_resource(show_spinner=False)
def _component() -> Callable:
    return st.components.v2.component("clickable_picture", html=HTML, css=CSS, js=JS)
