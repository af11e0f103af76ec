"""K-FAC: steps along the natural gradient, with a Fisher matrix of small Kronecker factors.

Deck, recap "Zooming In", optimizer "Second Order (KFac)". Martens and Grosse 2015, "Optimizing
Neural Networks with Kronecker-factored Approximate Curvature"; Grosse and Martens 2016 for
convolutions. The natural gradient F^-1 dL measures a step by how much it changes what the model
predicts, not by how far the weights move. F is taken to be block-diagonal, a block a layer, each
block a product A (x) G (see `kfac_factors.py`).

F asks for targets drawn from the model itself. Where the module tells its likelihood they are
drawn: the gradients by the outputs go backwards through the graph of the forward pass a second
time, to the layers only, on the few steps that renew the statistics. Otherwise the gradients of
the loss are used, the empirical Fisher, which costs nothing more but shrinks with the gradients,
so that steps grow where they should not (Kunstner et al. 2019, section 3). It takes the loss for
a mean over the batch that nobody scaled (as 16-bit float training does).

Differs from the paper: the learning rate, the momentum and the damping are the user's or the
schedule's, not found on a quadratic model at each step (sections 6.4 to 7), which would need more
passes through the network; instead a step's length is bounded (`kl_clip`). The statistics come
from the whole batch of every tenth step, not from an eighth of each batch (section 8). Blocks off
the diagonal (section 4.3) are left out. The weight decay is that of AdamW, w <- w - lr weight_decay
w, which suits K-FAC best (Zhang et al. 2019, "Three Mechanisms of Weight Decay Regularization").
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from .checks import require, require_one_of
from .kfac_factors import (
    Layer,
    Statistics,
    damped_inverses,
    layers_with_factors,
    natural_gradient,
)
from .likelihoods import LIKELIHOODS, Likelihood, sampled_gradient

Fisher = Literal["auto", "sampled", "empirical"]
EARLY_STEPS = 3  # that renew everything: a run's first matrices are the worst (section 8)


class KFAC(Optimizer):
    """Natural gradient descent for linear and convolutional layers; plain steps for the rest.

    Each step: v <- momentum v + F^-1 g, w <- w - lr v - lr weight_decay w, where F^-1 g is
    shortened so that lr^2 g' F^-1 g <= kl_clip. Parameters of other layers (normalisation,
    embeddings, grouped convolutions, weights that layers share) take v <- momentum v + g.

    The learning rate is that of a Newton step: 1 trusts the model of the loss, less is cautious.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate, > 0.
        momentum: Share of the velocity kept at each step, in [0, 1).
        weight_decay: Shrinking of the weights, >= 0.
        damping: What is added to F, in units of the loss, > 0: large is cautious.
        statistics_decay: Share of the running averages kept when they are renewed, in [0, 1);
            the paper's is 0.95 (section 5).
        statistics_interval: Steps from one renewal of the averages to the next, at least 1; the
            first three steps renew them too.
        inverse_interval: Steps from one inversion to the next, likewise; the paper's is 20.
        kl_clip: Bound of a step's length in what the model predicts, > 0; infinity: none.
        fisher: `sampled`, `empirical`, or `auto`: sampled where the module tells its likelihood.

    Raises:
        ValueError: If an argument is outside its range.
    """

    _records: dict[Layer, Statistics | None] | None = None  # None until `attach`

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        damping: float = 1e-2,
        statistics_decay: float = 0.95,
        statistics_interval: int = 10,
        inverse_interval: int = 20,
        kl_clip: float = 1e-2,
        fisher: Fisher = "auto",
    ):
        require(0 < lr < math.inf, "lr", "a positive number", lr)
        require(0 <= momentum < 1, "momentum", "in [0, 1)", momentum)
        require(0 <= weight_decay < math.inf, "weight_decay", "0 or above", weight_decay)
        require(0 < damping < math.inf, "damping", "a positive number", damping)
        require(0 <= statistics_decay < 1, "statistics_decay", "in [0, 1)", statistics_decay)
        require(statistics_interval >= 1, "statistics_interval", "at least 1", statistics_interval)
        require(inverse_interval >= 1, "inverse_interval", "at least 1", inverse_interval)
        require(kl_clip > 0, "kl_clip", "above 0", kl_clip)
        require_one_of("fisher", fisher, ("auto", "sampled", "empirical"))
        self.statistics_decay, self.damping, self.kl_clip = statistics_decay, damping, kl_clip
        self.statistics_interval, self.inverse_interval = statistics_interval, inverse_interval
        self.fisher: Fisher = fisher
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def attach(self, module: nn.Module) -> None:
        """Listen to the layers that the steps are for; call it once, before the first step.

        Args:
            module: Holds the parameters. It tells its likelihood by two attributes: `likelihood`,
                one of `categorical`, `bernoulli`, `gaussian` or None, and `network`, the part
                whose output (or the first of its outputs) that likelihood is about.

        Raises:
            ValueError: If `fisher` is `sampled` and the module tells no likelihood.
        """
        likelihood, network = getattr(module, "likelihood", None), getattr(module, "network", None)
        heard = network if isinstance(network, nn.Module) and likelihood is not None else None
        remedy = "give the module `network` and `likelihood`, or set `fisher` to empirical"
        rule = f"auto or empirical: {type(module).__name__} tells no likelihood"
        require(heard is not None or self.fisher != "sampled", "fisher", rule, self.fisher, remedy)
        self._likelihood: Likelihood | None = None
        self._pending: list[tuple[Layer, GradientEdge]] = []
        if heard is not None and self.fisher != "empirical":
            require_one_of("likelihood", likelihood, LIKELIHOODS)
            self._likelihood, module = likelihood, heard
        trained = [p for group in self.param_groups for p in group["params"]]
        self._records = dict.fromkeys(layers_with_factors(module, trained))
        for layer in self._records:
            layer.register_forward_hook(_Ear(self, "_hear_layer"))
        if self._likelihood is not None:
            module.register_forward_hook(_Ear(self, "_hear_network"))

    def _is_due(self, layer: Layer, interval: int) -> bool:
        state = self.state.get(layer.weight, {})
        step = int(state["step"]) if "step" in state else 0
        return step < EARLY_STEPS or step % interval == 0

    def _hear_layer(self, layer: Layer, x: Tensor, output: Tensor) -> None:
        assert self._records is not None
        # Without a graph nobody is about to take a step.
        if not output.requires_grad or not self._is_due(layer, self.statistics_interval):
            return
        record = self._records[layer] = self._records[layer] or Statistics(layer)
        record.add_inputs(x.detach())
        if self._likelihood is not None:
            # The edge, not the tensor: an activation may work in place.
            self._pending.append((layer, get_gradient_edge(output)))
        else:
            # The loss is a mean over the batch, so each example's own gradient is B times that.
            output.register_hook(lambda g: record.add_gradients(g.detach() * len(g)))

    def _hear_network(self, network: nn.Module, x: Tensor, output: Any) -> None:
        pending, self._pending = self._pending, []
        if not pending or self._likelihood is None:
            return
        assert self._records is not None
        outputs: Tensor = output if isinstance(output, Tensor) else output[0]
        noise = sampled_gradient(outputs.detach(), self._likelihood)
        edges = [edge for _, edge in pending]
        found = torch.autograd.grad(outputs, edges, noise, retain_graph=True, allow_unused=True)
        for (layer, _), g in zip(pending, found, strict=True):
            if (record := self._records[layer]) is not None and g is not None:
                record.add_gradients(g)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Computes the loss and its gradients anew.

        Returns:
            What the closure returns.

        Raises:
            RuntimeError: If `attach` was not called.
        """
        if self._records is None:
            raise RuntimeError("KFAC.attach(module) must be called before the first step.")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        directions = self._natural_gradients()
        for group in self.param_groups:
            for p in group["params"]:
                direction = directions.get(p, p.grad)
                if direction is not None:
                    self._move(p, direction, group)
        return loss

    def _move(self, p: Tensor, direction: Tensor, group: dict[str, Any]) -> None:
        if group["momentum"]:
            state = self.state[p]
            if "velocity" not in state:
                state["velocity"] = torch.zeros_like(p)
            direction = state["velocity"].mul_(group["momentum"]).add_(direction)
        p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction, alpha=group["lr"])

    def _natural_gradients(self) -> dict[Tensor, Tensor]:
        """Parameter -> F^-1 g, shortened together, for all layers that have an inverse."""
        assert self._records is not None
        directions: dict[Tensor, Tensor] = {}
        for layer, record in self._records.items():
            if layer.weight.grad is None:
                continue
            state = self._renew(layer, record)
            if "inverse_a" in state:
                inverses = state["inverse_a"], state["inverse_g"]
                directions |= natural_gradient(layer, *inverses)
        self._records = dict.fromkeys(self._records)
        self._shorten(directions)
        return directions

    def _renew(self, layer: Layer, record: Statistics | None) -> dict[str, Any]:
        """Bring a layer's averages and inverses up to date and count the step."""
        state = self.state[layer.weight]
        due = self._is_due(layer, self.inverse_interval)
        if record is not None:
            a, g = record.factors()
            # A plain mean at first (section 5): the first figures must not weigh for ever.
            state["renewals"] = state.get("renewals", torch.zeros_like(a[0, 0])) + 1
            keep = min(1 - 1 / int(state["renewals"]), self.statistics_decay)
            state["a"] = a.lerp_(state["a"], keep) if keep else a
            state["g"] = g.lerp_(state["g"], keep) if keep else g
        if "a" in state and (due or "inverse_a" not in state):
            inverses = damped_inverses(state["a"], state["g"], self.damping)
            state["inverse_a"], state["inverse_g"] = inverses
        # A tensor on the CPU: under this name torch loads it as it was.
        state["step"] = state.get("step", torch.zeros(())) + 1
        return state

    def _shorten(self, directions: dict[Tensor, Tensor]) -> None:
        """Scale all directions so that lr^2 g' F^-1 g, twice the KL divergence, is bounded."""
        if not directions or self.kl_clip == math.inf:
            return
        rates = {p: group["lr"] for group in self.param_groups for p in group["params"]}
        length = 0.0
        for p, direction in directions.items():
            assert p.grad is not None
            length = length + rates[p] ** 2 * (direction * p.grad).sum()
        scale = (self.kl_clip / torch.as_tensor(length)).sqrt().clamp(max=1.0)
        for direction in directions.values():
            direction.mul_(scale)


class _Ear:
    """A forward hook that hands a layer's pass to an optimizer for as long as that lives.

    A copy of the module is another module: its hooks are deaf.
    """

    def __init__(self, optimizer: KFAC | None, method: str):
        self.optimizer = (lambda: None) if optimizer is None else weakref.ref(optimizer)
        self.method = method

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        optimizer = self.optimizer() if module.training else None
        if optimizer is not None:
            getattr(optimizer, self.method)(module, inputs[0], output)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (None, self.method)
