"""How Ray has to behave in the driver and in its workers; importing this sets it.

Ray reads these from the environment, some at its import, some when an actor starts. A user who sets
one of them wins. Whatever else imports Ray imports this before it, because the actors of a cluster
do not inherit the driver's environment.
"""

from __future__ import annotations

import os

SETTINGS = {
    # Relative paths of a config mean the user's folder, not one of a trial's own.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Lightning must not fork where Ray's threads run.
    "PL_DISABLE_FORK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # How often Train asks its workers how they are, in s: a dead one is noticed as late as that,
    # and a second report of a worker waits for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    # A worker that waits for a dead one cannot take its process group down; it is ended anyway.
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "3",
    # Prometheus has nobody to ask here; the record is MLflow.
    "RAY_TRAIN_METRICS_ENABLED": "0",
}

for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)
