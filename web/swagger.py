"""The page at `/docs`: Swagger UI over our schema, and the policy that lets exactly it run.

Its script and style come from one address of a public CDN and are held to their published
versions; where a browser cannot reach that, the page says so and links the schema.
"""

from __future__ import annotations

import base64
import hashlib
import re

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

_FILES = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.17.14/"
_AWAY = (
    "if (typeof SwaggerUIBundle === 'undefined') document.getElementById('swagger-ui').innerHTML = "
    "'<p>Swagger UI could not be loaded from cdn.jsdelivr.net. "
    'The schema itself is at <a href="/openapi.json">/openapi.json</a>.</p>\';'
)


def _page() -> str:
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Stock forecasting",
        swagger_js_url=f"{_FILES}swagger-ui-bundle.js",
        swagger_css_url=f"{_FILES}swagger-ui.css",
        swagger_favicon_url="data:,",
    )
    text = bytes(page.body).decode()
    return text.replace("</body>", f"<script>{_AWAY}</script>\n</body>")


def _policy(page: str) -> str:
    """Allows the CDN's two files and the scripts written in the page, known by their hashes."""
    inside = re.findall(r"<script>(.*?)</script>", page, re.S)
    digests = (hashlib.sha256(script.encode()).digest() for script in inside)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {_FILES} {hashes}; style-src {_FILES} 'unsafe-inline'; "
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
