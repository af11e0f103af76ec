"""Lightning's trainer around a config: fit, evaluate, predict. Knows no MLflow and no Ray.

`prepare` checks all that can be checked before a run exists; `fit` trains and says how that ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import Callback, Timer
from pytorch_lightning.callbacks import Checkpoint as LightningCheckpoint
from pytorch_lightning.loggers import Logger

from ..configuration.config import Config
from ..errors import UserError
from ..storage.fetched import fetched
from .agreement import leaving_together
from .building import Built, build, refused, trainer_arguments
from .checkpoint_file import check_network, check_resumable
from .checkpoint_file import read as read_checkpoint
from .checkpoints import Checkpoints
from .optimization import check_manual, check_optimizer, check_schedule, set_optimizer
from .step_overhead import QuietProfiler, frozen_heap, lean_steps
from .trainer_context import EndOtherRanks, flushed_denormals, own_process_group, quiet


@dataclass
class Outcome:
    """How a run ended.

    Args:
        metrics: Metrics of the best checkpoint's epoch (the last epoch's when none is better).
        checkpoint: Path of the best checkpoint; None when none was written.
        stop_reason: `completed`, `early_stopped` or `budget`.
        epochs: Epochs completed.
        steps: Optimizer steps made.
        trainer: Lightning's trainer, with the model as training left it.
    """

    metrics: dict[str, float]
    checkpoint: str | None
    stop_reason: str
    epochs: int
    steps: int
    trainer: Trainer = field(repr=False)


def prepare(
    config: Config,
    *,
    ckpt_path: str | None = None,
    resumes: bool = True,
    placement: Callable[[], dict[str, Any]] = dict,
    world_size: int | None = None,
) -> Built:
    """Build and check all that can be checked before a run exists: values, classes, files.

    Args:
        config: The config.
        ckpt_path: Checkpoint to load; a file, or an object's address.
        resumes: Whether training goes on from it; else only its weights are needed.
        placement: Makes the trainer's arguments that this process's place decides.
        world_size: How many processes train together; default: as the trainer says.

    Raises:
        UserError: Something is wrong; nothing was started and nothing written.
    """
    config.resolved  # noqa: B018 - parses and checks
    if config.seed is not None:
        seed_everything(config.seed, workers=True, verbose=False)
    with quiet():
        built = build(config)
        optimizer = check_optimizer(built.model, built.optimizer, config.where("optimizer"))
        check_schedule(optimizer, built.lr_scheduler, config.where)
        set_optimizer(built.model, built.optimizer, built.lr_scheduler)
        built.placement = placement
        trainer = make_trainer(config, None, [], Path.cwd(), built.placement())
        check_manual(built.model, trainer, config.where)
        built.world_size = world_size or trainer.num_devices * trainer.num_nodes
    if ckpt_path:
        ckpt_path = fetched(ckpt_path)
        content = read_checkpoint(ckpt_path)
        check_network(built.model, content, ckpt_path)
        if resumes:
            check_resumable(content, optimizer, ckpt_path)
    if built.data is not None:
        try:
            built.data.prepare_data()
        except Exception as error:  # whatever a data module raises
            raise refused(error, config.where("data")) from error
    return built


def make_trainer(
    config: Config,
    logger: Logger | None,
    callbacks: Iterable[Callback],
    folder: Path,
    placement: Mapping[str, Any] | None = None,
) -> Trainer:
    """Lightning's trainer as the config wants it, with our logger and callbacks beside the user's.

    Args:
        config: The config.
        logger: Where metrics go.
        callbacks: Callbacks beside the config's own.
        folder: Lightning's own, for what the module may write.
        placement: Arguments that the process's place decides, in place of the config's.

    Raises:
        UserError: Lightning refuses a combination of arguments.
    """
    arguments = trainer_arguments(config)
    theirs = arguments["callbacks"] or []
    theirs = list(theirs) if isinstance(theirs, (list, tuple)) else [theirs]
    loggers = arguments["logger"]
    loggers = (
        loggers if isinstance(loggers, list) else [loggers] if isinstance(loggers, Logger) else []
    )
    ours = [c for c in callbacks if not isinstance(c, Checkpoints) or _may_save(arguments)]
    arguments |= {
        "callbacks": theirs + ours,
        "logger": [logger, *loggers] if logger else loggers or False,
        "enable_checkpointing": any(isinstance(c, LightningCheckpoint) for c in theirs + ours),
        "enable_progress_bar": bool(arguments["enable_progress_bar"]),
        "enable_model_summary": bool(arguments["enable_model_summary"]),
        "default_root_dir": arguments["default_root_dir"] or str(folder),
        "profiler": arguments["profiler"] or QuietProfiler(),
        **_placed(placement or {}, arguments),
    }
    try:
        return Trainer(**arguments)
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(
            f"`trainer` must be a set of arguments that fit, but is not: {first}",
            config.where("trainer"),
        ) from error


def _placed(placement: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    plugins = arguments["plugins"] or []
    theirs = list(plugins) if isinstance(plugins, (list, tuple)) else [plugins]
    ours = {"plugins": theirs + placement["plugins"]} if "plugins" in placement else {}
    return {**placement, **ours}


def _may_save(arguments: dict[str, Any]) -> bool:
    return arguments["enable_checkpointing"] is not False and not arguments["barebones"]


def fit(
    config: Config,
    *,
    folder: Path,
    logger: Logger | None = None,
    callbacks: Iterable[Callback] = (),
    built: Built | None = None,
    ckpt_path: str | None = None,
    strict_metric: bool = True,
) -> Outcome:
    """Fit the config's model and say how that ended.

    Args:
        config: A checked config.
        folder: Where `latest.ckpt` and `best.ckpt` go; made when missing.
        logger: Where metrics go.
        callbacks: Callbacks beside the config's own and the checkpoints.
        built: What `prepare` returned; built anew (and seeded) when None.
        ckpt_path: Checkpoint to go on from.
        strict_metric: Whether a deciding metric that is never logged is an error.

    Raises:
        UserError: A checkpoint or the deciding metric is wrong.
        Exception: Whatever the model, the data or a callback raises.
    """
    ckpt_path = fetched(ckpt_path) if ckpt_path else None
    built = built or prepare(config, ckpt_path=ckpt_path)
    folder.mkdir(parents=True, exist_ok=True)
    sweep, launch = config.sweep, config.launch
    saver = Checkpoints(
        folder,
        sweep.metric,
        sweep.mode,
        strict=strict_metric,
        every_n_epochs=launch.save_every_n_epochs,
        every_n_steps=launch.save_every_n_steps,
    )
    with (
        quiet(),
        flushed_denormals(),
        lean_steps(),
        frozen_heap(),
        own_process_group(),
        leaving_together(),
    ):
        ours = [*callbacks, saver, EndOtherRanks()]
        trainer = make_trainer(config, logger, ours, folder, built.placement())
        trainer.fit(built.model, datamodule=built.data, ckpt_path=ckpt_path, weights_only=True)
    last = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return Outcome(
        metrics=saver.best_metrics or last,
        checkpoint=str(saver.best) if saver.best else None,
        stop_reason=_stop_reason(trainer),
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        trainer=trainer,
    )


def evaluate(
    config: Config, built: Built, stage: str, checkpoint: str | None, logger: Logger | None = None
) -> dict[str, float]:
    """`validate` or `test` a model and return the metrics.

    Args:
        config: The config that built it.
        built: Model and data.
        stage: `validate` or `test`.
        checkpoint: Weights to load first; the model's present ones when None.
        logger: Where the metrics go.
    """
    load_weights(built.model, checkpoint)
    with quiet(), flushed_denormals():
        trainer = make_trainer(config, logger, [], Path.cwd())
        run = {"validate": trainer.validate, "test": trainer.test}[stage]
        results = run(built.model, datamodule=built.data, verbose=False)
    return {name: float(value) for result in results for name, value in result.items()}


def predict(config: Config, built: Built, checkpoint: str | None) -> list[Any]:
    """What `predict_step` returned for each batch of the predict loader."""
    load_weights(built.model, checkpoint)
    with quiet(), flushed_denormals():
        trainer = make_trainer(config, None, [], Path.cwd())
        return list(trainer.predict(built.model, datamodule=built.data) or [])


def load_weights(model: LightningModule, checkpoint: str | None) -> None:
    """Put a checkpoint's weights into the model.

    Raises:
        UserError: The checkpoint is broken or belongs to another network.
    """
    if checkpoint is None:
        return
    checkpoint = fetched(checkpoint)
    content = read_checkpoint(checkpoint)
    check_network(model, content, checkpoint)
    model.load_state_dict(content["state_dict"])


def _stop_reason(trainer: Trainer) -> str:
    done = trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch
    if done or 0 <= trainer.max_steps <= trainer.global_step:
        return "completed"
    callbacks = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue] - a connector sets it
    timers = [c for c in callbacks if isinstance(c, Timer)]
    if any((timer.time_remaining() or 0) <= 0 for timer in timers):
        return "budget"
    return "early_stopped" if trainer.should_stop else "budget"
