"""The page at `/docs`: Swagger UI over our schema, and the policy that lets exactly it run.

Its script and style are files of the package `fastapi-offline`, served from here: a browser that
reads the page asks nobody else. Nothing of that package is imported.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, HTTPException
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

_PACKAGE = "fastapi_offline"
SCRIPT, STYLE = "swagger-ui-bundle.js", "swagger-ui.css"
FRESH = "public, max-age=86400"  # the files change with the installed version only
_ABSENT = (
    "if (typeof SwaggerUIBundle === 'undefined') document.getElementById('swagger-ui').innerHTML = "
    "'<p>Swagger UI could not be loaded. "
    'The schema itself is at <a href="/openapi.json">/openapi.json</a>.</p>\';'
)


def files() -> Path | None:
    """The folder with Swagger UI's two files; None where the package is not installed."""
    found = find_spec(_PACKAGE)
    return Path(found.origin).parent / "static" if found and found.origin else None


def _page() -> str:
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Stock forecasting",
        swagger_js_url=f"/docs/{SCRIPT}",
        swagger_css_url=f"/docs/{STYLE}",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},  # would send the schema to a public service
    )
    text = bytes(page.body).decode()
    return text.replace("</body>", f"<script>{_ABSENT}</script>\n</body>")


def _policy(page: str) -> str:
    """Allows scripts that come from here and those written in the page, known by their hashes."""
    inside = re.findall(r"<script>(.*?)</script>", page, re.S)
    digests = (hashlib.sha256(script.encode()).digest() for script in inside)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src data:; font-src data:; connect-src 'self'; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'"
    )


PAGE = _page()
DOCS_POLICY = _policy(PAGE)
router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """The schema as a page to try it on."""
    return HTMLResponse(PAGE)


@router.get("/docs/{name}", include_in_schema=False)
def file(name: Literal["swagger-ui-bundle.js", "swagger-ui.css"]) -> FileResponse:
    """One of Swagger UI's two files; 404 where its package is not installed."""
    if (folder := files()) is None:
        raise HTTPException(404)
    return FileResponse(folder / name, headers={"cache-control": FRESH})
