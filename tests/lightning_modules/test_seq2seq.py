"""Encoder and decoder: as torch.nn has them, whatever the padding; learning and translating."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter

import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.data.sequences.reversal import Reversal
from paceline.lightning_modules.data.sequences.subwords import BEGIN, END, PAD
from paceline.lightning_modules.networks.seq2seq_network import EncoderDecoder, reverse_within
from paceline.lightning_modules.rules.translated_texts import TranslatedTexts, corpus_bleu
from paceline.lightning_modules.seq2seq import Seq2Seq
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

SOURCE = torch.tensor([[5, 6, 7, 8, END], [9, 5, END, PAD, PAD]])
TARGET = torch.tensor([[BEGIN, 7, 5, 6, END], [BEGIN, 8, END, PAD, PAD]])
LENGTHS = torch.tensor([5, 3])
SMALL = {"embedding_size": 6, "hidden_size": 8}


def network(**arguments) -> EncoderDecoder:
    torch.manual_seed(1)
    return EncoderDecoder(11, 10, **{**SMALL, **arguments}).double().eval()


def test_reversing_turns_only_the_sentence_round():
    x = torch.tensor([[1, 2, 3, 4], [1, 2, 0, 0]]).unsqueeze(2)
    expected = [[4, 3, 2, 1], [2, 1, 0, 0]]
    assert reverse_within(x, torch.tensor([4, 2])).squeeze(2).tolist() == expected


@pytest.mark.parametrize(("cell", "kind"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_the_encoder_is_torchs_packed_bidirectional_layer(cell, kind):
    encoder = network(cell=cell, num_layers=2).encoder
    reference = kind(6, 4, num_layers=2, bidirectional=True, batch_first=True).double()
    for layer in range(2):
        for name, parameter in encoder.forwards[layer].layers.named_parameters():
            place = name.replace("l0", f"l{layer}")
            reference.get_parameter(place).data = parameter.data
            backwards = encoder.backwards[layer].layers.get_parameter(name)
            reference.get_parameter(f"{place}_reverse").data = backwards.data
    packed = pack_padded_sequence(encoder.embedding(SOURCE), LENGTHS, batch_first=True)
    outputs, state = reference(packed)
    expected, _ = pad_packed_sequence(outputs, batch_first=True)
    found, mask, ends = encoder(SOURCE)
    assert mask.sum(1).tolist() == [5, 3]
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-12, rtol=0)
    h = state[0] if cell == "lstm" else state
    torch.testing.assert_close(ends, torch.cat((h[-2], h[-1]), 1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("input_feeding", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_whole_target_at_once_gives_what_single_steps_give(cell, input_feeding):
    net = network(cell=cell, input_feeding=input_feeding, num_layers=2)
    scores, weights = net(SOURCE, TARGET[:, :-1])
    memory = net.read(SOURCE)
    state = net.begin(memory)
    for t in range(TARGET.shape[1] - 1):
        log_p, state = net.step(TARGET[:, t], state, memory)
        said = scores[:, t].clone()
        said[:, [PAD, 1, BEGIN]] = float("-inf")
        torch.testing.assert_close(log_p, said.log_softmax(1), atol=1e-12, rtol=0)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 4).double(), atol=1e-12, rtol=0)
    assert (weights[1, :, 3:] == 0).all()


@pytest.mark.parametrize("input_feeding", [False, True])
def test_the_decoder_follows_luongs_equations(input_feeding):
    net = network(cell="gru", score="dot", input_feeding=input_feeding)
    found, _ = net(SOURCE[:1], TARGET[:1, :-1])
    memory, _, ends = net.encoder(SOURCE[:1])
    cell = net.layers.layers
    h = torch.tanh(ends @ net.start.weight.T + net.start.bias)[0]
    answer = torch.zeros(6, dtype=torch.float64)
    for t, unit in enumerate(TARGET[0, :-1]):
        x = net.embedding.weight[unit]
        x = torch.cat((x, answer)) if input_feeding else x
        gates = zip(
            (cell.weight_ih_l0 @ x + cell.bias_ih_l0).chunk(3),
            (cell.weight_hh_l0 @ h + cell.bias_hh_l0).chunk(3),
            strict=True,
        )
        (reset_x, reset_h), (update_x, update_h), (new_x, new_h) = gates
        update = (update_x + update_h).sigmoid()
        new = torch.tanh(new_x + (reset_x + reset_h).sigmoid() * new_h)
        h = (1 - update) * new + update * h
        context = (memory[0] @ h).softmax(0) @ memory[0]
        answer = torch.tanh(net.answer.weight @ torch.cat((context, h)))
        expected = net.scores.weight @ answer + net.scores.bias
        torch.testing.assert_close(found[0, t], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("attention", ["dot", "general", "additive"])
def test_padding_changes_neither_the_loss_nor_the_translation(attention):
    torch.manual_seed(1)
    model = Seq2Seq(11, 10, **SMALL, attention=attention, dropout=0.0, max_length=7).double()
    alone = [model.nats((SOURCE[1:, :3], TARGET[1:, :3])), model.nats((SOURCE[:1], TARGET[:1]))]
    nats, count = model.nats((SOURCE, TARGET))
    torch.testing.assert_close(nats, alone[0][0] + alone[1][0], atol=1e-12, rtol=0)
    assert count == 6
    for beam_size in (1, 4):
        together = model.translate(SOURCE, beam_size)[1:]
        assert torch.equal(together, model.translate(SOURCE[1:, :3], beam_size))


def test_the_loss_is_smoothed_cross_entropy_written_out():
    torch.manual_seed(1)
    model = Seq2Seq(11, 10, **SMALL, dropout=0.0).double()
    scores, _ = model.network(SOURCE, TARGET[:, :-1])
    total = 0.0
    for row, wanted in zip(scores.log_softmax(2).detach(), TARGET[:, 1:], strict=True):
        for log_p, unit in zip(row, wanted.tolist(), strict=True):
            if unit != PAD:
                total -= 0.9 * log_p[unit].item() + 0.1 * log_p.mean().item()
    assert model.nats((SOURCE, TARGET), 0.1)[0].item() == pytest.approx(total, abs=1e-10)


def test_a_beam_of_one_translates_greedily():
    torch.manual_seed(1)
    model = Seq2Seq(11, 10, **SMALL, max_length=7)
    greedy = model.translate(SOURCE, 1)
    found = model.network.eval().read(SOURCE)
    state, latest = model.network.begin(found), torch.full((2,), BEGIN)
    for t in range(7):
        log_p, state = model.network.step(latest, state, found)
        latest = log_p.argmax(1)
        alive = ~(greedy[:, :t] == END).any(1)
        assert torch.equal(greedy[alive, t], latest[alive])


def test_tied_embeddings_are_one_weight():
    tied, free = network(), network(tied_embeddings=False)
    assert tied.scores.weight is tied.embedding.weight
    assert free.scores.weight is not free.embedding.weight


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source_vocab_size": None}, "`source_vocab_size` must be at least 5, but is None"),
        ({"hidden_size": 7}, "`hidden_size` must be an even number"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be in"),
        ({"attention": "cosine"}, "`score` must be one of"),
        ({"beam_size": 0}, "`beam_size` must be at least 1"),
        ({"length_penalty": -0.1}, "`length_penalty` must be 0 or above"),
        ({"max_length": 0}, "`max_length` must be at least 1"),
        ({"num_val_translations": -1}, "`num_val_translations` must be 0 or more"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Seq2Seq(**{"source_vocab_size": 11, "target_vocab_size": 10, **arguments})


# Learning.


def trainer(epochs: int = 1, **arguments) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"enable_checkpointing": False, "accelerator": "cpu", "gradient_clip_val": 1.0}
    return pl.Trainer(max_epochs=epochs, **{**quiet, **arguments})


def reverser(seed: int = 1, **arguments) -> Seq2Seq:
    pl.seed_everything(seed, verbose=False)
    small = {"embedding_size": 24, "hidden_size": 48, "cell": "gru", "dropout": 0.0, "bleu": False}
    model = Seq2Seq(15, 15, **{**small, "label_smoothing": 0.0, "max_length": 10, **arguments})
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr=1e-2)
    return model


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Reversal:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACELINE_HOME", str(tmp_path_factory.mktemp("home")))
        data = Reversal(3, 6, num_train_pairs=3000, num_held_out=100, batch_size=64)
        data.setup()
    return data


@pytest.fixture(scope="module")
def trained(data) -> Seq2Seq:
    model = reverser()
    fit = trainer(4)
    fit.fit(model, datamodule=data)
    return model.eval()


def test_rows_of_digits_are_learned_to_be_said_backwards(trained, data):
    (metrics,) = trainer().test(trained, datamodule=data, verbose=False)
    assert metrics["test/exact"] > 0.9  # chance: under 1e-3
    assert metrics["test/loss"] < 0.1


def test_input_feeding_learns_too(data):
    model = reverser(input_feeding=True)
    fit = trainer(2)
    fit.fit(model, datamodule=data)
    assert fit.callback_metrics["val/loss"] < 1.2  # chance: 2.2 and more


def test_a_sentence_of_ones_own_is_translated_with_a_picture_of_where_it_looked(trained):
    made = trained.sample(sentence="12345", beam_size=3)
    assert made["translation"] == "54321"
    axes = made["attention"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][1:6] == list("12345")
    weights = axes.images[0].get_array()
    assert abs(weights.sum(1) - 1).max() < 1e-5
    assert trained.sample(sentence="12345", beam_size=1)["translation"] == "54321"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"sentence": " "}, "sentence"),
        ({"sentence": "1", "beam_size": 0}, "beam_size"),
        ({"sentence": "1", "length_penalty": float("nan")}, "length_penalty"),
    ],
)
def test_a_sample_without_sense_is_refused(trained, options, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        trained.sample(**options)


def test_a_model_that_never_saw_texts_says_so():
    with pytest.raises(ValueError, match="`vocabulary` must be known"):
        Seq2Seq(11, 10, **SMALL).sample(sentence="1")


def test_snapshots_show_sentences_with_their_translations(trained, data):
    trainer().validate(trained, datamodule=data, verbose=False)
    shown = trained.snapshots()["translations"].split("\n\n")
    assert len(shown) == 5
    source, reference, translation = (line.split()[1] for line in shown[0].splitlines())
    assert reference == source[::-1]
    assert len(translation) >= 3


def test_predictions_are_texts(trained, data):
    (batch,) = trainer().predict(trained, datamodule=data)
    assert batch["source"] == data.texts["test"][0]
    said = sum(a == b for a, b in zip(batch["translation"], data.texts["test"][1], strict=True))
    assert said > 90


def test_a_checkpoint_translates_without_the_data(trained, tmp_path):
    path = tmp_path / "model.ckpt"
    trained.trainer.save_checkpoint(path)
    restored = Seq2Seq.load_from_checkpoint(path, weights_only=True)
    assert restored.sample(sentence="5678")["translation"] == "8765"
    torch.testing.assert_close(restored.vocabulary, trained.vocabulary)


def test_data_with_other_units_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path))
    other = Reversal(3, 6, num_train_pairs=200, num_held_out=5, generator_seed=1)
    with pytest.raises(ValueError, match="`data` must be that of the model's units"):
        trainer().validate(trained, datamodule=other, verbose=False)


class StopAt(Callback):
    """Saves a checkpoint after a number of steps and ends the run there."""

    def __init__(self, step: int, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


def test_a_run_that_stopped_within_an_epoch_goes_on_to_the_bit(data, tmp_path):
    def run(epochs, *callbacks, ckpt_path=None) -> Seq2Seq:
        model = reverser(dropout=0.2)
        fit = trainer(epochs, callbacks=list(callbacks), limit_val_batches=0)
        fit.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
        return model

    with pytest.raises(SystemExit):
        run(1, StopAt(20, tmp_path / "stopped.ckpt"))
    for epochs in (1, 2):
        whole, resumed = run(epochs), run(epochs, ckpt_path=tmp_path / "stopped.ckpt")
        for name, weight in whole.state_dict().items():
            assert torch.equal(weight, resumed.state_dict()[name]), name
        ends = (model.trainer.callback_metrics["train/loss"] for model in (whole, resumed))
        assert torch.equal(*ends)


# Scores.


def bleu_written_out(translations: list[str], references: list[str]) -> float:
    """BLEU of texts whose words are parted by spaces, after Papineni et al. 2002."""
    matches, totals, said, wanted = [0] * 4, [0] * 4, 0, 0
    for translation, reference in zip(translations, references, strict=True):
        words, true = translation.split(), reference.split()
        said, wanted = said + len(words), wanted + len(true)
        for n in range(1, 5):
            runs, known = (
                Counter(tuple(s[i : i + n]) for i in range(len(s) - n + 1)) for s in (words, true)
            )
            matches[n - 1] += sum((runs & known).values())
            totals[n - 1] += sum(runs.values())
    precision = sum(math.log(m / t) for m, t in zip(matches, totals, strict=True)) / 4
    return 100 * math.exp(precision + min(0.0, 1 - wanted / said))


def test_bleu_is_the_papers():
    said = ["a man in a red hat looks at something", "two dogs run over the green grass"]
    wanted = ["a man in an orange hat looks at something", "two dogs run over the wet green grass"]
    assert corpus_bleu(said, wanted) == pytest.approx(bleu_written_out(said, wanted), abs=1e-6)


def test_scores_are_those_of_the_kept_sentences():
    texts = TranslatedTexts()
    assert texts.scores(bleu=True) == {}
    texts.add([("x", "a b c d e", "a  b c d e"), ("y", "f g h i", "f g h j")])
    scores = texts.scores(bleu=True)
    assert scores["exact"] == 0.5
    assert 0 < scores["bleu"] < 100
    assert "bleu" not in texts.scores(bleu=False)


def test_without_sacrebleu_the_remedy_is_told(data, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "sacrebleu" else find(name, *a),
    )
    with pytest.raises(ValueError, match="`bleu` must be false without the package") as error:
        trainer().validate(reverser(bleu=True), datamodule=data, verbose=False)
    assert "paceline[text]" in error.value.__notes__[0]
