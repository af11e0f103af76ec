"""An object store as far as runs need it: whole objects put, got, measured, listed and deleted.

The one door to Arrow's file systems, and two traps behind it. Whatever ends an upload early, an
exception too, completes what was sent as an object of that name: so nobody may believe an object
for its name alone. And a deletion is followed by the making of an empty object that stands for the
folder, which is left as it is.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from ..errors import UserError, must
from ..tracking.redaction import redact
from .location import FLAG, Location

CONNECT_S = 5.0
SILENCE_S = 10.0  # without a byte for so long, a request has failed
ATTEMPTS = 2  # of one request, by the client itself
CHUNK = 1 << 22


@dataclass(frozen=True)
class Listed:
    """An object of a listing.

    Args:
        name: Its name below the store's location.
        size: Bytes.
        changed: When it was put.
    """

    name: str
    size: int
    changed: datetime


class ObjectStore:
    """The objects below a location; every method raises OSError when the store does not answer.

    Args:
        location: Where.
    """

    def __init__(self, location: Location):
        self.location = location

    def under(self, *names: str) -> ObjectStore:
        """The objects below a name."""
        return ObjectStore(self.location.under(*names))

    @functools.cached_property
    def _files(self) -> Any:
        return _file_system(self.location)

    def put(self, name: str, data: bytes) -> None:
        """Put a small object; nobody ever sees a part of it."""
        with self._written(name) as stream:
            stream.write(data)

    def put_file(self, name: str, file: BinaryIO, moved: Callable[[], object] = int) -> str:
        """Put a file's content, from its begin.

        Args:
            name: The object's name.
            file: An open file.
            moved: Called after each part.

        Returns:
            SHA-256 of what was put, in hex.
        """
        file.seek(0)
        hashed = hashlib.sha256()
        with self._written(name) as stream:
            while chunk := file.read(CHUNK):
                stream.write(chunk)
                hashed.update(chunk)
                moved()
        return hashed.hexdigest()

    @contextlib.contextmanager
    def _written(self, name: str) -> Iterator[Any]:
        """A new object, closed in any case: Arrow says what it fails to close on standard error."""
        stream = self._files.open_output_stream(self.location.path(name))
        try:
            yield stream
            stream.close()
        except BaseException:
            with contextlib.suppress(OSError):
                stream.close()
            raise

    def get(self, name: str, most: int = 1 << 28) -> bytes | None:
        """A small object's content; None: there is none.

        Args:
            name: The object's name.
            most: Bytes that it may have.
        """
        try:
            with self._files.open_input_stream(self.location.path(name)) as stream:
                data = stream.read(most + 1)
        except FileNotFoundError:
            return None
        if len(data) > most:
            raise OSError(f"{name} has over {most} bytes")
        return data

    def copy_to(self, name: str, write: Callable[[bytes], object]) -> None:
        """Hand an object's content on, a part at a time.

        Raises:
            FileNotFoundError: There is no such object.
        """
        with self._files.open_input_stream(self.location.path(name)) as stream:
            while chunk := self._read(name, stream):
                write(chunk)

    def _read(self, name: str, stream: Any) -> bytes:
        try:
            return stream.read(CHUNK)
        except OSError as error:  # Arrow has a word for an object that is gone at its opening only
            if self.size(name) is None:
                raise FileNotFoundError(name) from error
            raise

    def size(self, name: str) -> int | None:
        """An object's size in bytes; None: there is none."""
        return self._files.get_file_info(self.location.path(name)).size

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_file(self.location.path(name))

    def listed(self) -> list[Listed]:
        """The objects below the location."""
        from pyarrow.fs import FileSelector

        root = self.location.path()
        found = self._files.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
        return [
            Listed(info.path.removeprefix(f"{root}/"), info.size, info.mtime)
            for info in found
            if info.is_file
        ]


def _file_system(location: Location) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    scheme, _, host = location.endpoint.rpartition("://")
    region = location.region or ("us-east-1" if host else resolve_s3_region(location.bucket))
    return S3FileSystem(
        region=region,
        scheme=scheme or "https",
        endpoint_override=host or None,
        connect_timeout=CONNECT_S,
        request_timeout=SILENCE_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        # Beside the training, a file is not to be read faster than it is sent: it may be large.
        background_writes=False,
        allow_delayed_open=True,
    )


def told(error: OSError) -> str:
    """What a store said, in one line."""
    line = str(error).strip().partition("\n")[0].partition(" (Request ID")[0]
    return redact(line)


def unusable(location: Location, error: OSError) -> UserError:
    """The message for a store that cannot be used."""
    rule = "an object store that can be written and read"
    reason = told(error)
    remedy = "look at the bucket's name, AWS_ENDPOINT_URL and the credentials (AWS_ACCESS_KEY_ID)"
    return UserError(must(FLAG, rule, location.plain_uri), reason, remedy)
