"""HTML and SVG by function calls: whatever is not markup already is escaped.

Names of knobs, values and errors come from users, so a page is put together only from `Markup`, and
text becomes markup in one place. Pure.
"""

from __future__ import annotations

import html
from typing import Any


class Markup(str):
    """Text that stands in a page as it is."""

    __slots__ = ()


EMPTY = Markup("")
_VOID = {"br", "hr", "img", "link", "meta"}


def escape(value: Any) -> Markup:
    """A value as markup: itself when it is some, else its text with `<`, `&` and quotes escaped."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """One element.

    Args:
        name: Its name.
        *children: Markup, or values that are escaped.
        **attributes: `class_` is `class` and `data_t` is `data-t`; None and False are left out.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{html.escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    if name in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{join(*children)}</{name}>")


def join(*parts: Any) -> Markup:
    """Parts beside each other, each escaped unless it is markup."""
    return Markup("".join(map(escape, parts)))


def safe_link(text: Any, address: str, **attributes: Any) -> Markup:
    """A link that opens beside the page; only the text where the address is none of the web's.

    A `javascript:` address would run in the reader's browser.
    """
    if not address.startswith(("http://", "https://")):
        return escape(text)
    return tag("a", text, href=address, target="_blank", rel="noopener", **attributes)
