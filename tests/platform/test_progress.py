"""What a run says of itself on a screen."""

from __future__ import annotations

from paceline.platform.progress import Screen


def test_a_line_with_brackets_is_said_as_it_stands(capsys):
    """As a path of a library stands in its error, which would end a run that goes on."""
    Screen().say("The worker failed: [/third_party/gloo/pair.cc:152] [bold]Connect[/bold].")
    told = capsys.readouterr().err
    assert told == "The worker failed: [/third_party/gloo/pair.cc:152] [bold]Connect[/bold].\n"
