"""The image of Ray's nodes and of the MLflow server: the wheel, at the constraints' versions.

Its account is no root. What it writes to belongs to the group 0 too, so that the container runs
under any account of that group: Ray's launcher takes the one that owns the files it brings.
"""

from __future__ import annotations

from .. import versions
from ..values import ClusterValues
from .parts import HOME, USER_ID, WORK

_DOCKERFILE = """\
# Ray's nodes and the MLflow server of the cluster {name}.
# Put the wheel beside this file, then build:
#   pip wheel --no-deps --wheel-dir . paceline=={version}
#   docker build --tag {image} .
# Without GPUs the image is much smaller with torch's builds for CPUs:
#   docker build --tag {image} \\
#     --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu .
FROM {python_image} AS build
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt {wheel} /wheels/
RUN python -m venv /opt/paceline \\
    && /opt/paceline/bin/pip install -c /wheels/constraints.txt "/wheels/{wheel}[cluster]"

FROM {python_image}
# KubeRay asks for a node's health with wget, Ray's launcher copies files with rsync.
# hadolint ignore=DL3008
RUN apt-get update \\
    && apt-get install --no-install-recommends --yes rsync wget \\
    && rm -rf /var/lib/apt/lists/* \\
    && useradd --uid {user} --gid 0 --create-home paceline \\
    && install --directory --owner={user} --group=0 --mode=775 {home} {work}
COPY --from=build /opt/paceline /opt/paceline
ENV PATH=/opt/paceline/bin:$PATH \\
    HOME={home} \\
    USER=paceline \\
    PACELINE_HOME={work} \\
    RAY_TMPDIR={work} \\
    RAY_AUTH_MODE=token \\
    RAY_USAGE_STATS_ENABLED=0 \\
    MPLCONFIGDIR=/tmp/matplotlib \\
    NVIDIA_VISIBLE_DEVICES=all \\
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \\
    PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONUNBUFFERED=1
WORKDIR {work}
USER {user}:0
CMD ["paceline", "--help"]
"""


def image_files(values: ClusterValues) -> dict[str, str]:
    """What `docker build` wants beside the wheel; nothing else gets into its context."""
    wheel = versions.wheel()
    return {
        "Dockerfile": _DOCKERFILE.format(
            name=values.name,
            version=versions.paceline(),
            image=values.image,
            python_image=values.python_image,
            wheel=wheel,
            user=USER_ID,
            work=WORK,
            home=HOME,
        ),
        ".dockerignore": f"*\n!constraints.txt\n!{wheel}\n",
        "constraints.txt": versions.constraints(),
    }
