"""Paceline joins PyTorch Lightning, Ray and MLflow into one distributed training platform.

The wings, from the ground up (an import may only point down this list):

    lightning_modules   what is learned: networks, training rules, data modules, recipes
    rl                  learning by acting (uses lightning_modules)
    platform            how one run happens: config, catalog, launch, record, checkpoints
    tuning              searching over runs with Ray Tune (uses platform)
    deploy              where it runs: clusters, servers, images (uses tuning, platform)

From Python, as from the command line:

    import paceline

    run = paceline.fit("mlp", seed=1)
    sweep = paceline.sweep("mlp", trials=8, seed=1)
    sweep.dataframe()
    paceline.extend(sweep.name, trials=8)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .platform.runs import fit
    from .tuning.api import extend, resume, sweep

__version__ = "0.1.0"
__all__ = ["extend", "fit", "resume", "sweep"]


def __getattr__(name: str) -> Any:
    """Import a verb's wing at its first use: `import paceline` itself must cost nothing."""
    if name == "fit":
        from .platform.runs import fit

        return fit
    if name in ("sweep", "resume", "extend"):
        from .tuning import api

        return getattr(api, name)
    raise AttributeError(f"module 'paceline' has no attribute {name!r}")
