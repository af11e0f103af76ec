"""Sets of texts and of tagged sequences: what they hold and that their splits stay apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from paceline.lightning_modules.data.sequences import sentences
from paceline.lightning_modules.data.sequences.boundaries import (
    RecurringSymbols,
    WordBoundaries,
    comes_again,
    without_blanks,
)
from paceline.lightning_modules.data.sequences.sentences import Multi30kLanguage, Speakers
from paceline.lightning_modules.data.sequences.text_sources import TINY_SHAKESPEARE
from paceline.lightning_modules.data.sequences.tokens import decode, encode


def present(data):
    """The data module, when its files are on this machine; else the test is skipped."""
    if data.source.find() is None:
        pytest.skip(f"the files of {data.source.name} are not here")
    return data


def sizes(data) -> tuple[int, int, int]:
    return len(data.splits.train), len(data.splits.val), len(data.splits.test)


def test_texts_are_cut_padded_and_read_back():
    tokens = encode(["abca", "a?", ""], ["a", "b", "c"], 3)
    assert tokens.tolist() == [[2, 3, 4], [2, 1, 0], [0, 0, 0]]
    assert tokens.dtype == torch.uint8
    assert decode(tokens[0].tolist(), "abc") == "abc"
    assert decode(tokens[1].tolist(), "abc") == "a?"


def test_pieces_cover_a_text_to_its_end():
    assert sentences.pieces("abcdefgh", 4, 4) == ["abcd", "efgh"]
    assert sentences.pieces("abcdefghi", 4, 4) == ["abcd", "efgh", "i"]
    assert sentences.pieces("abcdef", 4, 1) == ["abcd", "bcde", "cdef"]
    assert sentences.pieces("ab", 4, 2) == ["ab"]


def test_speeches_are_paragraphs_that_a_name_heads():
    text = "ROMEO:\nBut soft!\nWhat light\n\nno name here\nat all\n\nJULIET:\nAy me!\n"
    assert sentences.parse_speeches(text) == [
        ("ROMEO", "But soft!\nWhat light"),
        ("JULIET", "Ay me!"),
    ]


@pytest.mark.real_data
def test_languages_are_those_of_the_published_splits():
    data = present(Multi30kLanguage(length=24))
    assert sizes(data) == (58_000, 2028, 2000)
    (tokens, targets), *_ = data.test_dataloader()
    assert tokens.dtype == targets.dtype == torch.int64
    assert int(tokens.max()) < data.vocab_size
    assert decode(tokens[0].tolist(), data.alphabet) == "A man in an orange hat s"
    assert data.majority_share() == 0.5
    unknown = (data.splits.train.inputs == 1).float().mean()
    assert unknown < 1e-4  # accents of names, a few typographic signs


@pytest.mark.real_data
def test_speakers_are_those_who_say_most():
    folder = TINY_SHAKESPEARE.get(present(Speakers()).data_dir)
    letters = Counter()
    for speaker, speech in sentences.speeches_of(folder):
        letters[speaker] += len(speech)
    assert [name for name, _ in letters.most_common(10)] == list(sentences.SPEAKERS)


@pytest.mark.real_data
def test_no_speech_is_in_two_splits():
    data = present(Speakers(num_speakers=3, length=60))
    speeches = sentences.speeches_of(TINY_SHAKESPEARE.get())
    texts = data.read(TINY_SHAKESPEARE.get())
    assert all(len(texts[split][0]) > 100 for split in texts)
    whole = {split: "\n\n".join(texts[split][0]) for split in texts}
    for number, (speaker, speech) in enumerate(speeches):
        if speaker in data.class_names and len(speech) > 60:
            split = sentences.split_of_block(number // sentences.BLOCK)
            found = {name for name, text in whole.items() if speech[:60] in text}
            assert found == {split}


@pytest.mark.real_data
def test_a_damaged_or_missing_text_is_one_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="`tinyshakespeare`"):
        WordBoundaries(data_dir=str(tmp_path)).prepare_data()
    (tmp_path / "input.txt").write_text("First Citizen:\n")
    with pytest.raises(ValueError, match="must hold 1115394 bytes"):
        _ = WordBoundaries(data_dir=str(tmp_path)).splits


def test_an_unpacked_source_is_fetched_under_its_own_name(tmp_path, monkeypatch):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path))
    monkeypatch.delenv("PACELINE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="no network"):
        TINY_SHAKESPEARE.get()
    assert asked == [f"{TINY_SHAKESPEARE.url}/input.txt"]


def test_blanks_are_taken_out_and_words_remembered():
    characters, begins = without_blanks("But soft!\n\nWhat light")
    assert characters == "butsoft!whatlight"
    assert np.flatnonzero(begins).tolist() == [0, 3, 8, 12]


@pytest.mark.real_data
def test_word_boundaries_hold_the_text_in_order():
    data = present(WordBoundaries(length=100))
    train, val = data.splits.train, data.splits.val
    assert decode(train.inputs[0].tolist(), data.alphabet).startswith(
        "firstcitizen:beforeweproceed"
    )
    assert train.targets[0, :13].nonzero().flatten().tolist() == [0, 5]
    assert 0.2 < train.targets.float().mean() < 0.3  # words of four letters and more
    assert len(val) == pytest.approx(len(train) / 18, rel=0.1)
    assert not (train.inputs == 1).any()


def test_recurring_symbols_are_tagged_by_what_comes_later():
    rows = np.array([[0, 1, 0, 2, 1], [3, 3, 3, 3, 3]])
    expected = [[True, True, False, False, False], [True, True, True, True, False]]
    assert comes_again(rows).tolist() == expected
    data = RecurringSymbols(length=5, num_symbols=3, num_samples=50)
    assert sizes(data) == (50, 5, 5)
    train = data.splits.train
    for tokens, tags in zip(train.inputs.tolist(), train.targets.tolist(), strict=True):
        assert tags == [int(token in tokens[step + 1 :]) for step, token in enumerate(tokens)]
    assert RecurringSymbols(generator_seed=1).digest != RecurringSymbols().digest


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (Speakers, {"num_speakers": 1}, "`num_speakers` must be a whole number of at least 2"),
        (Speakers, {"length": 0}, "`length` must be a whole number of at least 1"),
        (Multi30kLanguage, {"batch_size": 0}, "`batch_size` must be a whole number"),
        (WordBoundaries, {"length": 1}, "`length` must be a whole number of at least 2"),
        (RecurringSymbols, {"num_symbols": 27}, "at least 2 and at most 26, but is 27"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_read(module, arguments, message):
    with pytest.raises(ValueError, match=message):
        module(**arguments)
