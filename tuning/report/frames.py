"""The frame of a chart in SVG: where a value stands in it, its axes, grid, ticks and labels. Pure.

One unit is about a pixel; the page scales a chart to its column. What is drawn of a trial carries
`data-t`, its number, by which the page's script marks one trial in all charts at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .markup import EMPTY, Markup, join, tag
from .scales import Axis, Options

MAX_POINTS = 60  # of one curve; more cannot be told apart


@dataclass(frozen=True)
class Frame:
    """A rectangle with two axes.

    Args:
        x: Left to right.
        y: Bottom to top.
        width: Of the whole chart.
        height: Of the whole chart.
        left: Room for the ticks and the label of `y`.
        bottom: Room for those of `x`.
        top: Room above.
        right: Room beside.
    """

    x: Axis
    y: Axis
    width: int = 560
    height: int = 320
    left: int = 62
    bottom: int = 46
    top: int = 14
    right: int = 16

    def at_x(self, value: Any) -> float | None:
        """Units from the left; None for what has no place on the axis."""
        place = self.x.place(value)
        return None if place is None else self.left + place * (self.width - self.left - self.right)

    def at_y(self, value: Any) -> float | None:
        """Units from the top, kept near the frame; None for what has no place on the axis."""
        place = self.y.place(value)
        if place is None:
            return None
        place = min(max(place, -0.5), 1.5)  # what lies far outside is cut off anyway
        return self.top + (1 - place) * (self.height - self.top - self.bottom)

    def axes(self, x_label: str, y_label: str, *, x_ticks: int = 6, y_ticks: int = 5) -> Markup:
        """Grid lines, ticks and labels."""
        parts = []
        for value, text in self.y.ticks(y_ticks):
            y = number(self.at_y(value))
            parts.append(
                tag("path", class_="grid", d=f"M{self.left},{y}H{self.width - self.right}")
            )
            parts.append(tag("text", short(text), class_="tick y", x=self.left - 7, y=y))
        floor = self.height - self.bottom
        for index, (value, text) in enumerate(self.x.ticks(x_ticks)):
            x, down = number(self.at_x(value)), 8 + (14 if self._crowded() and index % 2 else 0)
            parts.append(tag("path", class_="grid", d=f"M{x},{self.top}V{floor}"))
            label = short(text, self._label_length())
            parts.append(tag("text", label, class_="tick x", x=x, y=floor + down))
        middle = (self.left + self.width - self.right) / 2
        high = (self.top + floor) / 2
        parts.append(tag("text", x_label, class_="label", x=number(middle), y=self.height - 6))
        turned = f"translate(13 {number(high)}) rotate(-90)"
        parts.append(tag("text", y_label, class_="label", transform=turned) if y_label else EMPTY)
        return join(*parts)

    def _label_length(self) -> int:
        """Characters that the label of an option has room for, in two rows where it is narrow."""
        if not isinstance(self.x, Options):
            return 16
        room = (self.width - self.left - self.right) / len(self.x.options) / 6.4
        return max(3, int(2 * room if self._crowded() else room))

    def _crowded(self) -> bool:
        """Whether the options' labels do not fit beside each other."""
        if not isinstance(self.x, Options):
            return False
        room = (self.width - self.left - self.right) / len(self.x.options) / 6.4
        return any(len(text) > room for _, text in self.x.ticks())

    def clip(self, name: str, *content: Any) -> Markup:
        """Content cut off at the frame, with room for the points on its edge."""
        box = tag(
            "rect",
            x=self.left - 5,
            y=self.top - 5,
            width=self.width - self.left - self.right + 10,
            height=self.height - self.top - self.bottom + 10,
        )
        return join(tag("clipPath", box, id=name), tag("g", *content, clip_path=f"url(#{name})"))

    def svg(self, told: str, *content: Any, class_: str = "chart") -> Markup:
        """The whole chart; `told` is what a screen reader says of it."""
        box = f"0 0 {self.width} {self.height}"
        return tag("svg", *content, class_=class_, viewBox=box, role="img", aria_label=told)


def number(value: float | None) -> str:
    """A coordinate with one decimal at most."""
    return f"{value or 0.0:.1f}".removesuffix(".0")


def short(text: str, length: int = 16) -> Markup:
    """A label of limited length, whole in its tooltip."""
    if len(text) <= length:
        return join(text)
    return join(text[: length - 1], "…", tag("title", text))


def path(points: Iterable[tuple[float | None, float | None]]) -> str:
    """The `d` of a broken line; it is interrupted where a point has no place."""
    words: list[str] = []
    last = ""
    for x, y in points:
        if x is None or y is None or not math.isfinite(x + y):
            last = ""
            continue
        here = f"{number(x)},{number(y)}"
        # A line of no length is drawn as a point, by its round end.
        words.append(f"L{here}" if last else f"M{here}L{here}")
        last = here
    return "".join(words)


def thinned(points: Sequence[Any], most: int = MAX_POINTS) -> list[Any]:
    """At most about `most` of the points, evenly, with the last one."""
    stride = math.ceil(len(points) / most)
    return [*points[::stride], *points[-1:]] if stride > 1 else [*points]
