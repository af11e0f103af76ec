"""Every block of the README is run, in its order, in one folder with one home.

`sh` blocks are commands, `sh background` serves until it is ended, `python` is a program, a block
with `file=` is written under that name, `console` shows a command and what it prints, `yaml` is
parsed. The `make` commands are the installation itself, which the tests stand on already: the
Makefile is asked what it would do.

Importing torch and MLflow takes seconds in each process. A command that is only `paceline` and its
words runs in a fork of a process that has imported them and done nothing else; sweeps start as a
user starts them, as what they need is brought up at the start.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from paceline.platform.ports import free_port

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)
BLOCKS = [(m[1], m[2].strip(), m[3]) for m in BLOCK.finditer((ROOT / "README.md").read_text())]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, as a user's project is."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def environment(workplace: Path) -> dict[str, str]:
    """A shell in which the package is installed and the home is empty."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PACELINE_HOME": str(workplace / "home")}


# Reads one command a line, runs it in a fork as the installed script would, tells its exit code.
# The fork leaves as a process does, so that what is registered for the end happens too.
FORKS = """
import json, os, sys
import mlflow, pytorch_lightning, torch
from paceline.__main__ import command
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, path in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
        sys.argv[:] = asked["words"]
        command()
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
TO_A_SHELL = set("|&;<>()$`")
FRESH = ("sweep", "extend")
# Beside which quicker tests show the same.
SLOW = (
    "mlp --vary",
    "mlp --like",
    "mlp --search",
    "extend eight",
    "eight learned",
    "promote eight",
)


@dataclass
class Done:
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


class Forks:
    """A process with everything imported, a fork of which runs each command."""

    def __init__(self, environment: dict[str, str], folder: Path):
        self.folder = folder
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            cwd=folder,
            env=environment,
            text=True,
            stdin=pipe,
            stdout=pipe,
        )

    def run(self, line: str) -> Done:
        out, err = (self.folder.parent / name for name in ("readme.out", "readme.err"))
        for file in (out, err):
            file.write_text("")
        asked = {"words": shlex.split(line), "out": str(out), "err": str(err)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return Done(int(self.process.stdout.readline()), out.read_text(), err.read_text())


@pytest.fixture(scope="module")
def forks(environment: dict[str, str], workplace: Path) -> Iterator[Forks]:
    """Ends when its input does."""
    forks = Forks(environment, workplace)
    yield forks
    forks.process.communicate(timeout=30)


def shell(script: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment, text=True, capture_output=True
    )


def commands(language: str, attributes: str) -> list[str]:
    bodies = [body for kind, given, body in BLOCKS if (kind, given) == (language, attributes)]
    assert bodies, f"the README has no {language} {attributes} block"
    return [line for body in bodies for line in body.splitlines() if line.strip()]


def is_installation(line: str) -> bool:
    return line.startswith(("make ", "source .venv"))


@pytest.mark.long
def test_files_that_the_readme_shows_are_written(workplace: Path):
    for _, attributes, body in BLOCKS:
        if name := re.search(r"file=(\S+)", attributes):
            (workplace / name[1]).write_text(body)
    assert (workplace / "my.yaml").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "line",
    [
        pytest.param(c, marks=[pytest.mark.slow] * any(words in c for words in SLOW), id=c)
        for c in commands("sh", "")
        if not is_installation(c)
    ],
)
def test_command_of_the_readme_succeeds(line: str, environment, workplace: Path, forks: Forks):
    words = line.split()
    plain = words[0] == "paceline" and words[1] not in FRESH and not TO_A_SHELL & set(line)
    done = forks.run(line) if plain else shell(line, environment, workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout or line.startswith("source")  # which only defines a function


@pytest.mark.parametrize(
    "line", [c for a in ("", "background") for c in commands("sh", a) if c.startswith("make ")]
)
def test_target_of_the_readme_is_in_the_makefile(line: str):
    done = subprocess.run(
        [*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert ".venv/bin/" in done.stdout


@pytest.mark.long
def test_program_of_the_readme_runs(environment, workplace: Path):
    bodies = [b for kind, given, b in BLOCKS if kind == "python" and not given]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(bodies)],
        cwd=workplace,
        env=environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "learning_rate" in done.stdout


@pytest.mark.long
def test_console_blocks_show_what_is_printed(environment, workplace: Path):
    shown = [body for kind, _, body in BLOCKS if kind == "console"]
    assert shown
    for body in shown:
        command, _, expected = body.partition("\n")
        done = shell(command.removeprefix("$ ") + " || true", environment, workplace)
        assert (done.stdout + done.stderr).strip() == expected.strip()


def test_space_of_the_readme_is_one_that_a_recipe_takes():
    from paceline.platform.configuration.config import load
    from paceline.tuning.search.space import read_space

    bodies = [body for kind, given, body in BLOCKS if kind == "yaml" and not given]
    for body in bodies:
        sweep = yaml.safe_load(body)["sweep"]
        config = load("mlp", {"sweep.space": (sweep["space"], "README")})
        assert len(read_space(config.sweep.space, config.resolved).knobs) == len(sweep["space"])


@pytest.mark.long
def test_page_of_the_ui_command_answers(environment, workplace: Path):
    port = free_port()
    command = [str(Path(sys.executable).with_name("paceline")), "ui", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, cwd=workplace, stderr=subprocess.DEVNULL)
    try:
        assert answers(f"http://127.0.0.1:{port}/health", timeout_s=90)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 130


def answers(url: str, timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            time.sleep(0.5)
    return False


def test_tables_of_the_readme_name_every_recipe():
    from paceline.platform.catalog import entries

    text = (ROOT / "README.md").read_text()
    ours = [name for name, entry in entries("recipes").items() if entry.package == "paceline"]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [name for name in ours if not any(f"`{name}`" in row for row in rows)] == []
