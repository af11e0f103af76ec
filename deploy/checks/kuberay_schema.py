"""What KubeRay (ray.io/v1) has and demands of RayCluster and RayJob, of what we use of it.

Pod templates are left open here; Kubernetes' own schema is asked for them.
"""

from __future__ import annotations

from typing import Any


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _kind(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    version, kind = {"const": "ray.io/v1"}, {"const": name}
    metadata = _object(
        {"name": {"type": "string"}, "namespace": {"type": "string"}, "labels": _STRINGS}
    )
    return _object({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})


_COUNT = {"type": "integer", "minimum": 0}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_TEMPLATE = {"type": "object", "required": ["spec"]}
# The operator turns these into flags of `ray start`; all are texts there.
_HEAD_FLAGS = _object({"dashboard-host": {"const": "0.0.0.0"}, "num-cpus": {"const": "0"}})
_HEAD = _object(
    {"rayStartParams": _HEAD_FLAGS, "template": _TEMPLATE, "serviceType": {"const": "ClusterIP"}}
)
_GROUP = _object(
    {
        "groupName": {"type": "string", "pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$"},
        "replicas": {"type": "integer", "minimum": 1},
        "minReplicas": _COUNT,
        "maxReplicas": _COUNT,
        "rayStartParams": _STRINGS,
        "template": _TEMPLATE,
    }
)
_CLUSTER = _object(
    {
        "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "authOptions": _object(
            {"mode": {"const": "token"}, "secretName": {"type": "string", "minLength": 1}}
        ),
        "headGroupSpec": _HEAD,
        "workerGroupSpecs": {"type": "array", "minItems": 1, "items": _GROUP},
        "enableInTreeAutoscaling": {"const": False},
    }
)
RAY_CLUSTER = _kind("RayCluster", _CLUSTER)
RAY_JOB = _kind(
    "RayJob",
    _object(
        {
            "entrypoint": {"type": "string", "minLength": 1},
            "rayClusterSpec": _CLUSTER,
            "submitterPodTemplate": _TEMPLATE,
            "submissionMode": {"enum": ["K8sJobMode"]},
            "shutdownAfterJobFinishes": {"const": True},
            "ttlSecondsAfterFinished": _COUNT,
            "backoffLimit": _COUNT,
        }
    ),
)
