"""An object store's address: `s3://bucket/prefix`, as plain data that any process can open.

Credentials are never part of it. Each machine has its own, where the AWS tools look for them: the
environment, `~/.aws`, or the role of the machine.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import UserError, must

FLAG = "--storage"
EXAMPLE = "--storage s3://bucket/prefix"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_OPTIONS = ("endpoint_override", "region", "scheme")


@dataclass(frozen=True)
class Location:
    """A place in an object store.

    Args:
        bucket: Name of the bucket.
        prefix: What the keys begin with, without slashes at its ends; may be empty.
        endpoint: `http://host:port` of a store that is not AWS's; empty: AWS's.
        region: The bucket's region; empty: looked up.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    @property
    def uri(self) -> str:
        """The address with all that is needed to open it elsewhere; `parse` takes it again."""
        options = {"endpoint_override": self.endpoint, "region": self.region}
        query = urlencode({name: value for name, value in options.items() if value})
        return self.plain_uri + (f"?{query}" if query else "")

    @property
    def plain_uri(self) -> str:
        """The address as every other tool takes it."""
        return f"s3://{self.path()}"

    def path(self, name: str = "") -> str:
        """Bucket and key of an object."""
        return "/".join(filter(None, [self.bucket, self.prefix, name]))

    def under(self, *names: str) -> Location:
        """A place below this one."""
        return replace(self, prefix="/".join(filter(None, [self.prefix, *names])))


def is_object_store(storage: str | None) -> bool:
    """Whether a storage is no folder."""
    return bool(storage) and "://" in str(storage)


def place_of(storage: str | None, *names: str) -> str | None:
    """The whole address of what has a name in a storage; None: the storage is a folder."""
    return parse(storage).under(*names).uri if storage and is_object_store(storage) else None


def parse(storage: str) -> Location:
    """Take an address apart; what it leaves open is taken from AWS's environment variables.

    Args:
        storage: `s3://bucket/prefix`, with `?endpoint_override=http://host:port`, `region` and
            `scheme` as options.

    Raises:
        UserError: It is none, or it has credentials in it, which are not repeated.
    """
    parts = urlsplit(storage)
    if parts.scheme != "s3":
        kind = f"{parts.scheme}://..."
        remedy = f"--storage {parts.path}" if parts.scheme == "file" else EXAMPLE
        raise UserError(must(FLAG, "a folder, or s3://bucket/prefix", kind), FLAG, remedy)
    if "@" in parts.netloc:
        what = f"`{FLAG}` must be an address without credentials, but has some."
        remedy = "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on every node, or use ~/.aws"
        raise UserError(what, FLAG, remedy)
    prefix = parts.path.strip("/")
    is_plain = not prefix or all(part not in ("", ".", "..") for part in prefix.split("/"))
    if not _BUCKET.fullmatch(parts.netloc) or not is_plain or parts.fragment:
        raise UserError(must(FLAG, "s3://bucket/prefix", storage), FLAG, EXAMPLE)
    options = _options(parts.query)
    return Location(parts.netloc, prefix, _endpoint(options), _region(options))


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query))
    for name in options.keys() - set(_OPTIONS):
        rule = f"an address whose options are of {', '.join(_OPTIONS)}"
        raise UserError(must(FLAG, rule, f"one with {name}"), FLAG)
    return options


def _endpoint(options: dict[str, str]) -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    given = options.get("endpoint_override") or next(filter(None, map(os.environ.get, names)), "")
    if not given:
        return ""
    if "://" not in given:
        given = f"{options.get('scheme', 'https')}://{given}"
    parts = urlsplit(given)
    is_whole = parts.scheme in ("http", "https") and parts.hostname and not parts.path.strip("/")
    if not is_whole or "@" in parts.netloc or parts.query:
        what = "`endpoint_override` must be http://host:port without anything else, but is not."
        raise UserError(what, f"{FLAG}, AWS_ENDPOINT_URL")
    return f"{parts.scheme}://{parts.netloc}"


def _region(options: dict[str, str]) -> str:
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    return options.get("region") or next(filter(None, map(os.environ.get, names)), "")
