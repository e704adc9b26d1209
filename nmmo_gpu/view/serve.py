"""Serves the viewer until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import threading
import webbrowser
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from nmmo_gpu.errors import UsageError
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.view.connections import BACKLOG, BoundedServer, Connection
from nmmo_gpu.view.server import application

PORT = 8006
TRIED = 20
"""Number of ports to try, from ``PORT`` on, if no port is given."""


def serve(
    path: Path,
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = True,
    sword: type[Sword] = Sword,
) -> None:
    """Serves the viewer and prints its address; returns after Ctrl-C.

    Args:
        path: folder of a run or of recordings, or a ``.replay`` file.
        host: name or address to bind to.
        port: port to use; None for ``PORT`` or the next free port.
        open_browser: whether to open the page in a browser.
        sword: for value maps, as for ``nmmo_gpu.train.trained_policy.TrainedPolicy``.

    Raises UsageError if there are no recordings, if the page is not built, or if the port is taken."""
    app = application(path, host, sword)
    with _listener(host, port) as listener:
        bound, number = listener.getsockname()[:2]
        own = ipaddress.ip_address(bound.partition("%")[0])
        address = _address("localhost" if own.is_unspecified else host, number)
        print(f"The viewer is at {address} (press Ctrl-C to stop).", flush=True)
        if not own.is_loopback:
            print("Anyone who can reach this machine can watch; to prevent this, omit --host.", flush=True)
        if open_browser:  # terminal browsers block until they are closed
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            _server(app).run([listener])


def _server(app: Starlette) -> uvicorn.Server:
    # With log_level "warning", a client could fill the log with invalid requests.
    config = uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="off", ws_max_size=4096,
        ws_per_message_deflate=False, timeout_graceful_shutdown=1, server_header=False,
        loop="asyncio", http=Connection, backlog=BACKLOG,
    )  # fmt: skip
    return BoundedServer(config)


def _listener(host: str, port: int | None) -> socket.socket:
    """A socket that listens on the port, or on the first free port from ``PORT`` on."""
    for tried in range(PORT, PORT + TRIED) if port is None else (port,):
        try:
            listener = _listening(host, tried)
        except (OSError, OverflowError) as error:
            if port is None and isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                continue
            reason = error.strerror if isinstance(error, OSError) else "ports range from 0 to 65535"
            raise UsageError(
                f"Port {tried} of {host} cannot be used ({reason}); choose another --port or --host."
            ) from error
        if port is None and tried != PORT:
            print(f"Port {PORT} is taken; using {tried} instead.", flush=True)
        return listener
    raise UsageError(f"Ports {PORT} to {PORT + TRIED - 1} of {host} are taken; choose another with --port.")


def _listening(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    # asyncio sets TCP_NODELAY only if the protocol is given as TCP.
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address[0], port, *address[2:]))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
