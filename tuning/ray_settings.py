"""How Tune has to behave in the driver and in the actors; importing this sets it.

Ray reads these from the environment, some at its import, some when an actor starts. A user who sets
one of them wins. Both the driver and the module that actors import take them from here, because the
actors of a cluster do not inherit the driver's environment.
"""

from __future__ import annotations

import os

from ..platform.launch import ray_settings as ray_settings  # what holds for all of Ray

SETTINGS = {
    # A trial that was told to stop may take its time to write its checkpoint and its last points.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # Our record is MLflow and the journal: no CSV, JSON and TensorBoard files beside them.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A trial's last report has no score; reports are checked by our own rule, with a clear message.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Tune's snapshots every ten seconds are not what a sweep is restored from.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    # Ctrl-C is ours: Tune would wait for the running trials and go on as if nothing had happened.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's new output prints a banner on standard output at every verbosity.
    "RAY_AIR_NEW_OUTPUT": "0",
}

for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)
