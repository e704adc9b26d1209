"""Live recordings: every viewer is notified of every chunk once and in order, whatever others do."""

from __future__ import annotations

import contextlib
import json
import os
import time

import pytest
from view.serving import Tape, Viewer, served
from websockets.exceptions import ConnectionClosed, InvalidStatus

from nmmo_gpu.replay.format import CHUNK
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.view import live

NAME = "realm-0-2.replay"


def entries_of(path):
    """Returns the entries that a reader finds in the file."""
    with Replay(path) as replay:
        return [list(entry) for entry in replay.chunks]


def test_three_viewers_of_a_growing_file(tmp_path):
    """One joins late, one does not read, and one leaves. Each chunk, value maps included, is announced once
    and in order, and is sent as it is in the file."""
    path = tmp_path / NAME
    with Tape(path) as tape, served(tmp_path) as server:
        tape.grow()
        with server.watch(NAME) as first, server.watch(NAME, max_queue=1) as stalled:
            early = Viewer(first)
            early.hear()
            assert early.entries == entries_of(path) and early.size == tape.bytes
            begun = tape.bytes
            for _ in range(4):
                tape.grow()
            early.hear_until_size(tape.bytes)
            with server.watch(NAME) as leaving:
                Viewer(leaving).hear()
            with server.watch(NAME) as second:
                late = Viewer(second)
                late.hear()
                assert late.entries == entries_of(path)
                joined = tape.bytes
                for _ in range(3):
                    tape.grow()
                    early.hear_until_size(tape.bytes)
                    late.hear_until_size(tape.bytes)
                tape.warm()
                last = tape.bytes
                tape.grow()
                data = path.read_bytes()
                for viewer, start in ((early, begun), (late, joined)):
                    viewer.hear_until_size(tape.bytes)
                    while max(viewer.chunks, default=0) < last:
                        viewer.hear()
                    assert viewer.entries == entries_of(path)
                    assert b"".join(viewer.chunks.values()) == data[start:]
                    assert list(viewer.chunks) == sorted(viewer.chunks)
            quiet = Viewer(stalled)
            quiet.hear_until_size(tape.bytes)
            assert quiet.entries == entries_of(path)


def test_a_stalled_viewer_misses_chunks_but_not_the_index(tmp_path, monkeypatch):
    """When it reads again it gets the newest chunks; others are not kept for it. No other viewer misses
    any."""
    monkeypatch.setattr(live, "KEPT_CHUNKS", 2)
    path = tmp_path / NAME
    with Tape(path) as tape, served(tmp_path) as server:
        tape.grow()
        with server.watch(NAME) as reading, server.watch(NAME, max_queue=1) as stalled:
            viewer, slow = Viewer(reading), Viewer(stalled)
            viewer.hear()
            slow.hear()
            begun, grown = tape.bytes, 0
            while tape.bytes - begun < 40 << 20:  # more than sockets buffer
                tape.grow(1500)
                grown += 1
                viewer.hear_until_size(tape.bytes)
                while len(viewer.chunks) < grown:
                    viewer.hear()
            slow.hear_until_size(tape.bytes)
            newest = entries_of(path)[-1][0]
            while newest not in slow.chunks:
                slow.hear()
            assert slow.entries == viewer.entries == entries_of(path)
            assert b"".join(viewer.chunks.values()) == path.read_bytes()[begun:]
            assert len(slow.chunks) < len(viewer.chunks)
            assert all(viewer.chunks[offset] == chunk for offset, chunk in slow.chunks.items())


def test_large_chunks_are_not_sent(tmp_path, monkeypatch):
    """They are in the index."""
    monkeypatch.setattr(live, "LARGEST_PIECE", 3000)
    with Tape(tmp_path / NAME) as tape, served(tmp_path) as server, server.watch(NAME) as socket:
        viewer = Viewer(socket)
        viewer.hear()
        for ticks in (1, 40, 1):
            tape.grow(ticks)
            viewer.hear_until_size(tape.bytes)
        last = viewer.entries[-1][0]
        while last not in viewer.chunks:
            viewer.hear()
        assert [ticks for *_, ticks in viewer.entries] == [1, 40, 1]
        assert list(viewer.chunks) == [viewer.entries[0][0], last]


