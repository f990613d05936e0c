"""Figures caught before they are written, and what is checked of every one."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from kofn.engine import figure_parts

LONG_TITLE = (
    "A title with $5, a_b^c and 100 %: so long that it has to be broken, or it would leave the figure at its side"
)


def collect_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The list that gets the figures which are drawn, instead of a file for each."""
    collected: list[Figure] = []
    monkeypatch.setattr(figure_parts, "write_figure", lambda figure, *_: collected.append(figure) or [])
    return collected


def check_texts(figure: Figure) -> None:
    """Draw a figure, and fail if texts overlap or leave it."""
    FigureCanvasAgg(figure).draw()
    texts = visible_texts(figure)
    assert len(texts) >= 6
    for text, box in texts:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for (text, box), (other, other_box) in itertools.combinations(texts, 2):
        assert not box.overlaps(other_box), f"{text!r} and {other!r} overlap"


def visible_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """(text, window extent) of all that can be read."""
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            for tick in axis.get_major_ticks():
                if not low - slack <= tick.get_loc() <= high + slack or not tick.get_visible():
                    hidden |= {tick.label1, tick.label2}
    title = figure._suptitle
    # Its empty lines only make room.
    title.set_text(title.get_text().rstrip())
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]
    return [(text.get_text(), text.get_window_extent()) for text in texts]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def subtitle_of(figure: Figure) -> str:
    return next(text.get_text() for text in figure.texts if text is not figure._suptitle)
