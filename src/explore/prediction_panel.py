"""The prediction of one network, or of two, on the chosen set: probabilities as bars, before and after a change."""

# K classes

from collections.abc import Sequence
from html import escape

import streamlit as st
from torch import Tensor

from explore.chosen_set import cut, draw_corners, logits_of_sets
from explore.opened_run import OpenedRun
from explore.selection_panel import Selection
from explore.words import as_typed
from set_module.set_network import split_outputs

STYLE = """<style>
.ps-bars { display: grid; grid-template-columns: minmax(2.2rem, max-content) 1fr 3.6rem; gap: .32rem .6rem;
  align-items: center; font-size: .95rem; font-variant-numeric: tabular-nums }
.ps-name { text-align: right; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 9rem }
.ps-true { font-weight: 700; color: #1a7f4b }
.ps-track { position: relative; background: #eef0f4; border-radius: 3px; height: .62rem; margin: 2px 0 }
.ps-bar { position: absolute; inset: 0 auto 0 0; border-radius: 3px }
.ps-mark { position: absolute; top: -2px; bottom: -2px; width: 2px; background: #5b6474 }
.ps-value { line-height: 1.1 }
</style>"""
COLOURS = ("#f08a24", "#5b7fd6")  # of the run, and of the one that it is compared with
MOST_BARS = 12


def show_prediction(selection: Selection, logits_K: Tensor, other_K: Tensor | None, names: list[str]) -> None:
    """Show the probabilities now and before the last change, and how much the order of the set changes them.

    Args:
        logits_K: those of the run.
        other_K: those of the run that it is compared with, if there is one.
        names: the names of both runs.
    """
    state, chosen = st.session_state, selection.chosen
    probability_K = logits_K.softmax(0)
    now = probability_K.tolist()
    image = (str(selection.run.folder), selection.index)
    signature = sorted((number, chosen.corner(number)) for number in chosen.inside())  # in any order
    shown = state.get("shown")
    if shown is None or shown["image"] != image:
        shown = {"image": image, "set": signature, "now": now, "before": None}
    elif shown["set"] != signature:
        shown = {"image": image, "set": signature, "now": now, "before": shown["now"]}
    state["shown"] = shown

    class_names = selection.run.class_names
    predicted = int(probability_K.argmax())
    name, true_name = (as_typed(class_names[label]) for label in (predicted, selection.label))
    verdict = "correct" if predicted == selection.label else f"incorrect, true class {true_name}"
    st.markdown(f"**{name}**, with probability {now[predicted]:.4f}: {verdict}")
    rows = [now] if other_K is None else [now, other_K.softmax(0).tolist()]
    st.html(bars(class_names, rows, shown["before"], selection.label))
    if other_K is not None:
        st.html(legend(names))
    if selection.elements is None:
        return
    count = len(selection.elements)
    out, added = len(chosen.out), len(chosen.added)
    changes = ", ".join(f"{number} {word}" for number, word in ((out, "taken out"), (added, "added")) if number)
    words = [f"{count} in the set" + (f" ({changes})" if changes else "")]
    if shown["before"] is not None:
        words.append("Gray marks: before the last change")
    if chosen.shuffles:
        inside = chosen.inside()
        places = sorted(range(count), key=lambda place: inside[place])
        as_drawn_K = logits_of_sets(selection.run.network, selection.elements, [places])[0].softmax(0)
        moved = float((as_drawn_K - probability_K).abs().max())
        words.append("Shuffled: no probability changed" + (f" by more than {moved:.0e}" if moved else ""))
    st.caption(". ".join(words) + ".")


def selection_logits(selection: Selection) -> Tensor:
    """Return the logits [K] of the chosen set, or of the whole image."""
    if selection.elements is None:
        return split_outputs(selection.run.network(selection.image[None]))[0].float()[0]
    return logits_of_sets(selection.run.network, selection.elements, [range(len(selection.elements))])[0]


def other_logits(other: OpenedRun, selection: Selection) -> Tensor:
    """Return the other run's logits [K] of the same patches, of patches of its own size, or of the whole image."""
    elements = selection.elements
    if elements is not None and (
        other.has_bags
        or (other.cuts_patches and selection.run.cuts_patches and other.patch_size == selection.run.patch_size)
    ):
        return logits_of_sets(other.network, elements, [range(len(elements))])[0]
    if not other.cuts_patches:
        return split_outputs(other.network(selection.image[None]))[0].float()[0]
    number = other.largest_patch_num
    if number is not None:
        number = number if elements is None else len(elements)
        number = min(number, other.patch_num_limit or number)
    corners = draw_corners(other.network, selection.image, selection.index, number)
    own = cut(other.network, selection.image, corners)
    return logits_of_sets(other.network, own, [range(len(own))])[0]


def bars(
    names: Sequence[str],
    probabilities: Sequence[Sequence[float]],
    before: Sequence[float] | None = None,
    label: int | None = None,
) -> str:
    """Return HTML with a row for each class (of many, the 12 likeliest and the true one), and in it a bar per run.

    Args:
        probabilities: one row [K] for each run.
        before: the first run's probabilities before the last change, drawn as marks.
        label: the true class.
    """
    order = list(range(len(names)))
    if len(order) > MOST_BARS:
        order = sorted(order, key=lambda k: -max(row[k] for row in probabilities))[:MOST_BARS]
        order += [label] if label is not None and label not in order else []
    rows = []
    for k in order:
        true = ' ps-true" title="the true class' if k == label else ""
        rows.append(f'<div class="ps-name{true}">{escape(names[k])}{" ✓" if k == label else ""}</div><div>')
        for number, row in enumerate(probabilities):
            mark = ""
            if before is not None and number == 0 and abs(before[k] - row[k]) > 0.004:
                mark = f'<div class="ps-mark" style="left:calc({100 * before[k]:.2f}% - 1px)"></div>'
            width = f"width:{100 * row[k]:.2f}%;background:{COLOURS[number]}"
            rows.append(f'<div class="ps-track"><div class="ps-bar" style="{width}"></div>{mark}</div>')
        values = "<br>".join(
            f'<span style="{"font-weight:700" if row[k] == max(row) else ""}">{row[k]:.4f}</span>'
            for row in probabilities
        )
        rows.append(f'</div><div class="ps-value">{values}</div>')
    return f'{STYLE}<div class="ps-bars">{"".join(rows)}</div>'


def legend(names: Sequence[str]) -> str:
    """Return HTML that says which colour is which run."""
    squares = (
        f'<span style="color:{colour}">■</span> {escape(name)}' for name, colour in zip(names, COLOURS, strict=False)
    )
    return f'<div style="font-size:.85rem;color:#5b6474">{"<br>".join(squares)}</div>'
