"""``nmmo-gpu view``: where the viewer is served, what is printed, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
import urllib.request

import pytest
from view.serving import INDEX, Tape

from nmmo_gpu.cli import main as cli
from nmmo_gpu.errors import UsageError
from nmmo_gpu.view import serve

NAME = "realm-0-2.replay"


@pytest.fixture
def path(tmp_path):
    """Returns the path of a recording."""
    with Tape(tmp_path / NAME) as tape:
        tape.grow()
    return tape.path


@pytest.fixture
def visitor(monkeypatch):
    """Replaces the browser: requests the page, stores address and page, and presses Ctrl-C."""
    visits = []

    def visit(address):
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                visits.append((address, answer.read()))
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(serve.webbrowser, "open", visit)
    return visits


@pytest.fixture
def ports(monkeypatch):
    """Yields a port that is in use; the next one is free, and the default port is the first."""
    for _ in range(100):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            first = taken.getsockname()[1]
            try:
                serve._listening("127.0.0.1", first + 1).close()
            except (OSError, OverflowError):
                continue
            monkeypatch.setattr(serve, "PORT", first)
            yield first
            return


def test_the_browser_opens_and_ctrl_c_ends_the_server(path, visitor, capsys):
    """The status is 0, and the printed address is the opened one."""
    handler = signal.getsignal(signal.SIGINT)
    assert cli.run(["view", str(path), "--port", "0"]) == 0
    ((address, body),) = visitor
    out, err = capsys.readouterr()
    assert body == INDEX and address.startswith("http://127.0.0.1:") and address in out
    assert "Anybody" not in out and not err
    assert signal.getsignal(signal.SIGINT) is handler


def test_no_browser_opens_on_request(path, visitor, monkeypatch, capsys):
    opened = []
    visit = serve.webbrowser.open
    monkeypatch.setattr(serve.webbrowser, "open", opened.append)

    def server(app):
        made = uvicorn_server(app)
        startup = made.startup

        async def started(sockets):
            await startup(sockets)
            port = sockets[0].getsockname()[1]
            threading.Thread(target=visit, args=(f"http://127.0.0.1:{port}/",), daemon=True).start()

        made.startup = started
        return made

    uvicorn_server = serve._server
    monkeypatch.setattr(serve, "_server", server)
    assert cli.run(["view", str(path), "--port", "0", "--no-browser"]) == 0
    assert len(visitor) == 1 and not opened


def test_a_public_host_is_announced(path, visitor, capsys):
    """The output says that everyone can watch if the server is bound to more than loopback."""
    assert cli.run(["view", str(path), "--port", "0", "--host", "0.0.0.0"]) == 0
    out, _ = capsys.readouterr()
    assert "Anyone who can reach this machine can watch" in out
    assert visitor[0][0].startswith("http://localhost:")


def test_the_next_port_is_used_if_the_default_is_taken(path, visitor, ports, capsys):
    """The output says so."""
    assert cli.run(["view", str(path)]) == 0
    out, _ = capsys.readouterr()
    assert f"Port {ports} is taken; using {ports + 1} instead." in out
    assert visitor[0][0] == f"http://127.0.0.1:{ports + 1}/"


def test_a_given_port_is_used_or_an_error(path, visitor, ports, capsys):
    assert cli.run(["view", str(path), "--port", str(ports)]) == 2
    assert f"Port {ports} of 127.0.0.1 cannot be used (Address already in use)" in capsys.readouterr().err
    assert cli.run(["view", str(path), "--port", str(ports + 1)]) == 0
    assert visitor[0][0] == f"http://127.0.0.1:{ports + 1}/"


def test_responses_are_not_delayed():
    """asyncio disables Nagle's algorithm only for sockets whose protocol is TCP; otherwise each response took
    40 ms."""
    with serve._listening("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_no_free_port_is_an_error(path, visitor, ports, monkeypatch):
    monkeypatch.setattr(serve, "TRIED", 1)
    with pytest.raises(UsageError, match=f"Ports {ports} to {ports} of 127.0.0.1 are taken"):
        serve.serve(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "no.such.host.invalid"], "no.such.host.invalid cannot be used"),
        (["--host", "192.0.2.1"], "192.0.2.1 cannot be used"),
    ],
)
def test_impossible_addresses_are_errors(path, visitor, options, message, capsys):
    assert cli.run(["view", str(path), *options]) == 2
    assert message in capsys.readouterr().err and not visitor


@pytest.mark.parametrize("port", [-1, 70000])
def test_impossible_ports_are_errors(path, visitor, port):
    """The command line refuses them as well (tests/cli/test_main.py)."""
    message = rf"Port {port} of 127.0.0.1 cannot be used \(ports range from 0 to 65535\)"
    with pytest.raises(UsageError, match=message):
        serve.serve(path, port=port)
    assert not visitor


def test_impossible_paths_are_errors(tmp_path, visitor, capsys):
    """A run without recordings, and a missing path."""
    for given, message in (
        (tmp_path, "has no recordings; make some with `nmmo-gpu train --resume"),
        (tmp_path / "x", "does not exist"),
    ):
        assert cli.run(["view", str(given)]) == 2
        assert message in capsys.readouterr().err
