"""Clients that are slow, silent or many do not keep others from being served."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import time

import pytest
from view.serving import INDEX, Tape, served

from nmmo_gpu.view import connections

NAME = "realm-0-2.replay"
HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
FILE = f"GET /recordings/{NAME} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.fixture
def path(tmp_path):
    """The path of a recording."""
    with Tape(tmp_path / NAME) as tape:
        tape.grow()
    return tape.path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Shortens the times."""
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT", 0.4)
    monkeypatch.setattr(connections, "STALL_TIMEOUT", 0.4)
    monkeypatch.setattr(connections, "CHECK", 0.05)


@contextlib.contextmanager
def clients(server, number, data=b""):
    """Connections that have sent some bytes."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(number):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            client.sendall(data)
            opened.append(client)
        yield opened


def ended(client):
    """Waits until the server closes the connection, and returns what came before."""
    data = b""
    try:
        while piece := client.recv(1 << 16):
            data += piece
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize("data", [b"", b"G", HALF, b"\r\n" * 9, b"POST / HTTP/1.1\r\nHost: localhost\r\n"])
def test_half_a_request_is_not_waited_for(tmp_path, path, data):
    """Honest requests are served meanwhile."""
    with served(tmp_path) as server, clients(server, 9, data) as silent:
        assert server.get("/").body == INDEX
        for client in silent:
            assert b"200 OK" not in ended(client)


def test_a_client_that_sends_byte_by_byte_gains_no_time(tmp_path, path):
    """Also after a complete request, in the next one or in a body that nothing reads."""
    body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    for begin in (HALF, WHOLE + HALF, body):
        with served(tmp_path) as server, clients(server, 1, begin) as (slow,), pytest.raises(OSError):
            for _ in range(400):
                slow.sendall(b"x")
                time.sleep(0.02)


def test_a_client_that_does_not_read_is_closed(tmp_path, path):
    """Its file is closed, too. One that reads slowly gets everything."""
    path.write_bytes(path.read_bytes() + bytes(24 << 20))
    with served(tmp_path) as server, clients(server, 2, FILE) as (deaf, slow):
        received = len(slow.recv(1 << 20))
        while received < path.stat().st_size:
            received += len(slow.recv(1 << 20))
            time.sleep(0.03)
        assert len(ended(deaf)) < path.stat().st_size


def test_too_many_connections_close_the_longest_waiting(tmp_path, path, monkeypatch):
    """A client that sends its request is served at once."""
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT", 60.0)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 8)
    with served(tmp_path) as server, clients(server, 40, HALF) as silent:
        for _ in range(5):
            assert server.get("/").body == INDEX
        for client in silent[:30]:
            assert ended(client) == b""
        silent[-1].sendall(b"x\r\n\r\n")
        assert silent[-1].recv(15) == b"HTTP/1.1 200 OK"


def test_downloads_are_not_closed_for_new_connections(tmp_path, path, monkeypatch):
    """Although they may have been open for longer."""
    monkeypatch.setattr(connections, "STALL_TIMEOUT", 60.0)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 8)
    path.write_bytes(path.read_bytes() + bytes(24 << 20))
    with served(tmp_path) as server, clients(server, 1, FILE) as (loading,):
        assert loading.recv(15) == b"HTTP/1.1 200 OK"
        with clients(server, 30, HALF):
            received = 15
            while received < path.stat().st_size:
                received += len(loading.recv(1 << 20))


def test_the_limit_follows_that_of_open_files(monkeypatch):
    """A download takes two."""
    for files, expected in ((256, 38), (1024, 256), (190, 8), (1 << 20, 256), (resource.RLIM_INFINITY, 256)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connections.limit() == expected


def test_without_free_files_clients_wait_and_the_log_is_short(tmp_path, path, monkeypatch, capfd, caplog):
    """When files are closed, they are served."""
    real, refused = socket.socket.accept, []

    def accept(listener):
        if len(refused) < 20:
            refused.append(None)
            raise OSError(24, "Too many open files")
        return real(listener)

    monkeypatch.setattr(socket.socket, "accept", accept)
    with caplog.at_level(logging.WARNING), served(tmp_path) as server:
        assert server.get("/").body == INDEX
    assert len(refused) == 20 and not caplog.records
    assert capfd.readouterr().err.count("\n") == 1


def test_invalid_requests_leave_no_log(tmp_path, path, capfd):
    """Else a client could fill the disk."""
    with served(tmp_path) as server:
        for data in (
            b"\0\1\2\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 9000 + b"\r\n",
        ):
            with clients(server, 3, data) as sent:
                assert all(b"200 OK" not in ended(client) for client in sent)
        assert server.get("/").body == INDEX
    assert capfd.readouterr().err == ""
