"""A model that fails on demand."""

from __future__ import annotations

import sys
from pathlib import Path

# A trial takes over the path of the driver, and so finds `fragile`.
sys.path.append(str(Path(__file__).parent / "models"))
