"""Probabilities as bars: of one network or of two, what they were before the last change as a mark."""

# K classes

from collections.abc import Sequence
from html import escape

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
COLOURS = ("#f08a24", "#5b7fd6")  # of the run, of the one it is compared with
MOST = 12


def bars(
    names: Sequence[str],
    probabilities: Sequence[Sequence[float]],
    before: Sequence[float] | None = None,
    label: int | None = None,
) -> str:
    """HTML: a row for each class, or for the 12 likeliest and the true one; a bar in it for each of the runs."""
    order = list(range(len(names)))
    if len(order) > MOST:
        order = sorted(order, key=lambda k: -max(row[k] for row in probabilities))[:MOST]
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
    """HTML: which colour is which run."""
    squares = (
        f'<span style="color:{colour}">■</span> {escape(name)}' for name, colour in zip(names, COLOURS, strict=False)
    )
    return f'<div style="font-size:.85rem;color:#5b6474">{"<br>".join(squares)}</div>'
