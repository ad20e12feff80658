"""SVG to stand inside a page, drawn by matplotlib.

Text stays text and takes the page's colour and fonts; series take the page's colour variables, so that one drawing
is readable in light and dark.
"""

import html
import io
import re
import threading
from collections.abc import Callable
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gateway.experiment.model import printable

INK, FAINT = "#010203", "#040506"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006")
SOURCES = ("#0b0001", "#0b0002", "#0b0003", "#0b0004", "#0b0005", "#0b0006")
"""Stand-in colours of populations and of sources, replaced by the page's own: see `_themed`."""

MARKERS = ("o", "s", "^", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tandem",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

_ONE_AT_A_TIME = threading.Lock()  # matplotlib's settings are the process's


def legend(axes: Axes) -> None:
    """Above the axes."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, handletextpad=0.5, borderaxespad=0)


def svg(
    name: str, title: str, told: str, draw: Callable[[Figure], None], size: tuple[float, float], mark: str = ""
) -> str:
    """A drawing as an svg element.

    Args:
        name: of its ids, unique in a page. told: the drawing in words. size: inches. mark: stands over made-up data.
    """
    with _ONE_AT_A_TIME, rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        if mark:
            figure.text(0.995, 0.99, mark, ha="right", va="top", fontsize=9, fontweight="bold", color=INK)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _themed(_named(drawn.getvalue(), name, printable(title, 200), printable(told, 2000)))


def _named(svg: str, name: str, title: str, told: str) -> str:
    """The svg element alone, with a title and description for screen readers and ids that are unique in a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    head, body = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    labels = f' role="img" aria-labelledby="{name}-title {name}-desc"'
    words = f'<title id="{name}-title">{html.escape(title)}</title><desc id="{name}-desc">{html.escape(told)}</desc>'
    return f"{head}{labels}>{words}{body}"


def _themed(svg: str) -> str:
    svg = svg.replace(INK, "currentColor").replace(FAINT, "var(--line)")
    for name, colours in (("population", SERIES), ("source", SOURCES)):
        for number, colour in enumerate(colours):
            svg = svg.replace(colour, f"var(--{name}-{number})")
    return re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
