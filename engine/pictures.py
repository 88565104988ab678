"""Plots as SVG: the same for the same figures, readable without the picture, and without anything that moves or loads."""

from __future__ import annotations

import html
import io
import re
from typing import Any


def style(salt: str) -> Any:
    """Settings of matplotlib's for them, as a context.

    Args:
        salt: of the names inside the picture.
    """
    import matplotlib as mpl

    return mpl.rc_context({
        "svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 9, "axes.spines.top": False,
        "axes.spines.right": False, "grid.color": "#e4e4e4", "grid.linewidth": 0.6, "axes.axisbelow": True,
    })  # fmt: skip


def drawn(figure: Any, title: str, description: str) -> str:
    """A figure as SVG text.

    Args:
        figure: matplotlib's.
        title, description: what it shows, for who cannot see it.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    described = f"<title>{html.escape(title)}</title><desc>{html.escape(description)}</desc>"
    text = re.sub(r"<metadata>.*?</metadata>", "", out.getvalue(), flags=re.DOTALL)
    text = re.sub(
        r"<svg[^>]*>", lambda found: found[0].replace("<svg", '<svg role="img"', 1) + described, text, count=1
    )
    return re.sub(r"[ \t]+\n", "\n", text)
