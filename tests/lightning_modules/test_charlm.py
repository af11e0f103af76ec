"""The character model: its loss, the state that it carries, what it writes, and its resumption."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.charlm import CharLM
from paceline.lightning_modules.data.sequences import streams
from paceline.lightning_modules.data.sequences.character_vocabulary import UNKNOWN
from paceline.lightning_modules.data.sequences.texts import Hello, Text
from paceline.lightning_modules.networks.charlm_network import CharLMNetwork
from paceline.lightning_modules.rules.character_sampling import draw_probabilities
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

VOCABULARY = "\n abcdefgh"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def text(tmp_path):
    letters = np.random.default_rng(0).choice(list(VOCABULARY), 1000)
    (tmp_path / "text.txt").write_text("".join(letters))
    return lambda: Text(str(tmp_path / "text.txt"), batch_size=4, window=8)


def model(**changes) -> CharLM:
    settings = {"vocabulary": VOCABULARY, "hidden_size": 12, "embedding_size": 6, "dropout": 0.1}
    built = CharLM(**{**settings, **changes})
    built.configure_optimizers = lambda: torch.optim.Adam(built.parameters(), lr=1e-2)
    return built


class Losses(Callback):
    def __init__(self):
        self.values: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(outputs["loss"]))


def silent(**arguments) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    checkpoint = any(isinstance(c, ModelCheckpoint) for c in arguments.get("callbacks", []))
    return pl.Trainer(accelerator="cpu", enable_checkpointing=checkpoint, **quiet, **arguments)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_loss_agrees_with_an_lstm_written_out_in_numpy():
    built = model(dropout=0.0).double().eval()
    weights = {n: p.detach().numpy() for n, p in built.network.named_parameters()}
    characters, targets = torch.randint(len(VOCABULARY), (2, 3, 7))
    h, c, losses = np.zeros((3, 12)), np.zeros((3, 12)), []
    for t in range(7):
        x = weights["embedding.weight"][characters[:, t].numpy()]
        gates = x @ weights["layers.layers.weight_ih_l0"].T + weights["layers.layers.bias_ih_l0"]
        gates += h @ weights["layers.layers.weight_hh_l0"].T + weights["layers.layers.bias_hh_l0"]
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        scores = h @ weights["output.weight"].T + weights["output.bias"]
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        losses.append(-logs[range(3), targets[:, t].numpy()])
    built._trainer = silent(barebones=False)
    loss = built.training_step((characters, targets), 0)
    assert loss.item() == pytest.approx(np.mean(losses), abs=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_windows_with_a_carried_state_equal_one_long_sequence(cell):
    network = CharLMNetwork(9, 6, 12, num_layers=2, cell=cell).double().eval()
    characters = torch.randint(9, (3, 20))
    whole, _, end = network(characters)
    state, parts = None, []
    for window in characters.split(7, 1):
        scores, _, state = network(window, state)
        parts.append(scores)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-12)


def test_gradients_stop_where_a_window_begins_and_the_state_does_not():
    built = model(dropout=0.0)
    built._trainer = silent()
    batch = torch.randint(10, (2, 3, 5)).unbind()
    built.training_step(batch, 0)
    assert not any(part.requires_grad for part in built._state)
    carried = built.training_step(batch, 1)
    fresh = built.training_step(batch, 0)
    assert carried.item() != fresh.item()
    built.zero_grad()
    built.training_step(batch, 1).backward()  # would fail through the freed window before


def test_validation_loss_is_the_mean_over_the_whole_text_in_one_piece(text, monkeypatch):
    monkeypatch.setattr(streams, "LONGEST_WINDOW", 16)  # seven windows, the last one shorter
    built, data = model(), text()
    trainer = silent()
    (logged,) = trainer.validate(built, data, verbose=False)
    numbers = data.encoded["val"].long()
    with torch.no_grad():
        scores = built.eval()(numbers[None, :-1])[0]
    loss = torch.nn.functional.cross_entropy(scores, numbers[1:]).item()
    assert logged["val/loss"] == pytest.approx(loss, rel=1e-5)
    assert logged["val/bits_per_char"] == pytest.approx(loss / math.log(2), rel=1e-5)
    assert logged["val/perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_run_resumed_in_the_middle_of_an_epoch_equals_the_uninterrupted_one(text, tmp_path):
    def run(steps: int, ckpt_path: str | None = None) -> tuple[CharLM, list[float]]:
        pl.seed_everything(3, verbose=False)
        built, losses = model(dropout=0.3), Losses()
        keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=7, save_top_k=-1)
        trainer = silent(max_steps=steps, max_epochs=3, callbacks=[losses, keep])
        trainer.fit(built, text(), ckpt_path=ckpt_path, weights_only=True)
        return built, losses.values

    whole, losses = run(35)  # an epoch has 24 windows
    resumed, later = run(35, str(tmp_path / "step=7.ckpt"))
    assert losses[7:] == later
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    metrics = whole.trainer.callback_metrics
    assert metrics == resumed.trainer.callback_metrics
    assert {"train/loss", "val/loss"} <= set(metrics)


def test_hello_is_learned_and_written_from_its_first_letter():
    pl.seed_everything(1, verbose=False)
    data = Hello()
    built = model(
        vocabulary=data.vocabulary, cell="rnn", embedding_size=0, hidden_size=3, dropout=0.0
    )
    built.configure_optimizers = lambda: torch.optim.Adam(built.parameters(), lr=0.05)
    trainer = silent(max_epochs=200, check_val_every_n_epoch=200)
    trainer.fit(built, data)
    assert trainer.callback_metrics["val/loss"] < 0.05  # about 0.002
    assert built.sample(prompt="h", length=4, temperature=0) == {"text": "hello"}
    told = built.sample(prompt="h", length=4, steps=True)["steps"].split("\n\n")
    assert [step.splitlines()[0] for step in told] == [f"input    {c!r}" for c in "hell"]
    assert [step.splitlines()[-1] for step in told] == [f"sampled  {c!r}" for c in "ello"]


def test_each_step_tells_what_the_network_computes():
    built = model(vocabulary="helo", hidden_size=3, dropout=0.0)
    (step,) = built.sample(prompt="he", length=1, temperature=0.5, steps=True)["steps"].split(
        "\n\n"
    )
    with torch.no_grad():
        scores, hidden, _ = built.network(torch.tensor([[0, 1]]))
    lines = [line.split()[1:] for line in step.splitlines()]
    assert lines[0] == ["'e'"]
    assert [float(v) for v in lines[1]] == pytest.approx(hidden[0, -1].tolist(), abs=0.005)
    assert [float(v) for v in lines[2][1::2]] == pytest.approx(scores[0, -1].tolist(), abs=0.005)
    softmax = (scores[0, -1] / 0.5).softmax(0).tolist()
    assert [float(v) for v in lines[3][1::2]] == pytest.approx(softmax, abs=0.005)


def test_a_sample_depends_on_its_seed_and_neither_reads_nor_moves_the_global_generator():
    built = model()
    first = built.sample(seed=1, length=50)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert built.sample(seed=1, length=50) == first != built.sample(seed=2, length=50)
    assert torch.equal(torch.get_rng_state(), before)
    assert built.training  # left as it was
    assert len(first["text"]) == 1 + 50
    assert built.snapshots() == built.sample()
    assert len(built.snapshots()["text"]) == 301


def test_temperature_runs_from_the_likeliest_to_the_scores_own_softmax_to_even_chances():
    scores = torch.tensor([1.0, 3.0, 2.0, 3.0])
    assert draw_probabilities(scores, 0).tolist() == [0, 1, 0, 0]
    near = draw_probabilities(torch.tensor([1.0, 3.0, 2.0]), 1e-6)
    assert near.tolist() == [0, 1, 0]
    expected = np.exp([1, 3, 2, 3]) / np.exp([1, 3, 2, 3]).sum()
    np.testing.assert_allclose(draw_probabilities(scores, 1.0).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(draw_probabilities(scores, 1e9).numpy(), [0.25] * 4, atol=1e-8)


def test_top_k_leaves_a_chance_to_so_many_and_keeps_their_proportions():
    scores = torch.tensor([1.0, 3.0, 2.0, 0.0])
    np.testing.assert_allclose(
        draw_probabilities(scores, 1.0, top_k=2).numpy(),
        [0, math.e / (1 + math.e), 1 / (1 + math.e), 0],
        atol=1e-12,
    )
    assert draw_probabilities(scores, 5.0, top_k=1).tolist() == [0, 1, 0, 0]
    built = model()
    assert built.sample(top_k=1, length=30) == built.sample(temperature=0, length=30)


def test_the_sign_for_unseen_characters_is_never_written():
    built = model(vocabulary="ab" + UNKNOWN)
    with torch.no_grad():
        built.network.output.bias[2] = 50.0
    assert set(built.sample(length=40)["text"]) <= set("ab")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "abzc"}, r"`prompt` must be made of .* 10 characters, but is 'z' at place 2"),
        ({"prompt": ""}, "`prompt` must be at least one character"),
        ({"length": 0}, "`length` must be from 1"),
        ({"temperature": -0.1}, "`temperature` must be a number of at least 0"),
        ({"temperature": float("nan")}, "`temperature` must be a number of at least 0"),
        ({"top_k": 11}, "`top_k` must be from 0 .* to the vocabulary's 10"),
        ({"seed": -1}, "`seed` must be at least 0"),
    ],
)
def test_a_bad_option_of_a_sample_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        model().sample(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": None}, "`vocabulary` must be at least one character"),
        ({"vocabulary": "aa"}, "`vocabulary` must be at least one character, and each once"),
        ({"prompt": "z"}, "`prompt` must be made of"),
        ({"tied": True}, "`embedding_size` must be 12, the `hidden_size`"),
        ({"embedding_size": -1}, "`embedding_size` must be 0 or above"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
        ({"sample_length": 0}, "`sample_length` must be at least 1"),
    ],
)
def test_a_bad_argument_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        model(**arguments)


def test_a_tied_output_layer_has_the_embeddings_weights():
    tied = CharLMNetwork(9, 12, 12, tied=True)
    assert tied.output.weight is tied.embedding.weight
    sizes = [sum(p.numel() for p in n.parameters()) for n in (tied, CharLMNetwork(9, 12, 12))]
    assert sizes[1] - sizes[0] == 9 * 12


def test_pictures_show_what_was_validated(text):
    built = model()
    assert built.figures() == {}
    silent().validate(built, text(), verbose=False)
    axes = built.figures()["next_characters"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == [r"\n", r"' '"[1:-1]]