def test_long_indices_are_split(tmp_path, monkeypatch):
    """Each part has at most a fixed length."""
    monkeypatch.setattr(live, "MAX_ENTRIES", 2)
    with Tape(tmp_path / NAME) as tape:
        for _ in range(5):
            tape.grow()
    with served(tmp_path) as server, server.watch(NAME) as socket:
        parts = [json.loads(socket.recv(60)) for _ in range(3)]
    assert [len(part["entries"]) for part in parts] == [2, 2, 1]
    assert [entry for part in parts for entry in part["entries"]] == entries_of(tmp_path / NAME)


def test_an_incomplete_chunk_is_not_announced(tmp_path):
    """However little of it is missing."""
    path = tmp_path / NAME
    with Tape(path) as tape:
        tape.grow()
        whole = tape.bytes
        tape.grow()
        tape.grow()
    data = path.read_bytes()
    ends = [offset + length for offset, length, _, _ in entries_of(path)]
    path.write_bytes(data[:whole])
    with served(tmp_path) as server, server.watch(NAME) as socket:
        viewer = Viewer(socket)
        viewer.hear()
        for end in (whole + 5, whole + CHUNK.size, whole + 100, ends[1] - 1):
            with open(path, "ab") as file:
                file.write(data[path.stat().st_size : end])
            with pytest.raises(TimeoutError):
                socket.recv(0.1)
        with open(path, "ab") as file:
            file.write(data[ends[1] - 1 :])
        viewer.hear_until_size(len(data))
        assert [offset + length for offset, length, _, _ in viewer.entries] == ends


def test_viewers_return_after_a_restart_of_the_server(tmp_path):
    """Watching ends; a viewer that connects again finds everything and continues."""
    path = tmp_path / NAME
    with Tape(path) as tape:
        tape.grow()
        with served(tmp_path) as server, server.watch(NAME) as socket:
            Viewer(socket).hear()
            port = server.port
            socket.ping().wait(60)
        with pytest.raises((ConnectionClosed, OSError)):
            socket.recv(60)
        tape.grow()
        with served(tmp_path, port=port) as server, server.watch(NAME) as socket:
            viewer = Viewer(socket)
            viewer.hear()
            tape.grow()
            viewer.hear_until_size(tape.bytes)
            assert viewer.entries == entries_of(path)


def test_the_server_stops_while_viewers_watch(tmp_path):
    """Whether the viewer reads or not, it gets the closing message."""
    with Tape(tmp_path / NAME) as tape:
        tape.grow()
    with served(tmp_path) as server:
        stack = contextlib.ExitStack()
        socket = stack.enter_context(server.watch(NAME))
        Viewer(socket).hear()
    with stack, pytest.raises(ConnectionClosed):
        socket.recv(60)


def test_viewers_share_one_open_file(tmp_path, monkeypatch):
    """However many watch, a file is opened once. After the last viewer leaves, it is closed and not read."""
    opened, entity_attributes = [], []

    class Counted(Replay):
        def __init__(self, *arguments, **settings):
            opened.append(self)
            super().__init__(*arguments, **settings)

        def refresh(self):
            entity_attributes.append(None)
            return super().refresh()

    monkeypatch.setattr(live, "Replay", Counted)
    with Tape(tmp_path / NAME) as tape, served(tmp_path) as server:
        tape.grow()
        with contextlib.ExitStack() as sockets:
            viewers = [Viewer(sockets.enter_context(server.watch(NAME))) for _ in range(9)]
            tape.grow()
            for viewer in viewers:
                viewer.hear_until_size(tape.bytes)
            assert len(opened) == 1
        for _ in range(1000):
            if opened[0]._file.closed:
                break
            time.sleep(0.01)
        assert opened[0]._file.closed
        before = len(entity_attributes)
        time.sleep(0.1)
        assert len(entity_attributes) == before
        with server.watch(NAME) as socket:
            Viewer(socket).hear_until_size(tape.bytes)
        assert len(opened) == 2


def test_too_many_viewers_are_refused(tmp_path, monkeypatch):
    """They get an error; a place is free once a viewer leaves."""
    monkeypatch.setattr(live, "MAX_VIEWERS", 1)
    with Tape(tmp_path / NAME), served(tmp_path) as server:
        with server.watch(NAME) as socket:
            Viewer(socket).hear()
            with server.watch(NAME) as other:
                refused = Viewer(other)
                refused.hear()
                assert "1 viewers" in refused.error
        for _ in range(500):
            with server.watch(NAME) as socket:
                viewer = Viewer(socket)
                viewer.hear()
            if viewer.size:
                return
        pytest.fail("no place became free")


