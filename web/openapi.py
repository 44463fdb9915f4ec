"""What the published schema says of every route alike: keys, and refusals at the door."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

import schemas
from web.keys import OPEN_PATHS
from web.problems import may_answer

_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, where the service is configured to ask for keys",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key, for clients that cannot set Authorization",
    },
}
_REFUSALS = (400, 414, 429, 431, 503)  # a strange host, a long address, too often, too many


def complete(app: FastAPI) -> None:
    """Let an application's schema say who may ask and how the door refuses.

    Said here and not by a dependency of each route, which every request would pay for.
    """
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _completed(plain(), with_keys=bool(app.state.door.keys))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(schema: dict[str, Any], with_keys: bool) -> dict[str, Any]:
    schema["components"]["securitySchemes"] = _SCHEMES
    needed: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
    schema["security"] = needed if with_keys else [*needed, {}]
    for name, body in schema["components"]["schemas"].items():
        if "example" in body:  # FastAPI drops every null from it, and with it whole fields
            body["example"] = getattr(schemas, name).model_config["json_schema_extra"]["example"]
    for path, operations in schema["paths"].items():
        is_open = path in OPEN_PATHS
        for operation in operations.values():
            refusals = (*_REFUSALS, *(() if is_open else (401,)))
            refusals += (408, 413) if "requestBody" in operation else ()
            said = {str(status): row for status, row in may_answer(*refusals).items()}
            operation["responses"] = dict(sorted((said | operation["responses"]).items()))
            if is_open:
                operation["security"] = []
    return schema
