"""Bounds on what clients can hold: the number of connections, and the time of each that does nothing.

uvicorn waits for a request as long as the client likes, and for a client that does not read its response.
"""

from __future__ import annotations

import asyncio
import errno
import sys
from typing import Any

import h11
from uvicorn import Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from nmmo_gpu.view.live import MAX_VIEWERS

REQUEST_TIMEOUT = 10.0
"""Maximum time between a connection, or its last response, and a complete request, seconds."""

STALL_TIMEOUT = 60.0
"""Maximum time in which a client reads nothing of its response, seconds."""

CHECK = 1.0
"""Interval in which connections are checked, seconds."""

MAX_CONNECTIONS = 256
"""Maximum number of connections without websockets; fewer if the process may open few files."""

BACKLOG = 16
"""Connections that are accepted at once, before the limit is applied and any of them is read."""

OTHER_FILES = 64
"""Open files besides connections: recordings, libraries."""


class Connection(H11Protocol):
    """A connection of a client. It is closed if no request is complete in time, or if its response is not
    read. If there are too many, the one that has waited longest for a request is closed, so that clients
    which send theirs are served."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Registers the connection, and closes another one if there are too many."""
        super().connection_made(transport)
        self._since = self._moved = self.loop.time()
        self._pending = 0
        self._timer = self.loop.call_later(CHECK, self._check)
        open_ones = [other for other in self.connections if isinstance(other, Connection)]
        if len(open_ones) > limit():
            waiting = [other for other in open_ones if other.waiting]  # includes this one
            min(waiting, key=lambda other: other._since).close_now()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the checks."""
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """From now on the connection waits for its next request."""
        self._since = self.loop.time()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """The client has read enough for the response to continue."""
        self._moved = self.loop.time()
        super().resume_writing()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hands over to the protocol of websockets, which finds out by itself whether the client is there."""
        self._timer.cancel()
        sockets = sum(not isinstance(other, Connection) for other in self.connections)
        if sockets >= 2 * MAX_VIEWERS:  # those beyond MAX_VIEWERS are closing
            self.close_now()
        else:
            super().handle_websocket_upgrade(event)

    @property
    def waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def close_now(self) -> None:
        """Closes the connection without waiting for the client."""
        self.connections.discard(self)
        self.transport.abort()

    def _check(self) -> None:
        now, pending = self.loop.time(), self.transport.get_write_buffer_size()
        if pending != self._pending:
            self._pending, self._moved = pending, now
        stalled = pending > 0 and now - self._moved > STALL_TIMEOUT
        idle = pending == 0 and self.waiting and now - self._since > REQUEST_TIMEOUT
        if stalled or idle:
            self.close_now()
        else:
            self._timer = self.loop.call_later(CHECK, self._check)


class BoundedServer(Server):
    """A server that does not log each connection that it cannot accept."""

    async def startup(self, sockets: Any = None) -> None:
        """Starts as usual."""
        asyncio.get_running_loop().set_exception_handler(_Log().handle)
        await super().startup(sockets)


class _Log:
    """Logs that no more files can be opened once, where asyncio would do so many times a second."""

    def __init__(self) -> None:
        self._logged = False

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
        elif not self._logged:
            self._logged = True
            print(
                "Some clients have to wait, because this process may not open more files; raise the limit "
                "with `ulimit -n`.",
                file=sys.stderr,
                flush=True,
            )


def limit() -> int:
    """The maximum number of connections without websockets."""
    try:
        import resource
    except ImportError:  # Windows
        return MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    # A download holds a connection and a file.
    return max(8, min(MAX_CONNECTIONS, (files - OTHER_FILES - BACKLOG - MAX_VIEWERS) // 2))
