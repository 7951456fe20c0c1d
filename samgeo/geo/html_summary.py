"""A summary of an object as a table, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

__all__ = ["html_summary"]


def html_summary(title: str, rows: Mapping[str, object]) -> str:
    """Return a title and a table of names and values as HTML. All texts are escaped."""
    lines = "".join(
        f'<tr><td style="text-align:left">{escape(name)}</td><td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<div><strong>{escape(title)}</strong><table>{lines}</table></div>"
