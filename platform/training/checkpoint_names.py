"""What the files of a checkpoint are called, without torch: a verb that only looks starts fast."""

from __future__ import annotations

from pathlib import Path

LATEST = "latest.ckpt"
BEST = "best.ckpt"


def digest_file(path: Path) -> Path:
    """The file beside a checkpoint that lists the digests it may have."""
    return path.with_name(path.name + ".sha256")
