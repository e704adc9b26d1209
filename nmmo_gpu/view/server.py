"""The viewer's server: the page, recordings, and live updates of recordings.

- ``GET /`` and ``/assets/``: the page.
- ``GET /api/recordings``: JSON, see ``Recordings.listed``.
- ``GET /recordings/NAME``: the file, or parts of it (``Range``).
- ``GET /api/value?name=NAME&population=P``: the value map of the run's newest checkpoint on the recording's
  map, as the payload of a ``HEAT`` chunk (docs/replay-format.md); ``P`` -1: the mean over all populations.
- ``WS /live?name=NAME``: the growth of a recording.
  - ``{"type": "index", "entries": [[offset, length, first tick, ticks], ...], "size": bytes}``: chunks of
    frames, first all existing ones and then new ones; the file can be fetched up to ``size``. Chunks of other
    types are located between the listed ones.
  - binary: 8 bytes little-endian offset, then a chunk of any type, including its header, that was appended
    after the connection was opened. Large chunks, and chunks for which the viewer is too slow, are skipped.
  - ``{"type": "next", "name": NAME}``: a newer recording of the same realm has appeared.
  - ``{"type": "error", "message": TEXT}``, and the connection is closed.

Errors are plain text."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from nmmo_gpu.errors import NmmoError
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.view import page
from nmmo_gpu.view.guard import Guard
from nmmo_gpu.view.live import Live
from nmmo_gpu.view.recordings import Recordings
from nmmo_gpu.view.values import Values


def application(path: Path, host: str = "127.0.0.1", sword: type[Sword] = Sword) -> Starlette:
    """Returns the server's application.

    Args:
        path: as for ``Recordings``.
        host: the host that it is bound to.
        sword: as for ``Values``.

    Raises UsageError if there are no recordings, or if the page is not built; ReplayError for a file that is
    not a recording."""
    recordings = Recordings(path)
    values = Values(recordings.checkpoint, sword)
    found = page.folder()

    async def listed(request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(recordings.listed))

    async def recording(request: Request) -> Response:
        return _File(await _find(recordings, request.path_params["name"]))

    async def value(request: Request) -> Response:
        file = await _find(recordings, request.query_params.get("name", ""))
        try:
            population = int(request.query_params.get("population", "-1"))
        except ValueError:
            raise HTTPException(
                400, "population is not a number; give 0, 1, 2 ..., or -1 for the mean."
            ) from None
        try:
            payload = await values.payload(file, population)
        except NmmoError as error:
            raise HTTPException(404, str(error)) from error
        return Response(payload, media_type="application/octet-stream")

    return Starlette(
        routes=[
            Route("/api/recordings", listed),
            Route("/api/value", value),
            Route("/recordings/{name:path}", recording),
            WebSocketRoute("/live", Live(recordings).serve),
            Mount("/", StaticFiles(directory=found, html=True)),
        ],
        middleware=[Middleware(Guard, host=host)],
        exception_handlers={HTTPException: _explain},
    )


async def _find(recordings: Recordings, name: str) -> Path:
    path = await asyncio.to_thread(recordings.find, name)
    if path is None:
        raise HTTPException(404, f"There is no recording {name!r}; choose one from /api/recordings.")
    return path


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, error.status_code, error.headers)


class _File(FileResponse):
    """A file that may grow while it is sent; data appended after its length was determined is not sent."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, media_type="application/octet-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left, ended = 0, False

        async def sending(message: Message) -> None:
            nonlocal left, ended
            if message["type"] == "http.response.start":
                left = int(dict(message["headers"])[b"content-length"])
            elif ended:
                return
            elif scope["method"] != "HEAD":
                body = message.get("body", b"")[:left]
                left -= len(body)
                ended = left == 0
                message = {**message, "body": body, "more_body": not ended and message["more_body"]}
            await send(message)

        await super().__call__(scope, receive, sending)
