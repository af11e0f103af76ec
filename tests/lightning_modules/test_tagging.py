from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.data.sequences.boundaries import RecurringSymbols
from paceline.lightning_modules.steps.tally import Tally
from paceline.lightning_modules.tagging import Tagger, f1_score
from sklearn.metrics import f1_score as reference_f1
from torch import nn
from torch.nn import functional as F

SMALL = {"vocab_size": 6, "num_classes": 2, "length": 5, "embedding_size": 3, "hidden_size": 4}


def silent(**arguments) -> pl.Trainer:
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "logger": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **arguments)


def test_scores_of_each_step_agree_with_torchs_lstm_of_the_same_weights():
    torch.manual_seed(0)
    model = Tagger(**SMALL).eval()
    network = model.network
    reference = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    reference.load_state_dict(network.layers.layers.state_dict())
    tokens = torch.randint(0, 6, (3, 5))
    outputs, _ = reference(network.embedding.weight[tokens])
    expected = outputs @ network.scores.weight.T + network.scores.bias
    torch.testing.assert_close(model(tokens), expected, rtol=0, atol=1e-6)


def test_only_a_bidirectional_tag_hangs_on_what_comes_later():
    tokens = torch.tensor([[2, 3, 4, 5, 2]])
    changed = torch.tensor([[2, 3, 4, 5, 3]])
    for bidirectional in (False, True):
        model = Tagger(**SMALL, bidirectional=bidirectional).eval()
        same = torch.equal(model(tokens)[:, :4], model(changed)[:, :4])
        assert same != bidirectional


def test_loss_is_the_mean_over_all_steps():
    model = Tagger(**SMALL)
    x, tags = torch.randint(0, 6, (4, 5)), torch.randint(0, 2, (4, 5))
    expected = -F.log_softmax(model(x), 2).gather(2, tags[..., None]).mean()
    torch.testing.assert_close(model.training_loss(x, tags), expected)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_f1_agrees_with_scikit_learn(num_classes):
    torch.manual_seed(0)
    true, said = torch.randint(0, num_classes, (2, 500))
    tally = Tally(num_classes, torch.device("cpu"))
    tally.add_predictions(true, said)
    classes = list(range(1, num_classes))
    expected = reference_f1(true, said, labels=classes, average="macro")
    assert f1_score(tally).item() == pytest.approx(expected, abs=1e-6)


def test_both_directions_learn_what_one_can_only_guess():
    # Whether a symbol comes again is known to the backward direction alone. The share of the more
    # frequent tag among the first symbols is what one direction reaches at best.
    found = {}
    for bidirectional in (True, False):
        pl.seed_everything(1, verbose=False)
        data = RecurringSymbols(length=8, num_symbols=6, num_samples=2000, batch_size=50)
        sizes = {"vocab_size": data.vocab_size, "num_classes": 2, "length": 8}
        model = Tagger(**sizes, hidden_size=24, cell="gru", bidirectional=bidirectional)
        parameters = model.parameters()
        model.configure_optimizers = lambda p=parameters: torch.optim.Adam(p, lr=1e-2)
        trainer = silent(max_epochs=6, num_sanity_val_steps=0)
        trainer.fit(model, data)
        found[bidirectional] = {k: float(v) for k, v in trainer.callback_metrics.items()}
    assert found[True]["val/accuracy"] > 0.97
    assert found[True]["val/f1"] > 0.97
    assert found[False]["val/accuracy"] < 0.85


def test_samples_and_snapshots_put_blanks_before_what_is_tagged():
    model = Tagger(**{**SMALL, "vocab_size": 5}, alphabet=["a", "b", "c"]).eval()
    assert model.restored(torch.tensor([[2, 3, 1, 4]]), torch.tensor([[1, 0, 0, 1]])) == [" ab? c"]
    said = model.sample(text="A bC")["restored"]
    assert said.replace(" ", "") == "abc"
    assert model.snapshots() == {}
    with pytest.raises(ValueError, match="`text` must be one character or more"):
        model.sample(text="  ")


def test_looking_at_what_was_learned_draws_no_random_numbers_and_leaves_the_mode():
    model = Tagger(**{**SMALL, "vocab_size": 5}, alphabet=["a", "b", "c"], dropout=0.5).train()
    model._examples = (torch.randint(0, 5, (3, 5)), torch.randint(0, 2, (3, 5)))
    state = torch.get_rng_state()
    assert model.snapshots() == model.snapshots()
    assert torch.equal(torch.get_rng_state(), state)
    assert model.network.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": None}, "`length` must be a whole number of at least 1, but is None."),
        ({"vocab_size": 1}, "`vocab_size` must be a whole number of at least 2, but is 1."),
        ({"dropout": -0.1}, "`dropout` must be in [0, 1), but is -0.1."),
        ({"cell": "gated"}, "`cell` must be one of rnn, gru, lstm, but is 'gated'."),
        ({"hidden_size": 0}, "`hidden_size` must be at least 1, but is 0."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        Tagger(**{**SMALL, **arguments})
    assert str(caught.value) == message
