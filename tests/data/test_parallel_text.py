"""Parallel texts: their files, their units, and the batches that are made of them."""

from __future__ import annotations

import collections
import gzip
import itertools
import os
import random
from pathlib import Path

import pytest
import torch
from paceline.lightning_modules.data.order import BatchOrder
from paceline.lightning_modules.data.sequences import subword_cache
from paceline.lightning_modules.data.sequences.length_order import LengthOrder
from paceline.lightning_modules.data.sequences.pairs import PairLoader, Pairs, pad
from paceline.lightning_modules.data.sequences.parallel_text import Multi30k, Parallel
from paceline.lightning_modules.data.sequences.reversal import Reversal
from paceline.lightning_modules.data.sequences.subwords import (
    BEGIN,
    END,
    SPACE,
    UNKNOWN,
    Subwords,
    learn_merges,
    pieces,
)
from paceline.lightning_modules.data.sequences.wmt14 import WMT14

SENTENCES = ["Ein Mann, der läuft.", "Zwei  Männer laufen!", 'Er sagt: "Hallo".', "a-b (c)  d."]


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))


def write_set(folder: Path, packed: bool = False, **changed: str) -> Path:
    """Six files with a dozen pairs each; `changed` replaces whole files."""
    folder.mkdir(exist_ok=True, parents=True)
    for split, language in itertools.product(("train", "val", "test"), ("de", "en")):
        name = f"{split}.{language}"
        text = "".join(f"{language} {split} satz {n} .\n" for n in range(12))
        content = changed.get(name.replace(".", "_"), text).encode()
        path = folder / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def naive_merges(words: dict[str, int], count: int) -> list[tuple[str, str]]:
    """Byte-pair encoding with all pairs counted anew each time."""
    spelled = {word: list(word) for word in words}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, symbols in spelled.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += words[word]
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, symbols in spelled.items():
            joined = []
            while symbols:
                both = tuple(symbols[:2]) == best
                joined.append("".join(symbols[: 1 + both]))
                symbols = symbols[1 + both :]
            spelled[word] = joined
    return merges


def test_merges_are_those_of_counting_all_pairs_anew():
    generator = random.Random(1)
    words = {
        "".join(generator.choices("abc", k=generator.randint(1, 9))): generator.randint(1, 20)
        for _ in range(60)
    }
    merges = learn_merges(collections.Counter(words), 25)
    assert len(merges) >= 25
    assert merges == naive_merges(words, len(merges))


def test_what_stands_together_once_is_not_joined():
    assert learn_merges(collections.Counter({"abc": 1, "dab": 1}), 5) == [("a", "b")]


def test_the_papers_example_joins_est_first():
    words = collections.Counter({"low": 5, "lower": 2, "newest": 6, "widest": 3})
    assert learn_merges(words, 2) == [("e", "s"), ("es", "t")]


@pytest.mark.parametrize("text", SENTENCES)
def test_units_give_the_text_back(text):
    units = Subwords.learn(SENTENCES, 60)
    assert units.decode([BEGIN, *units.encode(text), END, 7]) == " ".join(text.split())


def test_pieces_keep_the_space_before_a_word_apart_from_punctuation():
    words = ["Er", "läuft", ",", "oder", "(", "nicht", ")?"]
    assert pieces("Er läuft, oder (nicht)?") == [
        SPACE + words[0],
        SPACE + words[1],
        ",",
        SPACE + words[3],
        SPACE + "(",
        "nicht",
        ")",
        "?",
    ]
    assert pieces("  ") == []


def test_frequent_words_become_one_unit_and_no_size_is_exceeded():
    texts = ["ein Hund und eine Katze"] * 9 + ["der Hund"]
    units = Subwords.learn(texts, 50)
    assert len(units.symbols) <= 50
    assert units.names(units.encode("ein Hund")) == [SPACE + "ein", SPACE + "Hund"]


def test_an_unseen_character_is_unknown():
    units = Subwords.learn(["abc abc"], 12)
    assert units.encode("abz")[-1] == UNKNOWN


def test_a_vocabulary_smaller_than_the_alphabet_is_refused_with_the_size_it_needs():
    with pytest.raises(ValueError, match="`vocab_size` must be at least 11: the characters"):
        Subwords.learn(["abc def"], 8)


def test_units_come_from_the_cache_the_second_time_and_a_damaged_file_is_learned_again(monkeypatch):
    first = subword_cache.learned(SENTENCES, 60).state()
    learn = Subwords.learn
    monkeypatch.setattr(Subwords, "learn", None)
    assert subword_cache.learned(SENTENCES, 60).state() == first
    (path,) = (Path(os.environ["PACELINE_HOME"]) / "data" / "subwords").glob("*.json")
    path.write_text("{")
    monkeypatch.setattr(Subwords, "learn", learn)
    assert subword_cache.learned(SENTENCES, 60).state() == first


