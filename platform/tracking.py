"""The record of runs, as the process that drives them sees it.

The driver resolves one URI, makes the store ready, creates the experiment and every run, and gives
every run its end; workers only write into runs that exist (`tracking_writer`, `tracking_record`).
One sweep is a parent run, one trial a child of it.

A SQLite store is migrated once, before it appears under its name: MLflow migrates whatever it
opens first, 0.9 s of table changes that two processes would run into each other and that a kill
would leave half done.
"""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
import traceback
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import batched  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, Literal
