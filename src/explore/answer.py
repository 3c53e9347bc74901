"""What one network, or two, say of the set: probabilities, what they were before, that an order means nothing."""

# K classes

import streamlit as st
from torch import Tensor

from explore import reading
from explore.bars import bars, legend
from explore.literal import literal
from explore.looked import Looked
from explore.opened_run import OpenedRun


def show_answer(looked: Looked, logits_K: Tensor, also_K: Tensor | None, names: list[str]) -> None:
    """The probabilities, what they were before, and that an order means nothing."""
    state, chosen = st.session_state, looked.chosen
    probability_K = logits_K.softmax(0)
    now = probability_K.tolist()
    image = (str(looked.run.folder), looked.index)
    signature = sorted((number, chosen.corner(number)) for number in chosen.inside())  # whatever the order
    said = state.get("said")
    if said is None or said["image"] != image:
        said = {"image": image, "set": signature, "now": now, "before": None}
    elif said["set"] != signature:
        said = {"image": image, "set": signature, "now": now, "before": said["now"]}
    state["said"] = said

    class_names = looked.run.class_names
    predicted = int(probability_K.argmax())
    verdict = "right" if predicted == looked.label else f"wrong: it is {literal(class_names[looked.label])}"
    st.markdown(f"**{literal(class_names[predicted])}**, with probability {now[predicted]:.4f}: {verdict}")
    rows = [now] if also_K is None else [now, also_K.softmax(0).tolist()]
    st.html(bars(class_names, rows, said["before"], looked.label))
    if also_K is not None:
        st.html(legend(names))
    if looked.elements is None:
        return
    count = len(looked.elements)
    out, added = len(chosen.out), len(chosen.added)
    changes = ", ".join(f"{number} {word}" for number, word in ((out, "taken out"), (added, "put in")) if number)
    words = [f"{count} in the set" + (f" ({changes})" if changes else "")]
    if said["before"] is not None:
        words.append("Gray marks: before the last change")
    if chosen.shuffles:
        inside = chosen.inside()
        places = sorted(range(count), key=lambda place: inside[place])
        as_drawn_K = reading.read_sets(looked.run.network, looked.elements, [places])[0].softmax(0)
        moved = float((as_drawn_K - probability_K).abs().max())
        words.append(
            f"Shuffled: no probability moved by more than {moved:.0e}" if moved else "Shuffled: no probability moved"
        )
    st.caption(". ".join(words) + ".")


def logits_of(looked: Looked) -> Tensor:
    if looked.elements is None:
        return looked.run.network(looked.image[None]).float()[0]
    return reading.read_sets(looked.run.network, looked.elements, [range(len(looked.elements))])[0]


def logits_of_other(other: OpenedRun, looked: Looked) -> Tensor:
    """What the other run says of the same patches; of its own where it cuts others, or of the whole image."""
    elements = looked.elements
    if elements is not None and (
        other.bags or (other.cuts and looked.run.cuts and other.patch_size == looked.run.patch_size)
    ):
        return reading.read_sets(other.network, elements, [range(len(elements))])[0]
    if not other.cuts:
        return other.network(looked.image[None]).float()[0]
    number = None
    if other.chooses:
        number = other.network.patch_num[1] if elements is None else len(elements)
        number = min(number, other.network.max_patch_num or number)
    corners = reading.draw(other.network, looked.image, looked.index, number)
    own = reading.cut(other.network, looked.image, corners)
    return reading.read_sets(other.network, own, [range(len(own))])[0]
