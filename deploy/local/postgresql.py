"""PostgreSQL behind MLflow: a server of its own, on a socket in a folder and on no port at all.

It wants its password even there. PostgreSQL refuses to run as root, so root starts it as the
account `postgres`, in a folder that this account can reach.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..cluster_profile import write_private
from .cluster import POSTGRESQL, LocalCluster
from .processes import failed, start, wait_until

USER = "mlflow"
ACCOUNT = "postgres"
_PROGRAMS = ("initdb", "postgres")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "dynamic_shared_memory_type": "mmap",  # in its folder, not in /dev/shm
    "password_encryption": "scram-sha-256",
    "shared_buffers": "32MB",
}


def is_installed() -> bool:
    """Whether PostgreSQL, the driver that MLflow needs, and an account for it are here."""
    found = all(map(_program, _PROGRAMS)) and importlib.util.find_spec("psycopg") is not None
    return found and (os.getuid() != 0 or _account() is not None)


def make_folder(cluster_folder: Path) -> str:
    """A folder for its data: the cluster's own, or as root one that its account can reach."""
    if os.getuid() != 0:
        return str(cluster_folder / POSTGRESQL)
    parent = next(p for p in ("/var/lib", tempfile.gettempdir()) if os.access(p, os.W_OK))
    folder = Path(tempfile.mkdtemp(prefix="paceline-postgresql-", dir=parent))
    account = _account()
    assert account is not None
    os.chown(folder, account.pw_uid, account.pw_gid)
    return str(folder)


def uri(cluster: LocalCluster) -> str:
    """The database's address; the account and its password are in the environment."""
    return f"postgresql+psycopg:///postgres?host={socket_folder(cluster)}"


def environment(cluster: LocalCluster) -> dict[str, str]:
    """What a client needs, as libpq reads it."""
    return {"PGUSER": USER, "PGPASSWORD": cluster.secret("database-password")}


def start_postgresql(cluster: LocalCluster) -> None:
    """Make the database where there is none, and serve it.

    Raises:
        RunError: It does not start.
    """
    data, log = Path(cluster.database) / "data", cluster.folder / "postgresql.log"
    socket_folder(cluster).mkdir(mode=0o700, exist_ok=True, parents=True)
    if os.getuid() == 0:
        shutil.chown(socket_folder(cluster), ACCOUNT)
    if not (data / "PG_VERSION").exists():
        _make_database(cluster, data, log)
    words = [f"{name}={value}" for name, value in _SETTINGS.items()]
    words += [f"unix_socket_directories={socket_folder(cluster)}"]
    command = [str(_program("postgres")), "-D", str(data)]
    command += [word for setting in words for word in ("-c", setting)]
    process = start(cluster, POSTGRESQL, command, {}, log, cwd=cluster.database, **_as_account())
    wait_until(lambda: answers(cluster), "PostgreSQL", process, log, 60)


def answers(cluster: LocalCluster) -> bool:
    """Whether it takes the password."""
    import psycopg

    account = environment(cluster)
    try:
        with psycopg.connect(
            host=str(socket_folder(cluster)),
            dbname="postgres",
            user=account["PGUSER"],
            password=account["PGPASSWORD"],
            connect_timeout=5,
        ):
            return True
    except psycopg.Error:
        return False


def _make_database(cluster: LocalCluster, data: Path, log: Path) -> None:
    Path(cluster.database).mkdir(mode=0o700, exist_ok=True)
    password = Path(cluster.database) / "password"
    write_private(password, cluster.secret("database-password") + "\n")
    if account := _account_to_be():
        os.chown(password, account.pw_uid, account.pw_gid)
    command = [str(_program("initdb")), "-D", str(data), "-U", USER, "--no-sync"]
    command += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-locale"]
    done = subprocess.run(
        command,
        cwd=cluster.database,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **_as_account(),
    )
    password.unlink()
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise failed(f"PostgreSQL's initdb ended with code {done.returncode}.", log)


def socket_folder(cluster: LocalCluster) -> Path:
    """Where its socket is: a short path, and one that its account can reach."""
    return Path(cluster.database if os.getuid() == 0 else cluster.runtime) / "socket"


def _program(name: str) -> str | None:
    """Where a program of PostgreSQL is; Debian keeps the server's off the PATH."""
    if found := shutil.which(name):
        return found
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(places[-1]) if places else None


def _account() -> pwd.struct_passwd | None:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    return None


def _account_to_be() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as, where that is not who we are."""
    return _account() if os.getuid() == 0 else None


def _as_account() -> dict[str, Any]:
    account = _account_to_be()
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
