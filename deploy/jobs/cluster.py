"""A cluster that takes jobs: where it is, which token it wants, and what it answers.

Jobs go over HTTP to Ray's dashboard. The token travels in a header that is set here, so what Ray
reads from the environment at its import decides nothing, and a token is only ever shown to the
cluster that it belongs to.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from ...platform.errors import PacelineError, RunError, UserError, must
from ...platform.launch import ray_settings as ray_settings
from ...platform.tracking.store_check import innermost
from ..cluster_profile import Profile, read_profile

import ray  # isort: skip - after `ray_settings`
from ray.job_submission import JobSubmissionClient  # isort: skip

FLAG = "--address"
EXAMPLE = "--address http://host:8265, the address of Ray's dashboard"
VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
TIMEOUT_S = (5.0, 60.0)  # to connect, and between two bytes of an answer
RAYS_LOGGERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class JobCluster:
    """Where jobs go.

    Args:
        url: `http://host:port` of Ray's dashboard.
        token: What it wants to be shown; None: nothing.
        token_source: Where the token was found, for messages.
        profile: What this home knows of the cluster; None where it is another one.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    token_source: str = ""
    profile: Profile | None = None

    @property
    def is_here(self) -> bool:
        """Whether its address is this machine's own."""
        return urlsplit(self.url).hostname in LOOPBACK


def find_cluster(address: str | None) -> JobCluster:
    """The cluster that a flag names, else the environment, else this home's own.

    Args:
        address: What `--address` was given.

    Raises:
        UserError: There is none, its address is none of a dashboard's, or a token cannot be read.
    """
    profile = read_profile()
    given = [(address, FLAG), *((os.environ.get(name), name) for name in VARIABLES)]
    for text, where in given:
        # RAY_ADDRESS is the cluster's other address more often than not.
        if text and (where != "RAY_ADDRESS" or text.startswith("http")):
            return _at(_checked(text, where), profile)
    if profile is None:
        what = "`--address` must say which cluster takes the job, but is missing."
        raise UserError(what, FLAG, f"{EXAMPLE}, or start one here: paceline cluster up")
    return _at(_checked(profile.jobs_address, "profile.json"), profile)


