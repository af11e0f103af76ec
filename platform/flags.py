"""The short flags of the command, in the groups that its verbs take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One short flag.

    Args:
        name: As written after `--`, with dashes.
        help: One line.
        key: Config key that it sets; None: an option of the verb itself.
        metavar: What the value is called; None: the flag takes no value.
        is_list: The value is split at commas.
    """

    name: str
    help: str
    key: str | None = None
    metavar: str | None = "VALUE"
    is_list: bool = False


CONFIG = (
    Flag("seed", "seed of everything random", "seed_everything", "INT"),
    Flag("data", "another data set; sizes of the model follow it", "data.class_path", "NAME"),
    Flag("model", "another model class", "model.class_path", "NAME"),
    Flag("optimizer", "another optimizer", "optimizer.class_path", "NAME"),
    Flag("lr-scheduler", "a learning-rate schedule, or none", "lr_scheduler.class_path", "NAME"),
    Flag("pretrained", "weights to start from", "model.init_args.pretrained", "FILE"),
    Flag(
        "workers", "worker processes of each run on Ray; 2:4: what fits", "launch.num_workers", "N"
    ),
    Flag("address", "Ray cluster: auto, host:6379", "launch.address", "ADDRESS"),
    Flag("cpus-per-worker", "CPU cores that a worker reserves", "launch.cpus_per_worker", "NUMBER"),
    Flag("gpus-per-worker", "GPUs that a worker reserves", "launch.gpus_per_worker", "NUMBER"),
    Flag("storage", "folder or s3://bucket/prefix of runs", "launch.storage", "PLACE"),
    Flag("tracking-uri", "MLflow store or server", "tracking.uri", "URI"),
    Flag("experiment", "MLflow experiment", "tracking.experiment", "NAME"),
)
COMMON = (
    Flag("json", "one JSON object on standard output, the rest on standard error", None, None),
    Flag("help", "this text", None, None),
)
RECIPE = (
    Flag("name", "name of the run; default RECIPE-YYYYMMDD-n", None, "NAME"),
    Flag("config", "another YAML file laid over the recipe (may be repeated)", None, "FILE"),
    Flag("print-config", "print the whole config and stop", None, None),
)
CKPT = (Flag("ckpt-path", "checkpoint to load", "ckpt_path", "FILE"),)
# A trial is one worker; several share a GPU where each asks for a part of it.
SHAPE = (
    Flag("cpus-per-trial", "CPU cores that a trial reserves", "launch.cpus_per_worker", "NUMBER"),
    Flag("gpus-per-trial", "GPUs of a trial; 0.25 shares one", "launch.gpus_per_worker", "NUMBER"),
)
SWEEP = (
    Flag("trials", "configurations to try", "sweep.trials", "INT"),
    Flag("vary", "knobs to vary, the others stay", "sweep.vary", "KNOB,KNOB", is_list=True),
    Flag("search", "random, grid, tpe or a ray.tune.search class", "sweep.search", "NAME"),
    Flag("scheduler", "asha, hyperband, median, pbt or none", "sweep.scheduler", "NAME"),
    Flag("like", "an earlier sweep whose best are tried first", "sweep.like", "NAME"),
    Flag("seeds", "train the best again with this many seeds", "sweep.winner_seeds", "INT"),
    Flag("metric", "metric that decides", "sweep.metric", "NAME"),
    Flag("mode", "min or max", "sweep.mode", "MODE"),
    Flag("max-time", "budget in seconds", "sweep.max_time_s", "SECONDS"),
    Flag("trial-time", "seconds that one trial may take", "sweep.trial_time_s", "SECONDS"),
    *SHAPE,
)
STORAGE = Flag("storage", "folder or s3://bucket/prefix of runs", "launch.storage", "PLACE")
GO_ON = (
    STORAGE,
    Flag("address", "Ray cluster: auto, host:6379", "launch.address", "ADDRESS"),
    Flag("max-time", "budget in seconds", "sweep.max_time_s", "SECONDS"),
    Flag("trial-time", "seconds that one trial may take", "sweep.trial_time_s", "SECONDS"),
    *SHAPE,
)
LOOK = (RECIPE[1], *CONFIG[:5])  # for verbs that build a recipe and run nothing
CHECK = (
    Flag("gradients", "compare every gradient with central differences", None, None),
    Flag("entries", "entries checked of each tensor that has more; default: up to 64", None, "INT"),
    *LOOK,
)
PREDICT = (Flag("invert", "turn light and dark of the pictures round", None, None),)
BENCH = (
    Flag("recipes", "only these, joined by commas", None, "NAME,NAME"),
    Flag("batch", "pictures at a time; default 8", None, "INT"),
    Flag("rounds", "how often each network is timed; default 5", None, "INT"),
    Flag("output", "the picture; default networks.png", None, "FILE"),
    STORAGE,
)
SEEDS = (Flag("seeds", "repeat with this many seeds; report mean and interval", None, "INT"),)
SUBMIT = (
    Flag("address", "http://host:8265, Ray's dashboard; default: the known one", None, "ADDRESS"),
    Flag("detach", "leave once the job is submitted", None, None),
    Flag("working-dir", "folder that is sent; default: this one", None, "DIR"),
    Flag("exclude", "leave such files out (may be repeated)", None, "PATTERN"),
    Flag("max-upload", "MiB that may be sent; default 95", None, "INT"),
    Flag("python", "interpreter on the cluster; default python", None, "PROGRAM"),
)
CANCEL = (
    SUBMIT[0],
    Flag("timeout", "how long to wait; default 180", None, "SECONDS"),
)
CLUSTER = (
    Flag("set", "one value, as workers=3 (may be repeated)", None, "KEY=VALUE"),
    Flag("values", "YAML file of values", None, "FILE"),
    Flag("out", "folder to write; default paceline-TARGET", None, "DIR"),
    Flag("force", "overwrite what is there; `down`: end what runs, too", None, None),
)
CLUSTER_UP = (
    Flag("nodes", "worker nodes that `up` starts beside the head; default 2", None, "INT"),
    Flag("cpus", "CPU cores that Ray counts on each; default: shared out", None, "INT"),
    Flag("gcs-port", "where Ray's head listens; default 6379 or a free one", None, "INT"),
    Flag("dashboard-port", "where Ray's dashboard and jobs do; default 8265", None, "INT"),
    Flag("mlflow-port", "where MLflow does; default 5000", None, "INT"),
    Flag("s3-port", "where the object store does; default 7070", None, "INT"),
)
PLAN = (
    *(flag for flag in SWEEP if flag.name != "like"),
    Flag("like", "take the times of this run or sweep, and measure none", None, "NAME"),
    Flag("measure", "seconds to measure in; default 10", None, "SECONDS"),
)
DOCTOR = (
    Flag("address", "Ray cluster; default: the one that this home knows", None, "ADDRESS"),
    Flag("storage", "folder or s3://bucket/prefix of runs", None, "PLACE"),
    Flag("tracking-uri", "MLflow store or server", None, "URI"),
    Flag("timeout", "how long a row may take; default 60", None, "SECONDS"),
)
PROMOTE = (
    Flag("seeds", "seeds that train each of the two best; default 5", None, "INT"),
    Flag("name", "the registered model; default: the recipe's name", None, "MODEL"),
    Flag("alias", "what names the version from now on; default champion", None, "ALIAS"),
    STORAGE,
    GO_ON[1],
)
SERVE = (
    Flag("port", "port on 127.0.0.1; default 5001", None, "INT"),
    Flag("alias", "which version of a registered model; default champion", None, "ALIAS"),
    Flag("replicas", "so many processes answer, placed by Ray Serve", None, "INT"),
    Flag("address", "Ray cluster of the replicas; default: this machine", None, "ADDRESS"),
    Flag("max-body", "largest request in MiB; default 64", None, "INT"),
    Flag("tracking-uri", "MLflow store or server", "tracking.uri", "URI"),
    STORAGE,
)
