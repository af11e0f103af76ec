"""What is sent with a job: the files of a folder, all but those that have no business elsewhere.

Left out are what `.gitignore` and `.rayignore` name, as Ray reads them, and always: version
control, virtual environments, caches, files that hold secrets, and links that lead out of the
folder. Folders of data, builds and runs stay at home too: a cluster has storage for those.
"""

from __future__ import annotations

import fnmatch
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...platform.errors import UserError
from ...platform.launch import ray_settings as ray_settings

from ray._private.runtime_env.packaging import get_excludes_from_ignore_files  # isort: skip

MIB = 1 << 20
MAX_BYTES = 95 * MIB  # Ray's dashboard takes requests of at most 100 MiB
NEVER = (
    *(".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__", "*.pyc", "*.egg-info"),
    *(".pytest_cache", ".ruff_cache", ".mypy_cache", ".ipynb_checkpoints", ".tox", ".nox"),
    *("mlruns", "mlartifacts", "mlflow.db*", ".DS_Store"),
)
SECRETS = (
    *(".env", ".env.*", "*.env", ".token", "*.token", "*.pem", "*.key", "*.p12", "*.pfx"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", ".pgpass", ".pypirc"),
    *(".git-credentials", "credentials", "credentials.json", ".aws", ".ssh", ".kube", ".gnupg"),
)
STAYS_HOME = ("data", "build", "dist", "runs")  # unless it is a package of Python
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal files make equal archives, which are uploaded once


@dataclass
class Cargo:
    """The files that are sent.

    Args:
        folder: Where they lie.
        files: Path below the folder -> size in bytes.
        left_out: Path below the folder -> why it stays here.
    """

    folder: Path
    files: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Size of all files together."""
        return sum(self.files.values())

    def described(self) -> str:
        """What is sent and what is not, in one line."""
        text = f"{len(self.files)} file(s), {_size(self.num_bytes)}, of {self.folder}"
        told = [name for name, why in self.left_out.items() if why != "ignored"]
        shown = ", ".join(told[:8]) + (f" and {len(told) - 8} more" if len(told) > 8 else "")
        return text + (f"; left out: {shown}" if told else "")

    def write(self, path: Path) -> None:
        """Pack them into an archive, the same one each time.

        Raises:
            UserError: A file cannot be read.
        """
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
            for name in sorted(self.files):
                source = self.folder / name
                try:
                    mode = 0o755 if os.access(source, os.X_OK) else 0o644
                    pack(archive, name, source.read_bytes(), mode)
                except OSError as error:
                    what = f"`{name}` must be a file that can be read, but is not."
                    remedy = "name it in .rayignore, or --exclude it"
                    raise UserError(what, f"{source}: {error.strerror}", remedy) from None


def pack(archive: zipfile.ZipFile, name: str, data: bytes, mode: int = 0o644) -> None:
    """Put one file into an archive, without the time that it has here."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o100000 | mode) << 16
    archive.writestr(entry, data)


def load_cargo(
    folder: Path,
    excludes: Iterable[str] = (),
    *,
    keeps_data: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Cargo:
    """The files of a folder that are sent.

    Args:
        folder: The folder.
        excludes: More patterns to leave out, of a name or of a path below the folder.
        keeps_data: Whether folders of data and builds are sent too.
        max_bytes: How much may be sent.

    Raises:
        UserError: It is no folder that can be read, or too large; the largest parts are named.
    """
    if not folder.is_dir():
        what = f"`--working-dir` must be a folder, but is {str(folder)!r}."
        raise UserError(what, "--working-dir")
    cargo = Cargo(folder.resolve())
    _Walk(cargo, tuple(excludes), keeps_data).walk(cargo.folder, [])
    if cargo.num_bytes > max_bytes:
        raise _too_large(cargo, max_bytes)
    return cargo


class _Walk:
    def __init__(self, cargo: Cargo, excludes: tuple[str, ...], keeps_data: bool):
        self.cargo, self.excludes, self.keeps_data = cargo, excludes, keeps_data
        self.home = Path(os.environ.get("PACELINE_HOME") or "~/.paceline").expanduser().resolve()

    def walk(self, folder: Path, ignores: list[Callable[[Path], bool]]) -> None:
        ignores = [*ignores, *get_excludes_from_ignore_files(folder, include_gitignore=True)]
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            what = f"`{folder}` must be a folder that can be read, but is not."
            raise UserError(what, str(error.strerror), "name it in .rayignore") from None
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(self.cargo.folder).as_posix()
            if reason := self._reason(entry, path, name, ignores):
                self.cargo.left_out[name] = reason
            elif entry.is_dir():
                self.walk(path, ignores)
            elif entry.is_file():
                self.cargo.files[name] = entry.stat().st_size

    def _reason(
        self, entry: os.DirEntry[str], path: Path, name: str, ignores: list[Callable[[Path], bool]]
    ) -> str:
        """Why it is left out; empty: it is not."""
        if matches(entry.name, SECRETS):
            return "may hold a secret"
        if matches(entry.name, NEVER):
            return "never sent"
        if matches(entry.name, self.excludes) or matches(name, self.excludes):
            return "excluded"
        if any(ignored(path) for ignored in ignores):
            return "ignored"
        if entry.is_symlink():
            target = path.resolve()
            is_inside = target.is_relative_to(self.cargo.folder) and target.is_file()
            hidden = any(matches(part, (*SECRETS, *NEVER)) for part in target.parts)
            return "" if is_inside and not hidden else "a link"
        if entry.is_dir():
            return self._reason_of_folder(path)
        return ""

    def _reason_of_folder(self, path: Path) -> str:
        if path == self.home:
            return "Paceline's own state"
        if (path / "pyvenv.cfg").exists():
            return "a virtual environment"
        is_left = path.name in STAYS_HOME and not self.keeps_data
        if is_left and not (path / "__init__.py").exists():
            return "stays here"
        return ""


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns, in which `*` stands for anything."""
    return any(fnmatch.fnmatchcase(name, pattern.rstrip("/")) for pattern in patterns)


def _too_large(cargo: Cargo, max_bytes: int) -> UserError:
    parts: Counter[str] = Counter()
    largest: dict[str, str] = {}
    for name, size in cargo.files.items():
        top, slash, _ = name.partition("/")
        parts[top + slash] += size
        if size > cargo.files.get(largest.get(top + slash, ""), -1):
            largest[top + slash] = name
    lines = []
    for part, size in parts.most_common(4):
        inner = largest[part]
        more = f" ({inner}: {_size(cargo.files[inner])})" if part != inner else ""
        lines.append(f"  {part}: {_size(size)}{more}")
    what = (
        f"`--working-dir` must hold at most {_size(max_bytes)} to be sent, "
        f"but holds {_size(cargo.num_bytes)}:\n" + "\n".join(lines)
    )
    remedy = "name what the job does not need in .rayignore or --exclude; data go to --storage"
    return UserError(what, str(cargo.folder), remedy)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / MIB:.1f} MiB" if num_bytes >= MIB // 10 else f"{num_bytes} bytes"
