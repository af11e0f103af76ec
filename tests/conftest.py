"""What every test stands on: a home of its own, one thread, and the command called in process.

A home must not cost a migration for each test: MLflow's tables are made once a session and the file
is copied. The command is called in process because importing torch takes seconds; a test starts a
real process only where the process itself is what it tests.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from paceline.tests.platform.storage.s3_double import S3Double

# Set before torch, Ray and MLflow are imported, and inherited by every process that a test starts.
# $PACELINE_DATA is left as it is: it says where the real data sets of this machine are.
os.environ["OMP_NUM_THREADS"] = "1"  # tests share the cores; their networks are tiny
os.environ["RAY_AUTH_MODE"] = "disabled"  # else Ray writes a token into the real home
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# No test may find this machine's own credentials; what is asked for some takes any.
os.environ |= {"AWS_ACCESS_KEY_ID": "of-tests", "AWS_SECRET_ACCESS_KEY": "no-secret-of-anybody"}
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
for name in (
    "PACELINE_HOME",
    "PACELINE_JOIN",
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_RUN_ID",
    "AWS_ENDPOINT_URL",
    "AWS_SESSION_TOKEN",
):
    os.environ.pop(name, None)


ROOT = Path(__file__).parent
# What takes minutes and cannot be divided begins first; what can be divided comes last, and keeps
# all processes busy to the end.
LONGEST_FIRST = (
    "tuning/test_resume.py",
    "tuning/test_sweep.py",
    "test_readme.py",
    "tuning/test_kill.py",
    "platform/test_fit.py",
    "platform/launch/test_wide_runs.py",
    "platform/launch/test_one_of_each.py",
)
BY_RECIPE_LAST = "lightning_modules/test_conformance.py"


def pytest_itemcollected(item: pytest.Item) -> None:
    """With several processes, a file stays in one, but that of all recipes is dealt out by recipe.

    A file's tests share fixtures that are dear (a sweep, a home), and a recipe's share its runs.
    Those of several files that use the local cluster share it, and take long to bring it up.
    """
    group = item.path.relative_to(ROOT).as_posix()
    if "local_cluster" in getattr(item, "fixturenames", ()):
        group = "local-cluster"
        item.add_marker(pytest.mark.long)
    if group == BY_RECIPE_LAST:
        group += ":" + item.callspec.params["shared"]  # pyright: ignore[reportAttributeAccessIssue]
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files where they are dealt out; alone they run as they are named."""
    if getattr(config.option, "loadgroup", False):  # what xdist tells its processes
        order = {ROOT / name: place for place, name in enumerate(LONGEST_FIRST)}
        order[ROOT / BY_RECIPE_LAST] = len(items)
        items.sort(key=lambda item: order.get(item.path, len(LONGEST_FIRST)))


@pytest.fixture(autouse=True, scope="session")
def _no_test_writes_into_the_real_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["PACELINE_HOME"] = str(tmp_path_factory.mktemp("home-of-the-session"))


@pytest.fixture(autouse=True)
def _no_test_leaves_mlflow_an_address() -> Iterator[None]:
    """`mlflow.set_tracking_uri` sets a variable of this process, which the next test would find."""
    yield
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with MLflow's tables and nothing in them."""
    from paceline.platform.tracking.migration import prepare_store

    path = tmp_path_factory.mktemp("empty-store") / "mlflow.db"
    prepare_store(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def if_extras_allow() -> Callable[[], AbstractContextManager[None]]:
    """`with if_extras_allow():` skips where an extra's package is missing, and says which."""

    @contextmanager
    def skipping() -> Iterator[None]:
        from paceline.platform.errors import UserError

        try:
            yield
        except UserError as error:
            if "pip install" in error.remedy:
                pytest.skip(f"{error.what} {error.remedy}")
            raise

    return skipping


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray on two cores, started once; every run and sweep uses it and leaves it running."""
    from paceline.tuning import ray_session  # sets what Ray reads at its import

    with ray_session.hushed():
        ray_session.ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=ray_session.OBJECT_STORE_BYTES,
        )
        yield
        ray_session.ray.shutdown()


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Double]:
    """An S3 with one empty bucket."""
    pytest.importorskip("moto", reason="needs an S3 double: pip install 'moto[s3]'")
    from paceline.tests.platform.storage.s3_double import S3Double

    double = S3Double(tmp_path_factory.mktemp("s3") / "log.txt")
    yield double
    double.stop()


@pytest.fixture
def s3(s3_process: S3Double) -> Iterator[S3Double]:
    """That S3; it behaves until it is told not to."""
    yield s3_process
    s3_process.fail(0)


@pytest.fixture(scope="module")
def module_home(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A `$PACELINE_HOME` that the tests of one module share."""
    home = tmp_path_factory.mktemp("paceline-home")
    shutil.copy(empty_store, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACELINE_HOME", str(home))
        yield home


@pytest.fixture
def paceline_home(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `$PACELINE_HOME` whose store needs no migration."""
    home = tmp_path / "paceline-home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    monkeypatch.setenv("PACELINE_HOME", str(home))
    return home


@dataclass
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output; anything else there fails the test."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"one line of JSON expected, got {self.out!r}\n{self.err}"
        return json.loads(lines[0])


Command = Callable[..., Answer]


@pytest.fixture
def run_command(
    paceline_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """`paceline ARGV...`, in this process, from an empty folder that is not the repository."""
    from paceline.__main__ import main

    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = list(sys.path)

    def run(*argv: object) -> Answer:
        with _captured() as streams:
            code = main([str(word) for word in argv])
        return Answer(code, streams["out"], streams["err"])

    yield run
    sys.path[:] = before  # the command adds the folder that it was called from


@contextmanager
def _captured() -> Iterator[dict[str, str]]:
    """Capture both descriptors, not only Python's streams: `--json` moves descriptor 1 about."""
    texts: dict[str, str] = {}
    streams = {"out": (1, sys.stdout), "err": (2, sys.stderr)}
    files = {name: tempfile.TemporaryFile("w+") for name in streams}  # noqa: SIM115 closed below
    saved = {}
    for name, (number, stream) in streams.items():
        stream.flush()
        saved[name] = os.dup(number)
        os.dup2(files[name].fileno(), number)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 closed below
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115 closed below
    try:
        yield texts
    finally:
        sys.stdout.close()
        sys.stderr.close()
        sys.stdout, sys.stderr = streams["out"][1], streams["err"][1]
        for name, (number, _) in streams.items():
            os.dup2(saved[name], number)
            os.close(saved[name])
            with files[name] as file:
                file.seek(0)
                texts[name] = file.read()
