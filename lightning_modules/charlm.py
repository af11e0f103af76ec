"""The character language model: a recurrent network that says which character comes next.

Deck, slide "RNN: Character-level". A window of a text goes in, scores over the vocabulary for the
character after each come out. The state at a window's end is where the next window starts, but
gradients stop there: truncated backpropagation through time (Williams and Peng 1990, "An Efficient
Gradient-Based Algorithm for On-Line Training of Recurrent Network Trajectories"; Mikolov et al.
2010, "Recurrent neural network based language model").
B streams, T characters of a window, V characters of the vocabulary, D embedding, H units.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.recurrent import Cell, State, detach_state
from .data.sequences.character_vocabulary import CharacterVocabulary
from .data.sequences.streams import IGNORED
from .networks.charlm_network import CharLMNetwork
from .rules.character_sampling import Sampling, sample_text, step_table
from .steps.exact_resume import ExactResume
from .steps.lean_step import LeanStep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURED = 40  # characters


class CharLM(LeanStep, ExactResume, pl.LightningModule):
    """Learns to predict each character of a text from those before it.

    Batches are windows (characters, targets), each int64 (B, T), in the order of the text: row b
    goes on where row b of the batch before it ended, and so does the state. It starts from zeros
    with an epoch's first batch, and is part of a checkpoint. Of several processes the first alone
    gets its state back; the others start from zeros once.
    Logs `train/loss` (mean of the epoch), `val/loss` and `test/loss` in nats per character,
    `val/bits_per_char` and `val/perplexity` (also of the test), and `lr`.

    Args:
        vocabulary: The V characters in the order of their numbers; default: that of the data.
        in_shape: [T], for the signature and the summary; default: that of the data.
        prompt: What samples begin with; default: that of the data.
        sample_length: Characters of a sample that follow its prompt.
        embedding_size: D; 0: one-hot vectors.
        hidden_size: H.
        num_layers: Recurrent layers.
        cell: `rnn`, `gru` or `lstm`.
        dropout: Share of vectors and outputs silenced while training, in [0, 1).
        tied: Let the output layer's weights be the embedding's.
        weight_init: How the weights start.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {}  # noqa: RUF012 (data of the class, never changed)

    def __init__(
        self,
        vocabulary: str | None = None,
        in_shape: list[int] | None = None,
        prompt: str | None = None,
        sample_length: int = 300,
        embedding_size: int = 64,
        hidden_size: int = 256,
        num_layers: int = 1,
        cell: Cell = "lstm",
        dropout: float = 0.0,
        tied: bool = False,
        weight_init: WeightInit = "orthogonal",
    ):
        super().__init__()
        remedy = "give it, or run the model with a data module of characters"
        require(bool(vocabulary), "vocabulary", "at least one character", vocabulary, remedy)
        self.coder = CharacterVocabulary(vocabulary or "")
        self.prompt = self.coder.characters[0] if prompt is None else prompt
        self.coder.encode_known(self.prompt, "prompt")
        require(sample_length >= 1, "sample_length", "at least 1", sample_length)
        self.sample_length = sample_length
        self.network = CharLMNetwork(
            len(self.coder),
            embedding_size,
            hidden_size,
            num_layers,
            cell,
            dropout,
            tied,
            weight_init,
        )
        self.save_hyperparameters()
        window = 16 if in_shape is None else in_shape[0]
        self.example_input_array = torch.zeros(2, window, dtype=torch.long)
        self._state: State | None = None  # where the next training window starts
        self._evaluation_state: State | None = None
        self._training = self._evaluation = torch.zeros(2)  # sum of losses, characters
        self._example: Tensor | None = None  # the latest evaluation's first characters

    def forward(self, characters: Tensor) -> Tensor:
        """Scores (B, T, V) of what follows each character (B, T); nothing came before the first."""
        return self.network(characters)[0]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The mean loss of one window, in nats per character."""
        characters, targets = batch
        start = continued(self._state, characters, batch_idx)
        scores, _, state = self.network(characters, start)
        self._state = detach_state(state)
        loss = F.cross_entropy(scores.flatten(0, 1), targets.flatten())  # over (B T, V)
        self._training = self._training + _counted(loss, targets.numel())
        self.log_step({"train/loss_step": loss})
        return loss

    def on_train_epoch_start(self) -> None:
        """Start counting; after a checkpoint in the middle of an epoch this is left out."""
        self._training = torch.zeros(2, device=self.device)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss and the learning rate."""
        self.log("train/loss", self._mean(self._training), sync_dist=True)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def _evaluate(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        characters, targets = batch
        if batch_idx == 0:
            self._evaluation = torch.zeros(2, device=self.device)
            self._example = characters[0, :PICTURED]
        start = continued(self._evaluation_state, characters, batch_idx)
        scores, _, self._evaluation_state = self.network(characters, start)
        flat = scores.flatten(0, 1), targets.flatten()  # (B T, V), (B T,)
        total = F.cross_entropy(*flat, ignore_index=IGNORED, reduction="sum")
        self._evaluation += torch.stack((total, (targets != IGNORED).sum()))

    def _finish_evaluation(self, stage: str) -> None:
        self._evaluation_state = None
        loss = self._mean(self._evaluation)
        self.log(f"{stage}/loss", loss, sync_dist=True)
        self.log(f"{stage}/bits_per_char", loss / math.log(2), sync_dist=True)
        self.log(f"{stage}/perplexity", loss.exp(), sync_dist=True)

    def _mean(self, sums: Tensor) -> Tensor:
        """Nats per character, over the characters of all ranks."""
        total: Any = self.trainer.strategy.reduce(sums, reduce_op="sum")
        return total[0] / total[1]

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count one window towards `val/loss`."""
        self._evaluate(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the loss and what it is in other units."""
        self._finish_evaluation("val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count one window towards `test/loss`."""
        self._evaluate(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the loss and what it is in other units."""
        self._finish_evaluation("test")

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """The likeliest next characters of a window, int64 (B, T), and their chances (B, T)."""
        characters = batch[0] if isinstance(batch, (tuple, list)) else batch
        start = continued(self._evaluation_state, characters, batch_idx)
        scores, _, self._evaluation_state = self.network(characters, start)
        chances, likeliest = scores.softmax(-1).max(-1)
        return {"next": likeliest, "probability": chances}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the carried state, and what was counted, beside the generators' state."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["carried"] = {"state": self._state, "training": self._training}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from that state where training goes on in the middle of an epoch."""
        super().on_load_checkpoint(checkpoint)
        carried = checkpoint.get("carried")
        if carried is not None:
            self._state, self._training = carried["state"], carried["training"]

    def on_train_start(self) -> None:
        """Bring what the checkpoint held to the run's device."""
        super().on_train_start()
        self._training = self._training.to(self.device)
        state = self._state if self.trainer.is_global_zero else None  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(state, tuple):
            self._state = state[0].to(self.device), state[1].to(self.device)
        else:
            self._state = None if state is None else state.to(self.device)

    def sample(
        self,
        *,
        seed: int = 0,
        prompt: str | None = None,
        length: int | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        steps: bool = False,
    ) -> dict[str, str | Figure]:
        """Write on, one character at a time: each that is drawn is the next one that goes in.

        Args:
            seed: The sample is a function of the weights, the options and this.
            prompt: What it begins with; default: the module's.
            length: Characters that follow; default: the module's `sample_length`.
            temperature: Scores are divided by it; 0: always the likeliest character.
            top_k: Draw from so many of the likeliest characters; 0: from all.
            steps: Also tell each step as the slide does: what goes in, hidden layer, scores,
                softmax, what is drawn.

        Returns:
            `text`, the prompt and what follows it, and with `steps` a table of that name.

        Raises:
            ValueError: If an option is outside its range, or the prompt has a character that the
                vocabulary lacks.
        """
        prompt = self.prompt if prompt is None else prompt
        length = self.sample_length if length is None else length
        options = Sampling(seed, length, temperature, top_k)
        options.check(self.coder)
        require(bool(prompt), "prompt", "at least one character", prompt)
        start = self.coder.encode_known(prompt, "prompt")
        drawn = sample_text(self.network, start, self.coder, options, self.device)
        text = prompt + self.coder.decode(drawn.characters)
        if not steps:
            return {"text": text}
        return {"text": text, "steps": step_table(prompt, drawn, self.coder)}

    def snapshots(self) -> dict[str, str | Figure]:
        """A sample from what is learned so far."""
        return self.sample()

    def figures(self) -> dict[str, Figure]:
        """Which characters were thought to come next, along the latest evaluation's beginning."""
        from .pictures.characters import next_characters  # matplotlib takes a while to import

        if self._example is None:
            return {}
        text = self._example.to(self.device)
        with torch.no_grad():
            chances = self(text[None])[0].softmax(-1).cpu()  # (T, V)
        return {"next_characters": next_characters(self.coder.decode(text), chances, self.coder)}


def continued(state: State | None, characters: Tensor, batch_idx: int) -> State | None:
    """The state that a window starts from: the carried one, unless these are other streams.

    Args:
        state: The state after the batch before.
        characters: The window (B, T).
        batch_idx: Number of the batch in its epoch; the first starts from zeros.
    """
    if batch_idx == 0 or state is None:
        return None
    h = state[0] if isinstance(state, tuple) else state
    return state if h.shape[1] == len(characters) else None


def _counted(loss: Tensor, count: int) -> Tensor:
    """A mean loss as (sum of losses, characters)."""
    loss = loss.detach()
    return torch.stack((loss, torch.ones_like(loss))) * count
