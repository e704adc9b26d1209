"""Streams growing recordings to viewers over websockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
from collections import deque
from pathlib import Path
from typing import NamedTuple

from starlette.websockets import WebSocket, WebSocketDisconnect

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.format import CHUNK, ChunkHeader
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.view.recordings import Recordings

POLL = 0.25
"""Polling interval of a file, seconds."""

KEPT_CHUNKS = 8
"""Number of newest chunks kept for viewers; viewers that are further behind fetch chunks from the file."""

LARGEST_PIECE = 4 << 20
"""Maximum size of a chunk that is sent, bytes."""

MAX_ENTRIES = 10_000
"""Maximum number of chunks listed in one message."""

MAX_VIEWERS = 100
"""Maximum number of concurrent viewers. Each stalled viewer can hold one chunk."""

OFFSET = struct.Struct("<Q")
REFUSED = 1008
"""Close code of a rejected websocket."""


class Piece(NamedTuple):
    """A chunk, as a binary message."""

    offset: int
    """Offset in the file."""
    message: bytes
    """``OFFSET`` and the chunk, including its header."""


class Watch:
    """A watched recording; one poll serves all viewers."""

    def __init__(self, recordings: Recordings, path: Path) -> None:
        self.recordings, self.path = recordings, path
        self.viewers: set[asyncio.Event] = set()
        """For each viewer the event that wakes it."""
        self.replay: Replay | None = None
        self.entries, self.size = 0, 0
        """Number of chunks, and number of bytes, of the replay that are announced to viewers."""
        self.pieces: deque[Piece] = deque(maxlen=KEPT_CHUNKS)
        self.next = ""
        """Name of a newer recording of the same realm; empty if there is none."""
        self.error = ""

    async def run(self) -> None:
        """Polls until there are no viewers, or the file is damaged."""
        try:
            siblings = await asyncio.to_thread(self.recordings.siblings, self.path.name)
            while self.viewers and not self.error:
                pieces, upcoming = await asyncio.to_thread(self._look, siblings)
                self._publish(pieces, upcoming)
                await asyncio.sleep(POLL)
        finally:
            if self.replay is not None:
                self.replay.close()

    def _publish(self, pieces: list[Piece], upcoming: str) -> None:
        before = self.entries, self.size, self.next
        if self.replay is not None:
            self.entries, self.size = len(self.replay.chunks), self.replay.size
        self.pieces.extend(pieces)
        self.next = upcoming or self.next
        if self.error or before != (self.entries, self.size, self.next):
            for viewer in self.viewers:
                viewer.set()

    def _look(self, siblings: dict[str, int]) -> tuple[list[Piece], str]:
        """(newest chunks since the last poll, name of a recording that has appeared); sets ``error``."""
        try:
            if self.replay is None:
                self.replay = Replay(self.path, heats=False)
                self._inode = os.stat(self.path).st_ino
                return [], ""
            status = os.stat(self.path)
            if status.st_ino != self._inode or status.st_size < self.replay.size:
                raise ReplayError(f"{self.path} has been replaced; open it again.")
            before = self.replay.size
            self.replay.refresh()
            return self._pieces(before, self.replay.size), self._upcoming(siblings)
        except (ReplayError, OSError) as error:
            self.error = str(error).replace(str(self.path), self.path.name)
            return [], ""

    def _pieces(self, start: int, end: int) -> list[Piece]:
        """The last small chunks between two offsets."""
        if start == end:
            return []
        found: deque[Piece] = deque(maxlen=KEPT_CHUNKS)
        with open(self.path, "rb") as file:
            while start < end:
                file.seek(start)
                header = file.read(CHUNK.size)
                length = CHUNK.size + ChunkHeader(*CHUNK.unpack(header)).stored
                if length <= LARGEST_PIECE:
                    chunk = header + file.read(length - CHUNK.size)
                    found.append(Piece(start, OFFSET.pack(start) + chunk))
                start += length
        return list(found)

    def _upcoming(self, siblings: dict[str, int]) -> str:
        """The newest readable recording of the same realm that has appeared since; recorded as known."""
        found = ""
        now = self.recordings.siblings(self.path.name)
        for name in sorted(now.keys() - siblings.keys(), key=lambda name: now[name]):
            path = self.recordings.find(name)
            with contextlib.suppress(ReplayError):  # it may have no header yet
                if path is not None:
                    Replay(path, heats=False).close()
                    siblings[name] = now[name]
                    found = name
        return found


class Live:
    """The websocket ``/live?name=NAME``; see ``nmmo_gpu.view.server``."""

    def __init__(self, recordings: Recordings) -> None:
        self.recordings = recordings
        self.watches: dict[Path, Watch] = {}
        self._viewers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Serves one viewer until it disconnects."""
        await socket.accept()
        if self._viewers >= MAX_VIEWERS:
            await _refuse(socket, f"{MAX_VIEWERS} viewers are watching already; try again later.")
            return
        self._viewers += 1
        try:
            await self._serve(socket)
        finally:
            self._viewers -= 1

    async def _serve(self, socket: WebSocket) -> None:
        name = socket.query_params.get("name", "")
        path = await asyncio.to_thread(self.recordings.find, name)
        if path is None:
            await _refuse(socket, f"There is no recording {name!r}; choose one from the list.")
            return
        watch, woken = self._watch(path), asyncio.Event()
        watch.viewers.add(woken)
        woken.set()
        tasks = [asyncio.create_task(part) for part in (_send(socket, watch, woken), _listen(socket))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.viewers.discard(woken)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def _watch(self, path: Path) -> Watch:
        """The shared watch of a file; the caller registers itself before it yields to the event loop."""
        watch = self.watches.get(path)
        if watch is None or watch.error:
            watch = self.watches[path] = Watch(self.recordings, path)
            task = asyncio.create_task(self._run(watch))
            self._tasks.add(task)  # keeps a reference, so that it is not garbage collected
            task.add_done_callback(self._tasks.discard)
        return watch

    async def _run(self, watch: Watch) -> None:
        try:
            await watch.run()
        finally:
            if self.watches.get(watch.path) is watch:
                del self.watches[watch.path]


async def _send(socket: WebSocket, watch: Watch, woken: asyncio.Event) -> None:
    """Sends the updates that a viewer lacks, one message at a time, at the viewer's pace."""
    entries, size, sent, following = 0, 0, 0, ""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await woken.wait()
            if watch.replay is not None and (watch.entries > entries or watch.size > size):
                sent = sent or watch.size
                new = watch.replay.chunks[entries : min(watch.entries, entries + MAX_ENTRIES)]
                entries, size = entries + len(new), watch.size
                await socket.send_text(json.dumps({"type": "index", "entries": new, "size": size}))
            elif watch.next != following:
                following = watch.next
                await socket.send_text(json.dumps({"type": "next", "name": following}))
            elif piece := next((piece for piece in watch.pieces if piece.offset >= sent), None):
                sent = piece.offset + len(piece.message) - OFFSET.size
                await socket.send_bytes(piece.message)
            elif watch.error:
                await _refuse(socket, watch.error)
                return
            else:
                woken.clear()


async def _listen(socket: WebSocket) -> None:
    """Waits until the viewer disconnects; its messages are ignored."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _refuse(socket: WebSocket, message: str) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        await socket.send_text(json.dumps({"type": "error", "message": message}))
        await socket.close(REFUSED)
