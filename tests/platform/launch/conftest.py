"""A model that can be disturbed: workers take over the path of the driver, and so find it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "models"))
