"""Access control: only pages of this server, under this server's name."""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

POLICY = (
    "default-src 'self'; connect-src 'self' ws://{host} wss://{host}; img-src 'self' data: blob:; "
    "media-src 'self' blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-nmmo-gpu": "view",  # tells the page that this server lists recordings
}
_HOST = re.compile(r"(?:\[([^][]+)\]|([^][:;,\s]+))(?::\d+)?")
"""A Host header: an address in brackets or something else, and a port."""

KEPT = "public, max-age=31536000, immutable"
"""For files whose name contains a hash of their content."""


class Guard:
    """ASGI middleware that rejects foreign requests with 403, and adds security and cache headers.

    A page of another origin cannot read this server's responses, unless its own name is made to point here
    (DNS rebinding). Therefore requests must name the host that the server is bound to, localhost, or an
    address. Any page may open websockets, so the origin of websockets must be this server."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        """Wraps ``app``, which is bound to ``host``."""
        self.app, self.names = app, {host.lower(), "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        refusal = self._refusal(scope["type"], host, headers)
        if refusal and scope["type"] == "websocket":
            response = PlainTextResponse(refusal, 403)
            await WebSocket(scope, receive, send).send_denial_response(response)
        elif refusal:
            await PlainTextResponse(refusal, 403)(scope, receive, send)
        else:
            await self.app(scope, receive, _with_headers(send, scope["path"], host))

    def _refusal(self, type: str, host: str, headers: Headers) -> str:
        """The reason to reject a request; empty if it is accepted."""
        named = _HOST.fullmatch(host)
        name = (named[1] or named[2]) if named else host
        if named is None or (name not in self.names and not _is_address(name)):
            return (
                f"{name!r} is not the name of this server; use its address, or start it with --host and that "
                "name."
            )
        origin = headers.get("origin")
        if type == "websocket" and origin is not None and origin.lower().partition("://")[2] != host:
            return f"Pages of {origin!r} may not watch; open the viewer at this server's own address."
        return ""


def _with_headers(send: Send, path: str, host: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers["content-security-policy"] = POLICY.format(host=host)
            good = message["status"] in (200, 206, 304)
            headers["cache-control"] = KEPT if good and path.startswith("/assets/") else "no-store"
        await send(message)

    return sending


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
