"""One checkpoint file: published whole or not at all, verified before it is read, never unpickled.

A new file is written under another name and renamed over the old one. Its digest is listed beside
it before the rename, together with the old one's, so that whichever of the two a crash leaves
behind matches a listed digest.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch.optim import Optimizer

from ..errors import UserError, must
from ..home import write_atomic
from .checkpoint_names import BEST, LATEST, digest_file

# What `Trainer.fit` reads beside the weights when it goes on.
_NEEDED_TO_RESUME = ("pytorch-lightning_version", "loops", "optimizer_states", "lr_schedulers")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(temporary: Path, path: Path) -> None:
    """Put a complete file in the place of a checkpoint.

    Args:
        temporary: The new file, in the same folder; it is gone afterwards.
        path: The checkpoint's name.
    """
    new = digest(temporary)
    # More than one is listed after a crash between these two lines; the file there matches one.
    write_atomic(digest_file(path), "\n".join([new, *_listed(path)]) + "\n")
    os.replace(temporary, path)
    write_atomic(digest_file(path), f"{new}\n")


def read(path: str | Path, where: str = "--ckpt_path") -> dict[str, Any]:
    """A checkpoint's content, after its digest was checked; nothing in it can run.

    Args:
        path: A checkpoint of ours, or any Lightning checkpoint of plain tensors and values.
        where: What to name as the origin in an error.

    Raises:
        UserError: The file is missing, differs from its digest, is no checkpoint, or holds objects.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(must("ckpt_path", "a file that exists", str(path)), where)
    verified = _verified(path, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's doubts about the pickle's version
            content = torch.load(verified, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken zip, a hostile pickle, a truncated tensor: many types
        is_pickle = isinstance(error, pickle.UnpicklingError)
        raise UserError(
            must("ckpt_path", "a whole checkpoint of plain tensors and values", str(path)),
            where,
            "it holds other objects, none of which was made; save plain values only"
            if is_pickle
            else f"the file is damaged or no checkpoint ({type(error).__name__})",
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(
            must("ckpt_path", "a Lightning checkpoint (with a `state_dict`)", str(path)), where
        )
    return content


def newest_whole(folder: Path) -> str | None:
    """The newest whole checkpoint of a run or a trial; None: it begins anew."""
    for name in (LATEST, BEST):
        path = folder / name
        if path.exists() and _is_whole(path):
            return str(path)
    return None


def _is_whole(path: Path) -> bool:
    try:
        read(path)
    except UserError:
        return False
    return True


def _listed(path: Path) -> list[str]:
    listed = digest_file(path)
    return listed.read_text(errors="replace").split() if listed.exists() else []


def _verified(path: Path, where: str) -> Path | io.BytesIO:
    """The file once it matches its digest; one that came without, by its own checksums."""
    listed = digest_file(path)
    if not listed.exists():
        return _repacked(path, where)
    if (found := digest(path)) not in _listed(path):
        rule = f"the file whose SHA-256 stands in {listed.name}"
        raise UserError(
            must("ckpt_path", rule, f"{found[:12]}..."),
            f"{where}: {path}",
            "it was changed or cut short; another one beside it may be whole",
        )
    return path


def _repacked(path: Path, where: str) -> Path | io.BytesIO:
    """The archive packed anew from parts that match their checksums.

    torch writes a CRC-32 of each part and never looks at it. Where a flipped bit is in the headers,
    it may even read other bytes than a checker does, so it is given what was checked.
    """
    packed = io.BytesIO()
    try:
        if not zipfile.is_zipfile(path):
            return path  # torch's oldest format, which has no checksums, or no checkpoint at all
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
    except Exception as error:  # a broken header leads zipfile anywhere
        raise UserError(
            must("ckpt_path", "a file whose parts match their checksums", str(path)),
            where,
            f"it is damaged ({error})",
        ) from None
    packed.seek(0)
    return packed


def check_network(model: LightningModule, content: dict[str, Any], checkpoint: str) -> None:
    """Find out whether a checkpoint's weights fit a model.

    Raises:
        UserError: A weight is missing, has no place or has another shape.
    """
    if any(map(torch.nn.parameter.is_lazy, [*model.parameters(), *model.buffers()])):
        return  # shapes are known after the first batch
    odd = _odd_weights(model, content)
    if odd:  # a module may make a checkpoint fit
        content = {**content, "state_dict": dict(content["state_dict"])}
        model.on_load_checkpoint(content)
        odd = _odd_weights(model, content)
    if odd and model.strict_loading:
        raise UserError(
            "`ckpt_path` must be a checkpoint of this network, but its weights differ.",
            str(checkpoint),
            odd,
        )


def _odd_weights(model: LightningModule, content: dict[str, Any]) -> str:
    """The first weight that differs, told in one line; empty when all fit."""
    wanted, found = (
        {name: tuple(t.shape) for name, t in state.items() if isinstance(t, torch.Tensor)}
        for state in (model.state_dict(), content["state_dict"])
    )
    for name in [*wanted, *found]:
        ours, theirs = wanted.get(name, "none"), found.get(name, "none")
        if ours != theirs:
            return f"`{name}`: {ours} in the network, {theirs} in the checkpoint"
    return ""


def check_resumable(content: dict[str, Any], optimizer: Optimizer | None, checkpoint: str) -> None:
    """Find out whether training can go on from a checkpoint.

    Args:
        content: The checkpoint's content.
        optimizer: The config's; None: the module has its own.
        checkpoint: Its path.

    Raises:
        UserError: It holds weights only, or another optimizer's state.
    """
    missing = [key for key in _NEEDED_TO_RESUME if key not in content]
    if missing:
        raise UserError(
            f"`ckpt_path` must be a checkpoint to go on from, but has no {', '.join(missing)}.",
            checkpoint,
            "weights alone serve `paceline test` and `paceline predict`",
        )
    groups = [g for state in content["optimizer_states"] for g in state.get("param_groups", [])]
    if optimizer is None or not groups:
        return
    wanted, found = set(optimizer.param_groups[0]), set(groups[0])
    found -= {"initial_lr", "max_lr", "min_lr"}  # a schedule's own
    if wanted - found and found - wanted:  # a later torch only adds options
        raise UserError(
            "`optimizer` must be the one that the checkpoint was written with, but is "
            f"{type(optimizer).__name__}.",
            checkpoint,
            f"that one has {', '.join(sorted(found - wanted))}",
        )
