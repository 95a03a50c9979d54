"""Parts of pages: one HTML file contains its style, scripts, numbers and pictures."""

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from vtok.benchmark.viewer import palette

_PARTS = Path(__file__).parent
_TYPES = {".webp": "image/webp", ".png": "image/png"}


def whole_page(
    *,
    title: str,
    lead: str,
    made: str,
    main: str,
    scripts: Sequence[str],
    data: dict[str, Any],
    pictures: dict[str, str],
) -> str:
    """A page that needs no other file.

    Args:
        title: The title, as text.
        lead: What the page shows, as text.
        made: How it was made, as HTML.
        main: Its sections, as HTML.
        scripts: Names of the scripts.
        data: What the scripts need.
        pictures: `data_uri` of the pictures, by the names that `data` has for them.
    """
    return template("page.html").substitute(
        title=escape(title),
        css=_part("page.css"),
        lead=escape(lead),
        made=made,
        main=main,
        data=_json(data),
        script="\n".join(_part(name) for name in ("page.js", *scripts)),
        pictures=_json(pictures),
    )


def template(name: str) -> Template:
    """A part with places to fill in."""
    return Template(_part(name))


def data_uri(picture: bytes, suffix: str) -> str:
    """A picture as an address; the suffix is that of its format."""
    return f"data:{_TYPES[suffix]};base64,{base64.b64encode(picture).decode()}"


def palette_colours() -> list[str]:
    """The colours of error maps, for CSS."""
    return [f"rgb({r} {g} {b})" for r, g, b in palette().tolist()]


def table_row(name: str, cells: Sequence[str], kind: str = "") -> str:
    """A row of a table: its name as text, its cells as HTML."""
    return f'<tr{f" class={kind}" if kind else ""}><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'


def table(titles: Sequence[str], rows: Sequence[str]) -> str:
    """A table that scrolls alone if it is too wide; the titles of its columns are HTML."""
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return (
        '<div class="table" tabindex="0" role="region" aria-label="table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8").strip()


def _json(value: dict[str, Any]) -> str:
    """JSON for a script element, which only a `<` could end early."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
