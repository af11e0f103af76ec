"""What every section of the page is made of: a card, and a command to copy."""

from __future__ import annotations

from .markup import EMPTY, Markup, tag


def card(title: str, *content: object, told: object = "", class_: str = "") -> Markup:
    """A box of the page with its title and a sentence below it."""
    note = tag("p", told, class_="note") if told else EMPTY
    return tag("section", tag("h2", title), note, *content, class_=f"card {class_}".strip())


def command(text: str) -> Markup:
    """A command to copy."""
    button = tag("button", "copy", class_="copy", type="button", title="copy the command")
    return tag("div", tag("code", text), button, class_="command")
