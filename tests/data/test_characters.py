"""Texts as streams of characters: nothing is missed, rows go on, and a run can be resumed."""

from __future__ import annotations

import itertools

import pytest
import torch
from paceline.lightning_modules.data.sequences.character_vocabulary import (
    UNKNOWN,
    CharacterVocabulary,
)
from paceline.lightning_modules.data.sequences.streams import (
    IGNORED,
    EvaluationStreams,
    StreamLoader,
    TrainingStreams,
)
from paceline.lightning_modules.data.sequences.texts import Hello, Text, TinyShakespeare


def loader(num_symbols: int = 100, batch_size: int = 3, window: int = 5, **rest) -> StreamLoader:
    """Windows over the numbers 0, 1, 2, ..."""
    streams = TrainingStreams(num_symbols, batch_size, window, **rest)
    return StreamLoader(torch.arange(num_symbols, dtype=torch.int32), streams)


@pytest.fixture
def write(tmp_path):
    def file(content: str | bytes) -> str:
        path = tmp_path / "text.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return file


def test_each_row_goes_on_where_it_ended_and_targets_are_the_next_symbols():
    windows = list(loader())
    assert len(windows) == 99 // 15
    for inputs, targets in windows:
        assert inputs.shape == targets.shape == (3, 5)
        assert inputs.dtype == targets.dtype == torch.int64
        assert torch.equal(targets, inputs + 1)
    for before, after in itertools.pairwise(windows):
        assert torch.equal(after[0][:, 0], before[1][:, -1])


def test_an_epoch_visits_each_symbol_once_and_leaves_less_than_a_window_out():
    seen = torch.cat([inputs.flatten() for inputs, _ in loader()])
    assert len(seen.unique()) == len(seen) == 90
    assert seen.max() - seen.min() == 89


def test_epochs_begin_at_other_places_that_seed_and_epoch_decide():
    def offsets(seed: int) -> list[int]:
        streams = TrainingStreams(100, 3, 5, seed=seed)
        found = []
        for streams.epoch in range(20):
            found.append(streams.offset())
        return found

    assert offsets(1) == offsets(1) != offsets(2)
    assert set(offsets(1)) <= set(range(10))
    assert len(set(offsets(1))) > 4


def test_processes_share_the_streams_of_one_wider_process():
    wide = [inputs for inputs, _ in loader(200, 6, 5, seed=3)]
    parts = [
        [inputs for inputs, _ in loader(200, 2, 5, seed=3, rank=rank, world_size=3)]
        for rank in range(3)
    ]
    assert len(wide) == len(parts[0])
    for number, inputs in enumerate(wide):
        assert torch.equal(inputs, torch.cat([part[number] for part in parts]))


def test_a_loader_goes_on_in_the_middle_of_an_epoch():
    whole, half = loader(seed=5), loader(seed=5)
    for one in (whole, half):
        one.set_epoch(2)
    rest = list(whole)[3:]
    walk = iter(half)
    for _ in range(3):
        next(walk)
    resumed = loader(seed=99)
    resumed.load_state_dict(half.state_dict())
    resumed.set_epoch(2)
    later = list(resumed)
    assert len(later) == len(rest) == 3
    torch.testing.assert_close(later, rest, rtol=0, atol=0)
    resumed.set_epoch(3)
    assert len(list(resumed)) == 6


@pytest.mark.parametrize(
    ("num_symbols", "world_size"), [(5, 1), (10_001, 1), (40_000, 1), (9_999, 3), (5, 3)]
)
def test_evaluation_predicts_every_symbol_but_the_first_once(num_symbols, world_size):
    sequence, targets, windows = torch.arange(num_symbols), [], set()
    for rank in range(world_size):
        streams = EvaluationStreams(num_symbols, rank=rank, world_size=world_size)
        batches = list(StreamLoader(sequence, streams))
        windows.add(len(batches))
        for inputs, wanted in batches:
            counts = wanted != IGNORED
            assert torch.equal(wanted[counts], inputs[counts] + 1)
            targets.append(wanted[counts])
    assert len(windows) == 1  # each process takes as many steps
    assert torch.equal(torch.cat(targets).sort().values, sequence[1:])


