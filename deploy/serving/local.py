"""A model answered in this process, by MLflow's own scoring server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .door import App
from .scorer import Scorer

TIMEOUT_S = 60  # that one request may compute, MLflow's default
_NOT_READ = "The request must be JSON that can be read, but is nested too deep or has huge numbers."


def local_app(folder: Path) -> App:
    """MLflow's scoring server over a saved model.

    Args:
        folder: A saved MLflow model.

    Raises:
        UserError: It is not an exported graph.
    """
    from fastapi.responses import JSONResponse
    from mlflow.pyfunc import scoring_server

    os.environ.setdefault("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", str(TIMEOUT_S))
    model: Any = Scorer(folder)
    app = scoring_server.init(model)

    async def not_read(request: Any, error: Exception) -> JSONResponse:
        return JSONResponse({"error_code": "BAD_REQUEST", "message": _NOT_READ}, 400)

    for kind in (RecursionError, ValueError):  # what Python's JSON raises beside its own errors
        app.add_exception_handler(kind, not_read)
    return app


def answer(model: Any, body: bytes, content_type: str) -> tuple[int, bytes, str]:
    """What MLflow's scoring server answers to one request, without a server.

    Args:
        model: A `Scorer`.
        body: The request's body.
        content_type: Its kind.

    Returns:
        HTTP status, body and content type.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

    try:
        schema = model.metadata.get_input_schema()
        found = scoring_server.invocations(body, content_type, model, schema)
    except MlflowException as error:
        content = error.serialize_as_json().encode()
        return error.get_http_status_code(), content, "application/json"
    except (RecursionError, ValueError):
        told = {"error_code": "BAD_REQUEST", "message": _NOT_READ}
        return 400, json.dumps(told).encode(), "application/json"
    return found.status, found.response.encode(), found.mimetype
