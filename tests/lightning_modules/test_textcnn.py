from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.pictures.texts import text_figure
from paceline.lightning_modules.textcnn import TextCNN, TextConvolutions
from torch.utils.data import DataLoader, TensorDataset

SMALL = {"vocab_size": 9, "num_classes": 3, "length": 7, "embedding_size": 4, "num_kernels": 5}

# The loader's workers would only cost time here; Lightning advises them all the same.
pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


def silent(**arguments) -> pl.Trainer:
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "logger": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **arguments)


def test_scores_agree_with_sums_over_windows_written_out():
    torch.manual_seed(0)
    network = TextConvolutions(9, 3, embedding_size=4, num_kernels=5, widths=(2, 3)).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    tokens = torch.randint(0, 9, (6, 7))
    weights = {name: p.detach().numpy() for name, p in network.named_parameters()}
    embedded = weights["embedding.weight"][tokens.numpy()]  # (6, 7, 4)
    best = []
    for number, width in enumerate((2, 3)):
        kernel = weights[f"convolutions.{number}.0.weight"]  # (5, 4, width)
        bias = weights[f"convolutions.{number}.0.bias"]
        windows = [embedded[:, t : t + width] for t in range(7 - width + 1)]
        found = [np.einsum("bwe,few->bf", window, kernel) + bias for window in windows]
        best.append(np.maximum(found, 0).max(0))
    expected = np.concatenate(best, 1) @ weights["scores.weight"].T + weights["scores.bias"]
    np.testing.assert_allclose(network(tokens).detach().numpy(), expected, atol=1e-12)


def test_where_a_pattern_stands_makes_no_difference_inside_the_text():
    network = TextConvolutions(9, 3, widths=(3,)).eval()
    early, late = torch.zeros(2, 12, dtype=torch.long)
    early[3:6] = late[6:9] = torch.tensor([4, 7, 2])
    torch.testing.assert_close(network(early[None]), network(late[None]))


def test_padding_is_zero_and_stays_zero():
    model = TextCNN(**SMALL)
    model.network(torch.randint(0, 9, (4, 7))).sum().backward()
    weight = model.network.embedding.weight
    assert not weight[0].any()
    assert not weight.grad[0].any()
    assert weight.detach()[1:].abs().max() <= 0.25


def test_a_word_anywhere_in_a_text_is_found_after_a_few_epochs():
    pl.seed_everything(1, verbose=False)
    tokens = torch.randint(1, 9, (600, 16))
    labels = torch.arange(600) % 2
    start = torch.randint(0, 14, (300,))
    for row, place in zip(range(1, 600, 2), start.tolist(), strict=True):
        tokens[row, place : place + 3] = torch.tensor([5, 3, 8])
    model = TextCNN(9, 2, 16, embedding_size=8, num_kernels=8, widths=[3], dropout=0.0)
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr=1e-2)
    train = DataLoader(TensorDataset(tokens[:500], labels[:500]), batch_size=50, shuffle=True)
    test = DataLoader(TensorDataset(tokens[500:], labels[500:]), batch_size=100)
    trainer = silent(max_epochs=15, num_sanity_val_steps=0, log_every_n_steps=1)
    trainer.fit(model, train, test)
    assert trainer.callback_metrics["val/accuracy"] >= 0.97


def test_pictures_show_the_texts_that_were_most_wrong(tmp_path):
    model = TextCNN(**SMALL, alphabet=list("abcdefg"))
    loader = DataLoader(TensorDataset(torch.randint(0, 9, (20, 7)), torch.arange(20) % 3), 20)
    silent().validate(model, loader, verbose=False)
    figures = model.figures()
    assert set(figures) == {"confusion_matrix", "wrongest"}
    assert " nats:" in figures["wrongest"].texts[0].get_text()
    text_figure("a $ b $ c\nd").savefig(tmp_path / "text.png")  # no formula is read into it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [3, 8]}, "`widths` must be at most `length` 7, but is [3, 8]."),
        ({"widths": []}, "`widths` must be one or more whole numbers of at least 1, but is []."),
        ({"dropout": 1.0}, "`dropout` must be in [0, 1), but is 1.0."),
        ({"vocab_size": None}, "`vocab_size` must be a whole number of at least 2, but is None."),
        ({"length": None}, "`length` must be a whole number of at least 1, but is None."),
        ({"num_kernels": 0}, "`num_kernels` must be at least 1, but is 0."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        TextCNN(**{**SMALL, **arguments})
    assert str(caught.value) == message