def _checked(text: str, where: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text
        is_right = is_right and not parts.query and not parts.fragment and parts.port != 0
        has_secret = parts.username is not None or parts.password is not None
    except ValueError:
        is_right = has_secret = False
    if has_secret:
        what = f"`{where}` must be an address without credentials, but has some."
        raise UserError(what, where, "export RAY_AUTH_TOKEN_PATH=/file/with/the/token")
    if not is_right or text == "auto":
        raise UserError(must(where, "the http address of a Ray dashboard", text), where, EXAMPLE)
    return url.rstrip("/")


def _at(url: str, profile: Profile | None) -> JobCluster:
    if profile is not None and profile.jobs_address.rstrip("/") == url:
        return JobCluster(url, _read(profile.token_path), profile.token_path, profile)
    token, source = _token_of_the_environment()
    return JobCluster(url, token, source)


def _token_of_the_environment() -> tuple[str | None, str]:
    """The token that Ray's own commands would show, and where it was found."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token, "RAY_AUTH_TOKEN"
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return _read(path), path
    default = Path("~/.ray/auth_token").expanduser()
    if os.environ.get("RAY_AUTH_MODE") == "token" and default.exists():
        return _read(str(default)), str(default)
    return None, ""


def _read(path: str) -> str:
    try:
        token = Path(path).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        rule = "a file with the cluster's token that can be read"
        remedy = (
            "its cluster may be gone: unset RAY_AUTH_TOKEN_PATH, or name the file of one that runs"
        )
        raise UserError(must("RAY_AUTH_TOKEN_PATH", rule, path), str(error), remedy) from None
    if not token or not token.isprintable():
        what = "`RAY_AUTH_TOKEN_PATH` must name a file with one token, but there is none in it."
        raise UserError(what, path)
    return token


class Jobs(JobSubmissionClient):
    """Ray's client of jobs, whose every request ends in time and every refusal in one message.

    Args:
        cluster: Where it asks.

    Raises:
        UserError: Nobody answers there, somebody else does, or we are not let in.
    """

    def __init__(self, cluster: JobCluster):
        self.cluster = cluster
        headers = {"Authorization": f"Bearer {cluster.token}"} if cluster.token else {}
        self._check_who_answers(headers)
        for module in RAYS_LOGGERS:
            logging.getLogger(module).setLevel(logging.ERROR)
        # Ray's own constructor lets its environment variables win over an address that is given, so
        # that a token would be shown to another cluster. What it sets is set here.
        self._client_ray_version = self._server_ray_version = ray.__version__
        self._address, self._headers = cluster.url, headers
        self._cookies, self._default_metadata = None, {}
        self._verify = self._ssl_context = True  # aiohttp warns of None

    def _check_who_answers(self, headers: dict[str, str]) -> None:
        """Tell a Ray dashboard from any other server before anything is sent to it."""
        url = self.cluster.url
        try:
            answer = requests.get(
                f"{url}/api/version", headers=headers, timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.ConnectionError as error:
            port = urlsplit(url).port
            rule = f"a Ray dashboard that can be reached ({innermost(error)})"
            hint = "; 6379 is the port of the cluster itself" if port == 6379 else ""
            raise UserError(must(FLAG, rule, url), FLAG, EXAMPLE + hint) from None
        except requests.RequestException as error:
            rule = f"a Ray dashboard that answers ({type(error).__name__})"
            raise UserError(must(FLAG, rule, url), FLAG, EXAMPLE) from None
        if answer.status_code in (401, 403):
            raise self.refused(answer.status_code)
        try:
            is_ray = answer.status_code == 200 and bool(answer.json()["ray_version"])
        except (ValueError, KeyError, TypeError):
            is_ray = False
        if not is_ray:
            rule = f"a Ray dashboard, but another server answers there ({answer.status_code})"
            what = f"`{FLAG}` must be {rule}: {url}."
            raise UserError(what, FLAG, EXAMPLE)

    def refused(self, status: int) -> UserError:
        """What to tell of a cluster that does not let us in."""
        source, url = self.cluster.token_source, self.cluster.url
        if not source:
            rule = f"a cluster that lets us in without a token ({status})"
            remedy = "export RAY_AUTH_TOKEN_PATH=/file/with/its/token"
            return UserError(must(FLAG, rule, url), FLAG, remedy)
        rule = f"a cluster whose token is that of {source} ({status})"
        remedy = "export RAY_AUTH_TOKEN_PATH=/file/with/its/token, or RAY_AUTH_TOKEN"
        return UserError(must(FLAG, rule, url), source, remedy)

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As Ray's, with a time limit, and with our messages.

        Raises:
            RunError: The cluster does not answer any more.
        """
        options = {"timeout": TIMEOUT_S, **options}
        json_data = options.pop("json_data", None)
        try:
            answer = requests.request(
                method,
                self._address + endpoint,
                json=json_data,
                headers=self._headers,
                allow_redirects=False,
                **options,
            )
        except requests.RequestException as error:
            raise lost(self.cluster.url, innermost(error)) from None
        if answer.status_code in (401, 403):
            raise self.refused(answer.status_code)
        return answer


def lost(url: str, reason: str) -> RunError:
    """What to tell of a cluster that stopped to answer."""
    return RunError(
        f"The cluster must answer at {url}, but does not.",
        reason,
        "see whether its head lives; jobs that ran may go on, or have ended with it",
    )


def asked(call: Any, *arguments: Any) -> Any:
    """What a call of Ray's client answers, its own errors as one message.

    Raises:
        RunError: The cluster refused.
    """
    try:
        return call(*arguments)
    except PacelineError:
        raise
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()] or ["?"]
        raise RunError("The cluster refused the request.", lines[-1][:500]) from error
