"""The structures of the deck's slide: each is one recipe that a reader finds by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from paceline.lightning_modules import recipes
from paceline.platform.catalog import entries, summary

STRUCTURES = {
    "one-to-one": "mlp",
    "one-to-many": "spell-digits",
    "many-to-one": "rnn-digits",
    "many-to-many, aligned": "tagger-recurring",
    "many-to-many, encoder and decoder": "reverse",
}


@pytest.mark.parametrize(("structure", "recipe"), STRUCTURES.items())
def test_a_structure_is_the_head_of_one_recipe_and_in_its_line_of_the_list(structure, recipe):
    heads = Path(recipes.__file__).parent.glob("*.yaml")
    named = [path.stem for path in heads if f"# Structure: {structure} (" in path.read_text()]
    assert named == [recipe]
    assert structure in summary(entries("recipes")[recipe]).lower()