def test_packed_and_plain_files_are_the_same_data(tmp_path):
    plain = Parallel(str(write_set(tmp_path / "plain")), vocab_size=40)
    packed = Parallel(str(write_set(tmp_path / "packed", packed=True)), vocab_size=40)
    assert plain.digest == packed.digest
    assert plain.num_train == 12
    assert plain.reference("test", 3) == ("de test satz 3 .", "en test satz 3 .")


def test_a_source_ends_with_the_end_and_a_target_begins_with_the_beginning(tmp_path):
    data = Parallel(str(write_set(tmp_path)), vocab_size=40)
    data.setup()
    pairs = data.pairs["val"]
    last = pairs.lengths - 1
    assert (pairs.source.gather(1, last[:, :1]) == END).all()
    assert (pairs.target.gather(1, last[:, 1:]) == END).all()
    assert (pairs.target[:, 0] == BEGIN).all()


def test_the_languages_can_be_turned_round(tmp_path):
    data = Parallel(str(write_set(tmp_path)), source="en", target="de", vocab_size=40)
    data.setup()
    assert data.reference("val", 0) == ("en val satz 0 .", "de val satz 0 .")


def test_sides_of_different_lengths_are_refused_with_the_lines_that_have_no_partner(tmp_path):
    write_set(tmp_path, train_en="one\ntwo\nthree\n")
    with pytest.raises(
        ValueError, match=r"train\.en` must be as long as .*12 lines, but is 3"
    ) as e:
        Parallel(str(tmp_path)).setup()
    assert "lines 4 to 12" in e.value.__notes__[0]
    assert "train.de" in e.value.__notes__[0]


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    write_set(tmp_path)
    (tmp_path / "val.de").write_bytes(b"gut\nm\xe4nnlich\n")
    with pytest.raises(ValueError, match=r"val\.de` must be UTF-8, but is 'not at line 2'"):
        Parallel(str(tmp_path)).setup()


def test_a_cut_gzip_file_is_refused(tmp_path):
    write_set(tmp_path, packed=True)
    path = tmp_path / "val.de.gz"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match="a whole gzip file"):
        Parallel(str(tmp_path)).setup()


def test_empty_and_too_long_pairs_are_left_out_of_training_and_told(tmp_path, caplog):
    german = "a b\n\n" + "a " * 9 + "\na\na b c\n"
    english = "a b\na\na\n  \na b c\n"
    write_set(tmp_path, train_de=german, train_en=english, val_de="a\n\n", val_en="a\na\n")
    data = Parallel(str(tmp_path), vocab_size=12, max_length=4)
    data.setup()
    assert data.left_out == {"empty": 2, "too long": 1}
    assert data.num_train == 2
    assert "Left out of 5 training pairs of parallel: 2 empty, 1 too long." in caplog.text
    assert len(data.pairs["val"]) == 2  # evaluation keeps all


