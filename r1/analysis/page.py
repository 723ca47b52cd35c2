"""The shell of every page: head, style, navigation and script in one file that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

Section = tuple[str, str, str]  # anchor, title, body as HTML


def page(
    title: str, setting: str, sections: Sequence[Section], opening: str = "", footer: str = "Written by <code>r1 report</code>."
) -> str:
    """A whole page. `title` is text; `setting`, `opening`, `footer` and the bodies of the sections are HTML."""
    links = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name, _ in sections)
    body = "".join(f'<section id="{anchor}"><h2>{escape(name)}</h2>{html}</section>' for anchor, name, html in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{asset('report.css')}</style></head><body>"
        f'<header class="top"><h1>{escape(title)}</h1><p class="setting">{setting}</p></header>'
        f'<nav class="toc" aria-label="Sections">{links}<button id="theme" type="button">light / dark</button></nav>'
        f"<main>{opening}{body}</main><footer>{footer}</footer><script>{asset('report.js')}{asset('browser.js')}</script></body></html>"
    )


def asset(name: str) -> str:
    """A file of `assets/`."""
    return (files("r1.analysis") / "assets" / name).read_text(encoding="utf-8")
