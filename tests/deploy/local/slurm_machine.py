"""A real Slurm on one machine: munged, slurmctld, and a slurmd for each node.

A node is a set of namespaces: a network with an address of its own on a bridge, its own processes,
its own name, /dev/shm and /tmp/ray. So what a job does to "its machine", as `ray stop` does, it
does to that node, and no node takes another's Ray for its own.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

NETWORK = "10.213.7"
CONTROLLER = f"{NETWORK}.254"
BRIDGE = "plcslurm"
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "ip", "unshare")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # Debian keeps its daemons there

_CONFIG = """\
ClusterName=paceline
SlurmctldHost={host}({controller})
SlurmUser=root
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
NodeName=n[1-{count}] NodeAddr={network}.[1-{count}] CPUs=2 RealMemory=6000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
"""
_NODE = """\
set -e
hostname {name}
mount --bind {folder}/hosts /etc/hosts
mount -t tmpfs tmpfs /dev/shm
mkdir -p /tmp/ray
mount --bind {folder}/ray-{name} /tmp/ray
exec slurmd -D -N {name} -f {folder}/slurm.conf
"""


def missing() -> str:
    """What is not here that a real Slurm needs; empty: nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"needs {', '.join(absent)}: apt-get install slurmctld slurmd munge iproute2"
    if os.getuid() != 0:
        return "needs root, as Slurm's nodes are network namespaces"
    word = ["unshare", "--net", "--pid", "--uts", "--mount", "--fork", "true"]
    if subprocess.run(word, capture_output=True, check=False).returncode != 0:
        return "needs a kernel that gives root network namespaces"
    return ""


class Slurm:
    """A Slurm with some nodes, from its construction to `stop`.

    Args:
        folder: Where its state and logs are.
        count: Nodes.
    """

    def __init__(self, folder: Path, count: int = 2):
        self.folder, self.count = folder, count
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        for name in [n for n in self.environment if n.startswith(("SLURM_", "RAY_", "MLFLOW_"))]:
            if name != "SLURM_CONF":
                del self.environment[name]
        self.processes: list[subprocess.Popen] = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        for name in ("state", *(f"ray-n{n}" for n in range(1, self.count + 1))):
            (self.folder / name).mkdir()
        host = self.call("hostname").strip()
        given = {"folder": self.folder, "count": self.count, "network": NETWORK, "host": host}
        text = _CONFIG.format(controller=CONTROLLER, **given)
        (self.folder / "slurm.conf").write_text(text)
        names = [f"{NETWORK}.{n} n{n}" for n in range(1, self.count + 1)]
        lines = ["127.0.0.1 localhost", f"{CONTROLLER} {host}", *names, ""]
        (self.folder / "hosts").write_text("\n".join(lines))
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self._make_network()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        options = {"socket": "munge.sock", "key-file": "munge.key", "pid-file": "munge.pid"}
        options |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        words = [f"--{name}={self.folder / file}" for name, file in options.items()]
        self._run("munged", "--foreground", "--force", *words)
        self.wait(lambda: (self.folder / "munge.sock").exists(), 20)
        self._run("slurmctld", "-D", "-f", self.folder / "slurm.conf")
        for number in range(1, self.count + 1):
            name = f"n{number}"
            script = _NODE.format(name=name, folder=self.folder)
            words = ("--pid", "--uts", "--mount", "--fork", "--kill-child", "--mount-proc")
            network = f"--net=/run/netns/{BRIDGE}-{name}"
            self._run("nsenter", network, "unshare", *words, "sh", "-c", script)
        self.wait(lambda: self.call("sinfo", "-h", "-o", "%t %D").split() == ["idle", "2"], 30)

    def _make_network(self) -> None:
        self._clear_network()
        self.call("ip", "link", "add", BRIDGE, "type", "bridge")
        self.call("ip", "addr", "add", f"{CONTROLLER}/24", "dev", BRIDGE)
        self.call("ip", "link", "set", BRIDGE, "up")
        for number in range(1, self.count + 1):
            netns, here = f"{BRIDGE}-n{number}", f"{BRIDGE}{number}"
            self.call("ip", "netns", "add", netns)
            self.call("ip", "link", "add", here, "type", "veth", "peer", "eth0", "netns", netns)
            self.call("ip", "link", "set", here, "master", BRIDGE, "up")
            inside = ("ip", "-n", netns)
            self.call(*inside, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            self.call(*inside, "link", "set", "eth0", "up")
            self.call(*inside, "link", "set", "lo", "up")
            self.call(*inside, "route", "add", "default", "via", CONTROLLER)

    def _clear_network(self) -> None:
        for line in self.call("ip", "netns", "list").splitlines():
            if line.startswith(f"{BRIDGE}-"):
                self.call("ip", "netns", "delete", line.split()[0])
        subprocess.run(
            ["ip", "link", "delete", BRIDGE], capture_output=True, check=False, env=self.environment
        )

    def _run(self, *words: object) -> None:
        with (self.folder / "daemons.log").open("ab") as log:
            process = subprocess.Popen(
                list(map(str, words)),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)

    def call(self, *words: object, cwd: Path | None = None) -> str:
        """What a command prints; it has to succeed."""
        done = subprocess.run(
            list(map(str, words)),
            env=self.environment,
            cwd=cwd,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def wait(self, holds: Callable[[], bool], limit_s: float) -> None:
        """Wait for something, or tell what all daemons said."""
        deadline = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.5)

    def submit(self, script: Path) -> str:
        """The number of a job, from `sbatch` in the script's folder."""
        said = self.call("sbatch", script.name, cwd=script.parent)
        found = re.search(r"Submitted batch job (\d+)", said)
        assert found, said
        return found[1]

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job."""
        words = self.call("scontrol", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def logs(self) -> str:
        """The ends of all logs."""
        files = [*self.folder.glob("*.log"), *self.folder.glob("*/*.log")]
        return "\n".join(f"--- {f}\n{f.read_text(errors='replace')[-3000:]}" for f in files)

    def stop(self) -> None:
        """End every daemon and job, and take the network down."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._clear_network()


class Tracking:
    """An MLflow server that Slurm's nodes reach.

    Args:
        folder: Where its database is.
    """

    def __init__(self, folder: Path):
        self.port = 5055
        self.uri = f"http://{CONTROLLER}:{self.port}"
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", CONTROLLER, "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        command += ["--allowed-hosts", f"{CONTROLLER}:{self.port}"]
        with (folder / "mlflow.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=folder
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        raise RuntimeError((folder / "mlflow.log").read_text())

    def stop(self) -> None:
        """Kill it, its workers too."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
