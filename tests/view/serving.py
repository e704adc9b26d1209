"""A server for tests, its clients, and recordings to serve."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import ODD
from websockets.sync.client import ClientConnection, connect

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.replay.columns import FrameLayout
from nmmo_gpu.replay.header import header
from nmmo_gpu.replay.writer import ReplayWriter
from nmmo_gpu.view import live, page, serve
from nmmo_gpu.view.server import application
from nmmo_gpu.world.reset import realm_maps

WORLD = EnvConfig(world=preset("chaos", **ODD, slots=6, populations=2), realms=1, seed=4, device="cpu")
INDEX = b"<!doctype html><title>Viewer</title>"


class Tape(ReplayWriter):
    """A recording of random frames."""

    def __init__(self, path: Path, realm: int = 0, config: EnvConfig = WORLD) -> None:
        self.layout = FrameLayout(config.world)
        self.tick = 2
        self._random = np.random.default_rng(5)
        super().__init__(path, header(config, realm, f"noise {realm}"), realm_maps(config)[0].numpy())

    def grow(self, ticks: int = 3) -> None:
        """Appends a chunk of frames."""
        self.frames(self.tick, self._random.integers(0, 256, (ticks, self.layout.bytes), np.uint8))
        self.tick += ticks

    def warm(self) -> None:
        """Appends a value map."""
        self.heat("value", np.zeros((3, 4), np.float32), self.tick, 0, 1, "nothing")


@dataclasses.dataclass
class Answer:
    """The response to a request."""

    status: int
    headers: dict[str, str]
    """Headers with names in lower case."""
    body: bytes

    def json(self) -> Any:
        """Parses the body."""
        return json.loads(self.body)


@dataclasses.dataclass
class Server:
    """A running server."""

    port: int

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Requests a path, which is sent as it is; ``_`` in the names of headers becomes ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.putrequest(method, path, skip_host="Host" in named, skip_accept_encoding=True)
            for name, value in named.items():
                connection.putheader(name, value)
            connection.endheaders()
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, names, reply.read())

    def watch(self, name: str, **more: Any) -> ClientConnection:
        """Opens a websocket that watches a recording."""
        more = {"max_size": None, "compression": None, "open_timeout": 60, "close_timeout": 1, **more}
        return connect(f"ws://127.0.0.1:{self.port}/live?name={name}", **more)


@contextlib.contextmanager
def served(path: Path, host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """Runs a server on a free port or on the given one."""
    server = serve._server(application(path, host))
    with serve._listening("127.0.0.1", port) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Server(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def built_page(tmp_path_factory, monkeypatch) -> Path:
    """Creates a page as if it had been built, and shortens the interval in which files are checked for
    growth."""
    folder: Path = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_bytes(INDEX)
    (folder / "assets").mkdir()
    (folder / "assets" / "index-B2x4.js").write_text("export {};")
    monkeypatch.setattr(page, "_FOLDER", folder)
    monkeypatch.setattr(live, "POLL", 0.02)
    return folder


class Viewer:
    """Watches a recording and stores the messages."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.entries: list[list[int]] = []
        self.size = 0
        self.chunks: dict[int, bytes] = {}
        self.next: list[str] = []
        self.error = ""

    def hear(self) -> None:
        """Waits for a message and stores it."""
        message = self.socket.recv(60)
        if isinstance(message, bytes):
            offset = int.from_bytes(message[:8], "little")
            assert offset not in self.chunks and offset + len(message) - 8 <= self.size
            self.chunks[offset] = message[8:]
            return
        content = json.loads(message)
        if content["type"] == "index":
            assert content["size"] > self.size, (content, self.size, self.entries)
            self.entries += content["entries"]
            self.size = content["size"]
        elif content["type"] == "next":
            self.next.append(content["name"])
        else:
            self.error = content["message"]

    def hear_until_size(self, size: int) -> None:
        """Waits until the file is known to have at least this size."""
        while self.size < size:
            self.hear()
