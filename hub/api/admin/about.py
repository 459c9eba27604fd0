"""The OpenAPI document, and a page that shows it without a script or anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from typing import Any

import orjson
from aiohttp import web

from hub.api.admin.call import Call
from hub.api.admin.openapi import document
from hub.api.admin.problem import TITLES
from hub.api.admin.route import PREFIX, PUBLIC, TABLE, Route
from hub.errors import HTTP_STATUS, Code

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}code,pre{font:14px/1.45 ui-monospace,monospace}
pre{background:#f6f8fa;padding:.75rem;overflow-x:auto}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #eaeef2}
summary{cursor:pointer;padding:.3rem 0}summary b{display:inline-block;min-width:4.5rem}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}pre{background:#161b22}a{color:#7ab7ff}
h2,td,th{border-color:#30363d}}
"""
_POLICY = "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}


@cache
def _document(routes: tuple[Route, ...]) -> bytes:
    return orjson.dumps(document(routes), option=orjson.OPT_INDENT_2)


async def openapi(call: Call) -> web.Response:
    """This API as an OpenAPI 3.1 document."""
    return web.Response(body=_document(call.request.app[TABLE]), content_type="application/json", headers=_HEADERS)


async def docs(call: Call) -> web.Response:
    """This API as a page to read."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY.format(digest)}
    return web.Response(text=page(call.request.app[TABLE]), content_type="text/html", headers=headers)


@cache
def page(routes: tuple[Route, ...]) -> str:
    """The page."""
    shown: dict[str, Any] = orjson.loads(_document(routes))
    schemas = shown["components"]["schemas"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(shown['info']['title'])}</title>",
        f'<meta name=viewport content="width=device-width"><style>{_STYLE}</style>',
        f"<h1>{escape(shown['info']['title'])}</h1><p>{_text(shown['info']['description'])}</p>",
        "<p>Send <code>Authorization: Bearer rh_ad_…</code>.</p>",
        f'<p>The same as a document: <a href="{PREFIX}/openapi.json">{PREFIX}/openapi.json</a>.</p>',
    ]
    for tag in shown["tags"]:
        parts.append(f"<h2 id={escape(tag['name'])}>{escape(tag['name'])}</h2>")
        for path, methods in shown["paths"].items():
            parts += [_operation(path, m, o) for m, o in methods.items() if tag["name"] in o["tags"]]
    parts.append("<h2 id=errors>errors</h2><table><tr><th>code<th>status<th>meaning")
    parts += [
        f"<tr id={code.value}><td><code>{code.value}</code><td>{HTTP_STATUS.get(code, 500)}<td>{escape(title)}"
        for code, title in TITLES.items()
    ]
    parts.append("</table><h2 id=shapes>shapes</h2>")
    parts += [
        f'<details id="shape-{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>'
        for name, schema in sorted(schemas.items())
    ]
    return "\n".join(parts) + "</html>\n"


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    roles = ", ".join(operation["x-roles"]) or "no token"
    rows = [
        f"<tr><td><code>{escape(p['name'])}</code><td>{p['in']}<td>{_text(p['schema'].get('description', ''))}"
        for p in operation.get("parameters", ())
    ]
    table = f"<table><tr><th>parameter<th>in<th>meaning{''.join(rows)}</table>" if rows else ""
    body = _content("body", operation.get("requestBody", {}))
    answers = "".join(_content(status, answer) for status, answer in operation["responses"].items())
    name, summary = escape(operation["operationId"]), escape(operation["summary"])
    return (
        f'<details id="{name}"><summary><b>{method.upper()}</b> <code>{escape(path)}</code> '
        f"{summary}</summary><p>{_text(operation['description'])} <i>For: {roles}.</i></p>"
        f"{table}<table>{body}{answers}</table></details>"
    )


def _content(name: str, part: dict[str, Any]) -> str:
    if "$ref" in part:
        code = Code(part["$ref"].rpartition("/")[2])
        return f'<tr><td>{name}<td><a href="#{code.value}"><code>{code.value}</code></a>'
    if not part:
        return ""
    shapes = []
    for media, content in part.get("content", {}).items():
        target = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        link = f' <a href="#shape-{escape(target)}"><code>{escape(target)}</code></a>' if target else ""
        shapes.append(f"<code>{escape(media)}</code>{link}")
    return f"<tr><td>{name}<td>{_text(part.get('description', ''))} {', '.join(shapes)}"


def _json(schema: object) -> str:
    return f"<pre>{escape(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode())}</pre>"


def _text(markdown: str) -> str:
    """Escaped text; words in backticks become code."""
    parts = escape(markdown).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


ROUTES = (
    Route("GET", "/openapi.json", openapi, "This API as an OpenAPI document", roles=PUBLIC),
    Route("GET", "/docs", docs, "This API as a page", roles=PUBLIC, media="text/html"),
)
