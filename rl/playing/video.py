"""An episode as a moving picture, a GIF, which needs no encoder beside Pillow."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..evaluation import Policy
from .making import Maker

MOST_FRAMES = 200
WIDEST = 320  # pixels
MILLISECONDS = 40  # a frame, at least: what browsers show


def episode_gif(maker: Maker, policy: Policy, seed: int, most_steps: int = 2000) -> bytes | None:
    """One episode without exploration.

    Args:
        maker: Makes the environment.
        policy: What to do.
        seed: Of the episode.
        most_steps: Where an episode that does not end is cut off.

    Returns:
        The file; None where the environment draws no pictures.
    """
    frames = _frames(maker, policy, seed, most_steps)
    if not frames:
        return None
    stride = -(-len(frames) // MOST_FRAMES)
    pictures = [_shrunk(frame) for frame in frames[::stride]]
    file = io.BytesIO()
    pictures[0].save(
        file, "GIF", save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0
    )
    return file.getvalue()


def _frames(maker: Maker, policy: Policy, seed: int, most_steps: int) -> list[NDArray]:
    """What the environment draws, (H, W, 3) bytes for each step."""
    if "rgb_array" not in maker.render_modes():
        return []
    with _no_screen():
        environment = maker.one(render_mode="rgb_array")
        observation, _ = environment.reset(seed=seed)
        frames = [environment.render()]
        for _ in range(most_steps):
            action = int(policy(np.asarray(observation)[None])[0])
            observation, _, terminated, truncated, _ = environment.step(action)
            frames.append(environment.render())
            if terminated or truncated:
                break
        environment.close()
    return [np.asarray(frame) for frame in frames if frame is not None]


@contextlib.contextmanager
def _no_screen() -> Iterator[None]:
    """Let pygame look for no screen; without one it complains on standard error."""
    kept = os.environ.get("SDL_VIDEODRIVER")
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    try:
        yield
    finally:
        if kept is None:
            del os.environ["SDL_VIDEODRIVER"]
        else:
            os.environ["SDL_VIDEODRIVER"] = kept


def _shrunk(frame: NDArray) -> Image.Image:
    picture = Image.fromarray(frame)
    picture.thumbnail((WIDEST, WIDEST))
    return picture.quantize(64)
