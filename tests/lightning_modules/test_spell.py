from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.spell import Speller
from paceline.lightning_modules.spelling_network import counted, letter_table

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SMALL = {"in_shape": [1, 8, 8], "words": ["ab", "abc", "c"], "hidden_size": 6, "channels": [2, 2]}


def silent(**arguments) -> pl.Trainer:
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "logger": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **arguments)


def test_words_are_numbers_that_end_with_zeros_of_which_one_counts():
    table = letter_table(["ab", "abc", "c"], "abc")
    assert table.tolist() == [[1, 2, 0, 0], [1, 2, 3, 0], [3, 0, 0, 0]]
    assert counted(table).sum(1).tolist() == [3, 4, 2]


def test_nats_are_those_of_one_letter_after_the_other():
    torch.manual_seed(0)
    model = Speller(**SMALL).eval().double()
    x, labels = torch.randn(3, 1, 8, 8).double(), torch.tensor([0, 1, 2])
    network, total = model.network, 0.0
    for picture, letters in zip(x, model.table[labels].tolist(), strict=True):
        state, before = network.first_state(picture[None]), 0
        for letter in [*letters[: letters.index(0)], 0]:
            output, state = network.decoder(network.embedding(torch.tensor([[before]])), state)
            logits = network.scores(output)[0, 0].detach()
            total -= math.log(logits.exp()[letter] / logits.exp().sum())
            before = letter
    nats, count = model.nats(x, labels)
    assert nats.item() == pytest.approx(total, abs=1e-9)
    assert count == 3 + 4 + 2


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_what_is_spelled_is_the_best_letter_given_what_was_said(cell):
    torch.manual_seed(0)
    model = Speller(**SMALL, cell=cell).eval()
    x = torch.randn(5, 1, 8, 8)
    said = model(x).argmax(2)
    assert said.shape == (5, 4)
    torch.testing.assert_close(model(x), model.network(x, said), rtol=0, atol=1e-5)


def test_a_word_is_right_when_its_letters_and_its_end_are():
    model = Speller(**SMALL)
    said = torch.tensor([[1, 2, 0, 3], [1, 2, 3, 0], [1, 2, 0, 0], [3, 3, 0, 0]])
    assert model.is_right(said, torch.tensor([0, 1, 1, 2])).tolist() == [True, True, False, False]


def test_digits_are_spelled_after_a_few_epochs():
    pl.seed_everything(1, verbose=False)
    model = Speller([1, 8, 8], words=WORDS, channels=[8, 16], hidden_size=32)
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr=5e-3)
    trainer = silent(max_epochs=6, num_sanity_val_steps=0)
    trainer.fit(model, Digits(batch_size=32))
    assert trainer.callback_metrics["val/accuracy"] > 0.93
    assert trainer.callback_metrics["val/loss"] < 0.08
    lines = model.snapshots()["spelled"].splitlines()
    assert sum(line.split(": ")[0] == line.split(": ")[1] for line in lines) > 12
    drawn = [model.sample(seed=seed, count=9)["spelled"].axes for seed in (1, 1, 2)]
    titles = [[axes.get_title() for axes in grid] for grid in drawn]
    assert titles[0] == titles[1] != titles[2]
    assert set(titles[0]) & set(WORDS)


def test_samples_need_pictures_of_a_validation():
    with pytest.raises(ValueError, match="`count` must be at least 1 and at most 0, but is 16"):
        Speller(**SMALL).sample()


def test_names_of_the_data_are_spelled_where_no_words_are_given():
    model = Speller([1, 28, 28], class_names=["T-shirt/top", "bag"])
    assert model.words == ["T-shirt/top", "bag"]
    assert model(model.example_input_array).shape == (2, 12, 1 + len(set("T-shirt/topbag")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": ["a"]}, "`words` must be two or more different words, but is ['a']."),
        ({"words": ["a", "a"]}, "`words` must be two or more different words, but is ['a', 'a']."),
        ({"class_names": ["1", "2"]}, "`words` must be one for each class of the data, but is "),
        ({"in_shape": [64]}, "`in_shape` must be [channels, height, width], each at least 1, "),
        ({"dropout": 1.0}, "`dropout` must be in [0, 1), but is 1.0."),
        ({"cell": "gated"}, "`cell` must be one of rnn, gru, lstm, but is 'gated'."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        Speller(**{**SMALL, **arguments})
    assert str(caught.value).startswith(message)