def test_a_newer_recording_of_the_same_realm_is_announced(tmp_path):
    """It is once it has a header; recordings of other realms and older ones are not."""
    Tape(tmp_path / "realm-0-1.replay").close()
    with Tape(tmp_path / NAME) as tape, served(tmp_path) as server, server.watch(NAME) as socket:
        viewer = Viewer(socket)
        viewer.hear()
        Tape(tmp_path / "realm-1-90.replay", 1).close()
        Tape(tmp_path / "realm-10-90.replay", 10).close()
        (tmp_path / "realm-0-90.replay").write_bytes(b"\x89NMMO")
        for _ in range(3):
            tape.grow()
            viewer.hear_until_size(tape.bytes)
        assert not viewer.next
        Tape(tmp_path / "realm-0-91.replay").close()
        while not viewer.next:
            viewer.hear()
        Tape(tmp_path / "realm-0-90.replay").close()
        while len(viewer.next) < 2:
            viewer.hear()
        assert viewer.next == ["realm-0-91.replay", "realm-0-90.replay"]


def error_of(server, name):
    """Returns the error with which watching ends."""
    with server.watch(name) as socket:
        viewer = Viewer(socket)
        while not viewer.error:
            viewer.hear()
        with pytest.raises(ConnectionClosed) as end:
            socket.recv(60)
        assert end.value.rcvd.code == live.REFUSED
    return viewer


def test_unwatchable_files_are_errors(tmp_path):
    """Unknown, foreign and damaged files, one of them after some good chunks, which are announced."""
    (tmp_path / "foreign.replay").write_bytes(b"a" * 100)
    path = tmp_path / NAME
    with Tape(path) as tape:
        tape.grow()
        good = tape.bytes
        tape.grow()
    data = bytearray(path.read_bytes())
    data[good + 12 : good + 16] = bytes(4)  # ticks
    path.write_bytes(data)
    with served(tmp_path) as server:
        for name in ("none.replay", "", "../x.replay", f"{tmp_path}/{NAME}"):
            assert "no recording" in error_of(server, name).error
        assert "foreign.replay is not a replay" in error_of(server, "foreign.replay").error
        damaged = error_of(server, NAME)
        assert "number of ticks, 0" in damaged.error and str(tmp_path) not in damaged.error
        path.write_bytes(data[:good])
        with server.watch(NAME) as socket:
            viewer = Viewer(socket)
            viewer.hear()
            path.write_bytes(data)
            while not viewer.error:
                viewer.hear()
            assert len(viewer.entries) == 1 and "number of ticks, 0" in viewer.error


@pytest.mark.parametrize("replace", [False, True])
def test_a_rewritten_file_is_an_error(tmp_path, replace):
    """What was known of it is no longer valid."""
    path = tmp_path / NAME
    with Tape(path) as tape:
        tape.grow()
        tape.grow()
    with served(tmp_path) as server, server.watch(NAME) as socket:
        viewer = Viewer(socket)
        viewer.hear()
        if replace:
            (tmp_path / "other").write_bytes(path.read_bytes())
            os.replace(tmp_path / "other", path)
        else:
            Tape(path).close()
        while not viewer.error:
            viewer.hear()
        assert "has been replaced" in viewer.error


def test_pages_of_other_origins_may_not_watch(tmp_path):
    """The origin must be the server's own address; a client without an origin is not a page."""
    Tape(tmp_path / NAME).close()
    with served(tmp_path) as server:
        own = f"http://127.0.0.1:{server.port}"
        for origin in (own, None):
            with server.watch(NAME, origin=origin) as socket:
                Viewer(socket).hear()
        for origin in (
            "http://evil.example",
            "http://127.0.0.1",
            own + "0",
            "null",
            f"http://localhost:{server.port}",
        ):
            with pytest.raises(InvalidStatus) as refused, server.watch(NAME, origin=origin):
                pass
            assert refused.value.response.status_code == 403
            assert b"may not watch" in refused.value.response.body
