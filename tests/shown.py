"""Reading an opened page: its words, its key figures, its charts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape
from typing import Any

import httpx


def refuse(_: httpx.Request) -> httpx.Response:
    """A wire without a service at its end."""
    raise httpx.ConnectError("connection refused")


def texts(elements: Iterable[Any]) -> str:
    """What some elements say, a line each."""
    return "\n".join(str(element.value) for element in elements)


def html_of(shown: Any) -> str:
    """Our own HTML on the page, without its style sheet."""
    bodies = [element.proto.body for element in shown.get("html")]
    return "\n".join(body for body in bodies if not body.startswith("<style"))


def everything(shown: Any) -> str:
    """Every word on the page."""
    kinds = (shown.markdown, shown.error, shown.warning, shown.info, shown.success, shown.caption)
    said = [texts(kind) for kind in (*kinds, shown.header, shown.subheader)]
    return "\n".join([*said, html_of(shown)])


def figures(shown: Any) -> dict[str, tuple[str, str]]:
    """Key figures by label: value with its unit, and the note."""
    cell = r'<dt>(.*?)</dt><dd class="value">(.*?)</dd><dd class="note">(.*?)</dd>'
    return {
        unescape(label): (re.sub(r"\s*<.*?>", " ", unescape(value)).strip(), unescape(note))
        for label, value, note in re.findall(cell, html_of(shown))
    }


def sheet(shown: Any) -> list[dict[str, str]]:
    """The table of our own: a dict per row, by heading."""
    headings = re.findall(r'<th scope="col">(.*?)</th>', html_of(shown))
    rows = re.findall(r"<tr>(<th scope=\"row\">.*?)</tr>", html_of(shown))
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    return [dict(zip(headings, map(unescape, row), strict=True)) for row in cells]