def test_vocabulary_is_the_training_parts_and_the_unseen_are_read_as_one_sign():
    vocabulary = CharacterVocabulary.of("banana", "bandana")
    assert vocabulary.characters == "abn" + UNKNOWN
    assert vocabulary.encode("bandäna\U0001f600").tolist() == [1, 0, 2, 3, 3, 2, 0, 3]
    assert vocabulary.decode(vocabulary.encode("naba")) == "naba"
    assert CharacterVocabulary.of("banana", "ban").unknown is None
    with pytest.raises(ValueError, match=r"but is 'd' at place 3"):
        CharacterVocabulary("abn").encode("bandana")


def test_large_vocabularies_take_wider_numbers_and_characters_beyond_16_bits():
    many = "".join(chr(0x1F300 + number) for number in range(300))
    vocabulary = CharacterVocabulary.of(many)
    assert vocabulary.encode(many).dtype == torch.int32
    assert vocabulary.decode(vocabulary.encode(many)) == many


def test_a_text_of_ones_own_is_split_in_its_order(write):
    data = Text(write("abcdefghij" * 10 + "\n"), batch_size=2, window=4)
    data.prepare_data()
    data.setup()
    assert [len(part) for part in data.parts] == [81, 10, 10]
    assert "".join(data.parts) == data.text
    assert (data.vocab_size, data.in_shape, data.num_train) == (11, (4,), 81)
    assert data.vocabulary == "abcdefghij" + UNKNOWN  # the line's end is in the test alone
    assert data.prompt == "a"
    inputs, _ = next(iter(data.train_dataloader()))
    assert inputs.shape == (2, 4)
    assert Text(write("ab" * 50), val_share=0, batch_size=1, window=8).val_dataloader() == []


def test_without_a_test_share_the_test_is_the_validation_part(write):
    parts = Text(write("ab" * 50), test_share=0, batch_size=1, window=8).parts
    assert parts.test == parts.val == "ab" * 5


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"caf\xe9 au lait", {}, r"`path` must be a text in UTF-8, .* is not from byte 3"),
        ("abc" * 10, {"batch_size": 4, "window": 8}, r"`window` must be at most 5 for 4 streams"),
        ("abc" * 10, {"batch_size": 64}, r"`batch_size` must be at most the 23 characters"),
        ("abc" * 10, {"val_share": 0.6, "test_share": 0.5}, "`val_share` must be at least 0"),
        ("abc" * 10, {"batch_size": 1, "window": 0}, "`window` must be a whole number"),
        ("a" * 9 + "b", {"batch_size": 1, "window": 2}, "two characters in its val part"),
    ],
)
def test_a_text_that_cannot_be_learned_is_told_before_training(write, content, arguments, message):
    with pytest.raises(ValueError, match=message):
        Text(write(content), **arguments)


def test_a_text_that_is_not_there_is_told_before_training(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Text(str(tmp_path / "nowhere.txt"))
    with pytest.raises(ValueError, match="`path` must be a text file"):
        Text()


def test_a_byte_order_mark_is_no_character(write):
    text = Text(write(b"\xef\xbb\xbf" + b"ab" * 50), batch_size=1, window=8)
    assert text.vocabulary == "ab"


def test_hello_is_one_window_of_the_decks_vocabulary():
    data = Hello()
    data.setup()
    ((inputs, targets),) = data.train_dataloader()
    assert data.vocabulary == "helo"
    assert data.coder.decode(inputs[0]) == "hell"
    assert data.coder.decode(targets[0]) == "ello"
    with pytest.raises(ValueError, match="`window` must be at most 4 for 1 streams"):
        Hello(window=5).prepare_data()


@pytest.mark.real_data
def test_tiny_shakespeare_is_what_was_published():
    if TinyShakespeare.source.find() is None:
        pytest.skip("tiny Shakespeare is not here: `paceline data get tinyshakespeare`")
    data = TinyShakespeare()
    data.prepare_data()
    assert [len(part) for part in data.parts] == [1_003_854, 111_540, 111_540]
    assert data.vocabulary == CharacterVocabulary.of(data.parts.train, data.parts.val).characters
    assert data.vocab_size == 65
    assert data.parts.train.startswith("First Citizen:\nBefore we proceed")