def test_a_set_that_is_nowhere_says_which_file_is_wanted(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.de is absent") as error:
        Parallel(str(tmp_path)).prepare_data()
    assert "--data.data_dir" in error.value.__notes__[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Parallel(source="de", target="de"), "`target` must be another language"),
        (lambda: Multi30k(source="fr"), "`source` must be a known name"),
        (lambda: Multi30k(source="en"), "`target` must be a known name"),
        (lambda: WMT14(source="de", target="fr"), "`target` must be en"),
        (lambda: WMT14(corpora=["un"]), "`corpora` must be a known name"),
        (lambda: Reversal(min_digits=5, max_digits=4), "`max_digits` must be"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wmt14_reads_the_official_files_and_their_sgm(tmp_path):
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")

    for language in ("de", "en"):
        write(f"training-parallel-europarl-v7/training/europarl-v7.de-en.{language}", "x y\nz\n")
        write(f"training-parallel-commoncrawl/commoncrawl.de-en.{language}", "a b\n")
        write(f"training-parallel-nc-v9/training/news-commentary-v9.de-en.{language}", "c d\n")
        write(f"dev/newstest2013.{language}", f"{language} dev\n")
    sgm = '<srcset><doc>\n<seg id="1">A &amp; b\u2028c</seg>\n<seg id="2"> d </seg></doc></srcset>'
    write("test-full/newstest2014-deen-src.de.sgm", sgm)
    write("test-full/newstest2014-deen-ref.en.sgm", sgm.replace("A", "E"))
    data = WMT14(vocab_size=40, data_dir=str(tmp_path))
    data.setup()
    assert data.num_train == 4
    assert data.reference("val", 0) == ("de dev", "en dev")
    assert data.texts["test"] == (["A & b\u2028c", "d"], ["E & b\u2028c", "d"])


@pytest.mark.real_data
def test_multi30k_has_its_published_sizes_and_loses_nothing():
    data = Multi30k()
    if not os.environ.get("PACELINE_DATA"):
        pytest.skip("PACELINE_DATA names no folder with multi30k")
    data.setup()
    assert [len(data.pairs[split]) for split in ("train", "val", "test")] == [29000, 1014, 1000]
    assert data.left_out == {"empty": 0, "too long": 0}
    target = data.units[1]
    rows = data.pairs["test"].target.tolist()
    wanted = [" ".join(text.split()) for text in data.texts["test"][1]]
    assert [target.decode(row) for row in rows] == wanted


# Batches.


def some_pairs(count: int = 101) -> Pairs:
    """Pair n holds the number n + 4 in both sentences, each as long as chance wants."""
    generator = random.Random(3)
    sides = []
    for _ in range(2):
        rows = [[n + 4] * generator.randint(1, 15) for n in range(count)]
        sides.append(pad(rows))
    (source, left), (target, right) = sides
    return Pairs(source, target, torch.stack((left, right), 1))


def test_a_batch_is_cut_to_its_longest_sentence_and_its_rows_belong_together():
    pairs = some_pairs()
    order = LengthOrder(pairs.lengths, 8, shuffle=True, seed=1)
    for source, target, number in PairLoader(pairs, order):
        assert source.dtype == target.dtype == torch.long
        assert (source != 0).any(0).all()
        assert (target != 0).any(0).all()
        assert torch.equal(source[:, 0], number + 4)
        assert torch.equal(target[:, 0], number + 4)
        assert torch.equal((source != 0).sum(1), pairs.lengths[number, 0])


@pytest.mark.parametrize(("count", "batch_size"), [(101, 8), (96, 8), (5, 8)])
def test_each_pair_comes_once_an_epoch_in_batches_that_change(count, batch_size):
    order = LengthOrder(some_pairs(count).lengths, batch_size, shuffle=True, seed=1)
    epochs = []
    for epoch in range(2):
        order.set_epoch(epoch)
        epochs.append(order.indices())
        assert torch.equal(epochs[-1].sort().values, torch.arange(count))
    if count > batch_size:  # a single batch is sorted by length
        assert not torch.equal(*epochs)
    assert len(order) == -(-count // batch_size)


def test_batches_of_equal_lengths_hold_little_padding():
    pairs = some_pairs(2000)

    def padding(order: BatchOrder) -> float:
        batches = list(PairLoader(pairs, order))
        cells = torch.cat([part.flatten() for batch in batches for part in batch[:2]])
        return (cells == 0).float().mean().item()

    assert padding(LengthOrder(pairs.lengths, 16, shuffle=True)) < 0.12
    assert padding(BatchOrder(2000, 16, shuffle=True)) > 0.35


@pytest.mark.parametrize(("count", "world_size"), [(101, 2), (100, 3), (7, 4)])
def test_processes_get_equally_many_batches_and_miss_nothing(count, world_size):
    lengths = some_pairs(count).lengths
    ranks = [
        LengthOrder(lengths, 4, shuffle=True, seed=1, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    shards = [rank.indices() for rank in ranks]
    assert len({len(shard) for shard in shards}) == 1
    assert {-(-len(shard) // 4) for shard in shards} == {len(rank) for rank in ranks}
    assert torch.cat(shards).unique().numel() == count


def test_processes_share_batches_of_about_equal_lengths():
    lengths = some_pairs(2000).lengths
    wide = LengthOrder(lengths, 32, shuffle=True, seed=1).indices()
    ranks = [
        LengthOrder(lengths, 16, shuffle=True, seed=1, rank=r, world_size=2).indices()
        for r in range(2)
    ]
    for number, batch in enumerate(wide.split(32)):
        parts = torch.cat([rank.split(16)[number] for rank in ranks])
        assert torch.equal(parts.sort().values, batch.sort().values)


@pytest.mark.parametrize("seen", [0, 1, 7, 12])
def test_a_loader_goes_on_in_the_middle_of_an_epoch(seen):
    def loader() -> PairLoader:
        pairs = some_pairs()
        made = PairLoader(pairs, LengthOrder(pairs.lengths, 8, shuffle=True, seed=1))
        made.batch_sampler.set_epoch(2)
        return made

    whole = [number for *_, number in loader()]
    first = loader()
    for _ in itertools.islice(first, seen):
        pass
    second = loader()
    second.load_state_dict(first.state_dict())
    rest = [number for *_, number in second]
    assert len(rest) == len(whole) - seen
    assert all(map(torch.equal, rest, whole[seen:]))


def test_reversed_rows_are_a_function_of_their_seed_and_differ_between_splits():
    data = Reversal(num_train_pairs=200, num_held_out=200)
    sources, targets = data.read("val")
    assert targets == [row[::-1] for row in sources]
    assert {len(row) for row in sources} == set(range(3, 13))
    assert Reversal(num_train_pairs=200, num_held_out=200).read("val")[0] == sources
    assert Reversal(num_train_pairs=200, num_held_out=200).read("test")[0] != sources
    assert Reversal(num_held_out=200, generator_seed=1).read("val")[0] != sources


def test_vocabulary_sizes_are_known_before_anything_is_read():
    data = Multi30k(vocab_size=700, data_dir="nowhere")
    assert (data.source_vocab_size, data.target_vocab_size) == (700, 700)
    assert Reversal().source_vocab_size == 15
