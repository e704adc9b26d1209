"""The responses of the viewer's server, and who gets them."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import math
import os
import socket
import sys

import numpy as np
import pytest
import torch
from replay.replays import base, replay_header
from train.small import small
from view.serving import INDEX, WORLD, Tape, Viewer, served

from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.errors import ReplayError, UsageError
from nmmo_gpu.replay.format import HEAD, MAGIC, PREAMBLE, TILE, VERSION, pack
from nmmo_gpu.replay.header import header
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.writer import ReplayWriter, heat_payload
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import value_map as value_maps
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import Run, train
from nmmo_gpu.train.trinity import Sword, sword_with
from nmmo_gpu.train.value_map import value_map
from nmmo_gpu.view import page, recordings, server
from nmmo_gpu.view.server import application
from nmmo_gpu.view.values import Values
from nmmo_gpu.world.reset import realm_maps

NAME = "realm-0-2.replay"


@pytest.fixture
def path(tmp_path):
    """Returns the path of a recording in the folder of a run."""
    with Tape(tmp_path / "replays" / NAME) as tape:
        for _ in range(5):
            tape.grow()
    return tape.path


# ------------------------------------------------------------------------------------------------- the page


def test_the_page_has_security_and_cache_headers(tmp_path, path):
    """Other origins are kept out. Files that are named after their content may be cached, others not."""
    with served(tmp_path) as running:
        for address in ("/", "/index.html"):
            answer = running.get(address)
            assert (answer.status, answer.body) == (200, INDEX)
            assert answer.headers["content-type"].startswith("text/html")
            assert answer.headers["cache-control"] == "no-store"
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self';" in policy and f"ws://127.0.0.1:{running.port}" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        asset = running.get("/assets/index-B2x4.js")
        assert asset.status == 200 and "immutable" in asset.headers["cache-control"]
        assert "javascript" in asset.headers["content-type"]
        for missing in ("/assets/index-old.js", "/other.html", "/api/", "/assets/../../x", "/%2e%2e/x"):
            answer = running.get(missing)
            assert answer.status == 404 and answer.headers["cache-control"] == "no-store"
        assert running.get("/api/recordings", "POST").status == 405


def test_a_missing_page_is_an_error(tmp_path, path, monkeypatch):
    """The error says how to build the page."""
    monkeypatch.setattr(page, "_FOLDER", tmp_path / "none")
    with pytest.raises(UsageError, match="has no page"):
        application(tmp_path)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "127.0.0.1", "[::1]:8006", "[::1]", "LocalHost:5", "gpu.lan", "GPU.lan:9"]
)
def test_the_servers_own_host_names_are_allowed(tmp_path, path, host):
    """They are IP addresses, localhost, and the host it is bound to."""
    with served(tmp_path, host="gpu.lan") as running:
        assert running.get("/", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8006", "127.0.0.1.evil.example", "localhost.evil.example", "", "[evil]",
     "1.2.3", "localhost:8006:1", "localhost; x", "127.0.0.1, x"],
)  # fmt: skip
def test_other_host_names_are_refused(tmp_path, path, host):
    """A foreign name that resolves to this server (DNS rebinding) gets nothing."""
    with served(tmp_path) as running:
        for address in ("/", "/api/recordings", f"/recordings/{NAME}", "/live?name=" + NAME):
            answer = running.get(address, Host=host)
            assert answer.status == 403 and b"is not the name of this server" in answer.body
        connection = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
                      "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
        answer = running.get("/live?name=" + NAME, Host=host, **connection)
        assert answer.status == 403 and b"is not the name of this server" in answer.body


# ----------------------------------------------------------------------------------------------- recordings


def test_the_list_of_recordings(tmp_path, path):
    """The newest comes first, each with its header's data; a file that cannot be read is left out until it
    can."""
    folder = path.parent
    os.utime(path, (0, 1000))
    (folder / "broken.replay").write_bytes(path.read_bytes()[:100])
    (folder / "notes.txt").write_text("no recording")
    with Tape(folder / "realm-3-2.replay", 3) as tape, served(tmp_path) as running:
        old = {"name": NAME, "title": "noise 0", "realm": 0, "bytes": path.stat().st_size, "first": 2,
               "last": 16, "growing": False}  # fmt: skip
        new = {"name": "realm-3-2.replay", "title": "noise 3", "realm": 3, "bytes": tape.bytes, "first": 0,
               "last": -1, "growing": True}  # fmt: skip
        assert running.get("/api/recordings").json() == [new, old]
        for last in (4, 7):
            tape.grow()
            new |= {"bytes": tape.bytes, "first": 2, "last": last}
            assert running.get("/api/recordings").json() == [new, old]
        os.utime(tape.path, (0, 500))
        assert running.get("/api/recordings").json() == [old, new | {"growing": False}]
        tape.grow()
        assert running.get("/api/recordings").json()[0]["last"] == 10
        Tape(tape.path, 4).close()
        assert running.get("/api/recordings").json()[0]["realm"] == 4
        tape.path.unlink()
        (folder / "broken.replay").write_bytes(path.read_bytes())
        assert [entry["name"] for entry in running.get("/api/recordings").json()] == ["broken.replay", NAME]
        assert running.get("/api/recordings").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("field", ["title", "realm"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", [[]], None, 10**400, "x" * 5000])
def test_a_hostile_recording_is_left_out_of_the_list(path, field, value):
    """Others are listed, and can be fetched. Files whose names are not UTF-8 are left out as well."""
    header = replay_header() | {field: value}
    (path.parent / "hostile.replay").write_bytes(
        PREAMBLE.pack(MAGIC, VERSION, 0)
        + pack(HEAD, json.dumps(header).encode())
        + pack(TILE, base().tobytes())
    )
    (path.parent / os.fsdecode(b"name\xff.replay")).write_bytes(path.read_bytes())
    with served(path.parent) as running:
        assert [entry["name"] for entry in running.get("/api/recordings").json()] == [NAME]
        assert running.get(f"/recordings/{NAME}").body == path.read_bytes()


def test_files_are_open_only_while_they_grow(tmp_path, path):
    """So thousands can be listed. A file that has not changed is not read again."""
    folder = recordings.Recordings(tmp_path)
    assert folder.listed()[0]["growing"]
    known = folder._known[NAME]
    file = known._replay._file
    folder.listed()
    assert known._replay._file is file and not file.closed
    os.utime(path, (0, 1000))
    assert not folder.listed()[0]["growing"]
    assert file.closed and known._replay is None
    folder.listed()
    assert known._replay is None


def test_ranges_of_a_recording(tmp_path, path):
    """A range gives the file's bytes with status 206, beyond its end 416. If the file has changed, the
    response is the whole file."""
    data = path.read_bytes()
    size = len(data)
    with served(tmp_path) as running:

        def get(**headers):
            return running.get(f"/recordings/{NAME}", **headers)

        whole = get()
        assert (whole.status, whole.body) == (200, data)
        assert whole.headers["accept-ranges"] == "bytes" and whole.headers["cache-control"] == "no-store"
        assert whole.headers["content-type"] == "application/octet-stream"
        for requested, begin, end in (
            ("0-15", 0, 16), ("16-", 16, size), ("-100", size - 100, size),
            (f"{size - 1}-{size + 999}", size - 1, size),
        ):  # fmt: skip
            part = get(Range=f"bytes={requested}")
            assert (part.status, part.body) == (206, data[begin:end])
            assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
        several = get(Range="bytes=0-9,100-109")
        assert several.status == 206 and data[:10] in several.body and data[100:110] in several.body
        beyond = get(Range=f"bytes={size}-")
        assert beyond.status == 416 and beyond.headers["content-range"] == f"bytes */{size}"
        for wrong in ("bytes=5-2", "lines=1-2", "bytes"):
            assert get(Range=wrong).status == 400
        same = get(Range="bytes=0-15", If_Range=whole.headers["etag"])
        assert (same.status, same.body) == (206, data[:16])
        changed = get(Range="bytes=0-15", If_Range='"other"')
        assert (changed.status, changed.body) == (200, data)
        head = running.get(f"/recordings/{NAME}", "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(size))


@pytest.mark.parametrize("part", [None, b"bytes=10-", b"bytes=10-99999"])
def test_a_recording_that_grows_while_it_is_sent(path, part):
    """The announced bytes are sent, and no more."""
    data, sent = path.read_bytes(), []

    async def send(message):
        sent.append(message)
        if len(sent) < 5:
            with open(path, "ab") as file:
                file.write(bytes(100_000))

    async def receive():
        return {"type": "http.request"}

    headers = [] if part is None else [(b"range", part)]
    scope = {"type": "http", "method": "GET", "headers": headers, "asgi": {"spec_version": "2.4"}}
    asyncio.run(server._File(path)(scope, receive, send))
    body = b"".join(message["body"] for message in sent[1:])
    assert body == data[0 if part is None else 10 :]
    assert int(dict(sent[0]["headers"])[b"content-length"]) == len(body)
    assert [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]


def test_other_paths_are_not_found(tmp_path, path):
    """No parents, absolute paths or links out of the folder, and no files but recordings."""
    secret = tmp_path / "secret.replay"
    secret.write_bytes(path.read_bytes())
    folder = path.parent
    (folder / "link.replay").symlink_to(secret)
    (folder / "inside.replay").symlink_to(path)
    (folder / "sub.replay").mkdir()
    (folder / "sub.replay" / "deep.replay").write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("secret")
    (folder / "loop.replay").symlink_to(folder / "loop.replay")
    os.mkfifo(folder / "pipe.replay")
    with served(tmp_path) as running:
        for name in (
            "../secret.replay", "%2e%2e/secret.replay", "%2e%2e%2fsecret.replay", "..%5csecret.replay",
            "link.replay", "loop.replay",
            str(secret), str(secret)[1:], "%2F" + str(secret)[1:], "sub.replay", "sub.replay/deep.replay",
            "sub.replay/../" + NAME, "notes.txt", "pipe.replay", "%00.replay", NAME + "%00", "", ".replay",
            "x" * 3000 + ".replay",
        ):  # fmt: skip
            for address in (f"/recordings/{name}", f"/api/value?name={name}"):
                answer = running.get(address)
                assert answer.status == 404 and path.read_bytes() != answer.body, name
        assert running.get("/recordings/inside.replay").status == 200
        listed = {entry["name"] for entry in running.get("/api/recordings").json()}
        assert listed == {NAME, "inside.replay"}


def test_what_can_be_served(tmp_path, path):
    """A run, a folder of recordings, or a single recording, beside which nothing else is listed."""
    with Tape(path.parent / "realm-1-2.replay", 1):
        pass
    for given, names in ((tmp_path, 2), (path.parent, 2), (path, 1)):
        found = recordings.Recordings(given)
        assert len(found.listed()) == names and found.folder == path.parent
        assert found.checkpoint == tmp_path / checkpoints.FILE
        assert found.find(NAME) == path
        assert (found.find("realm-1-2.replay") is None) == (given == path)
    assert recordings.Recordings(path).siblings(NAME) == {}
    assert recordings.Recordings(tmp_path).siblings(NAME) == {NAME: 2}


def test_nothing_to_serve_is_an_error(tmp_path):
    """The error names what is missing and how to make a recording."""
    with pytest.raises(UsageError, match="does not exist"):
        application(tmp_path / "none")
    with pytest.raises(UsageError, match=f"train --resume {tmp_path} --record 0.*nmmo-gpu export {tmp_path}"):
        application(tmp_path)
    (tmp_path / "foreign.replay").write_bytes(b"foreign")
    with pytest.raises(ReplayError, match="is not a replay"):
        application(tmp_path / "foreign.replay")
    (tmp_path / "run" / "replays").mkdir(parents=True)
    with served(tmp_path / "run") as running:
        assert running.get("/api/recordings").json() == []


# ----------------------------------------------------------------------------------------------- value maps


def store(folder, **changes):
    """Writes a checkpoint of a run with the recordings' rules."""
    world = dataclasses.replace(WORLD.world, **changes)
    run = Run(
        dataclasses.replace(
            small(folder), env=dataclasses.replace(WORLD, world=world, backend="torch", realms=2)
        )
    )
    run.save()


def test_value_maps_come_from_the_newest_checkpoint(tmp_path, path, monkeypatch):
    """They are computed on the recording's map and cached until there is a newer checkpoint; births do not
    matter."""
    computed = []

    def counted(stored, base, material, population, **where):
        computed.append(population)
        return value_map(stored, base, material, population)

    monkeypatch.setattr(value_maps, "value_map", counted)
    store(tmp_path, births=3, slots=12)
    stored = checkpoints.load(tmp_path, torch.device("cpu"))
    with Replay(path) as replay, served(tmp_path) as running:
        for population in (0, 1, -1, 0, 1, -1):
            found = running.get(f"/api/value?name={NAME}&population={population}")
            who = f"population {population}" if population >= 0 else "the mean of all populations"
            expected = value_map(stored, replay.base, None, population)
            assert np.isfinite(expected).any()
            about = f"Value of a newborn, {who}, after iteration 0."
            assert found.body == heat_payload("value", expected, population, 1, about)
        assert found.headers["content-type"] == "application/octet-stream"
        assert computed == [0, 1, -1]
        assert running.get(f"/api/value?name={NAME}").body == found.body
        os.utime(tmp_path / checkpoints.FILE, (5, 5))
        running.get(f"/api/value?name={NAME}&population=1")
        assert computed == [0, 1, -1, 1]


@pytest.mark.parametrize(
    ("population", "status", "message"),
    [("2", 404, "population = 2"), ("-2", 404, "population = -2"), ("x", 400, "not a number"),
     ("", 400, "not a number"), ("9" * 5000, 400, "not a number")],
)  # fmt: skip
def test_unknown_populations_are_errors(tmp_path, path, population, status, message):
    store(tmp_path)
    with served(tmp_path) as running:
        answer = running.get(f"/api/value?name={NAME}&population={population}")
        assert answer.status == status and message in answer.body.decode()
        assert answer.headers["content-type"].startswith("text/plain")


def test_impossible_value_maps_are_errors(tmp_path, path):
    """The error gives the reason: no checkpoint, a damaged one, or one with other rules."""
    with served(tmp_path) as running:

        def answer():
            found = running.get(f"/api/value?name={NAME}")
            assert found.status == 404
            return found.body.decode()

        assert "no checkpoint" in answer()
        (tmp_path / checkpoints.FILE).write_bytes(b"broken")
        assert "damaged" in answer()
        store(tmp_path, immune_ticks=3, reach=(1, 1, 1))
        assert "rules of the recording differ" in answer() and "reach, immune_ticks" in answer()
        store(tmp_path)
        assert running.get(f"/api/value?name={NAME}").status == 200


class Other(Policy):
    """The stock network with another name."""


def test_value_maps_need_the_runs_network(tmp_path, path, monkeypatch):
    """The error names the network; with it, value maps equal those of other runs."""
    with monkeypatch.context() as patch:
        patch.setattr(Sword, "network", Other)
        store(tmp_path)
    with served(tmp_path) as running:
        answer = running.get(f"/api/value?name={NAME}")
        assert answer.status == 404 and f"--trinity {__name__}:Other" in answer.body.decode()
    found = Values(tmp_path / checkpoints.FILE, sword_with(Other))
    payload = asyncio.run(found.payload(path, 0))
    stored = checkpoints.load(tmp_path, torch.device("cpu"))
    with Replay(path) as replay:
        expected = value_map(stored, replay.base, None, 0, sword=sword_with(Other))
    assert np.isfinite(expected).any() and payload[-expected.nbytes :] == expected.tobytes()


DAY = """
from dataclasses import dataclass
from nmmo_gpu.systems import ObservationSpec, System

@dataclass(frozen=True)
class Day(System):
    period: int = 4

    def observation(self, config):
        return {"hour": ObservationSpec("ticks since midnight", high=3)}

    def observe(self, world):
        return {"hour": (world.tick % self.period).view(1, 1)}
"""


def test_runs_with_systems_are_shown_without_their_classes(tmp_path, monkeypatch):
    """A server that has not imported the class lists and sends recordings. Value maps, which need it, are an
    error that names it."""
    (tmp_path / "day_of_a_test.py").write_text(DAY)
    monkeypatch.syspath_prepend(tmp_path)
    day = importlib.import_module("day_of_a_test").Day()
    train(small(tmp_path / "run", systems=(day,), iterations=1, record=(0,)))
    (path,) = (tmp_path / "run").glob("replays/*.replay")
    with served(tmp_path / "run") as running:
        assert running.get(f"/api/value?name={NAME}").status == 200
    monkeypatch.delitem(sys.modules, "day_of_a_test")
    with served(tmp_path / "run") as running:
        (listed,) = running.get("/api/recordings").json()
        assert (listed["name"], listed["first"], listed["last"]) == (NAME, 2, 9)
        assert running.get(f"/recordings/{NAME}").body == path.read_bytes()
        with running.watch(NAME) as socket:
            viewer = Viewer(socket)
            viewer.hear()
            assert [entry[2:] for entry in viewer.entries] == [[2, 8]] and not viewer.error
        answer = running.get(f"/api/value?name={NAME}")
        assert answer.status == 404
        assert "day_of_a_test:Day" in answer.body.decode() and "--import" in answer.body.decode()
    with Replay(path) as replay:
        assert replay.header["config"]["world"]["systems"] == [{"class": "day_of_a_test:Day", "period": 4}]
        hours = [frames.columns["day.hour"][:, :, 0].max(1).tolist() for frames in replay]
    assert hours == [[2, 3, 0, 1, 2, 3, 0, 1]]


def test_value_maps_of_recordings_that_do_not_name_systems(tmp_path, path):
    """Earlier versions wrote them; their rules are those of a checkpoint without systems."""
    store(tmp_path)
    plain = to_plain(WORLD)
    del plain["world"]["systems"]
    earlier = {**header(WORLD, 0, "earlier"), "config": plain}
    ReplayWriter(path, earlier, realm_maps(WORLD)[0].numpy()).close()
    with served(tmp_path) as running:
        assert running.get(f"/api/value?name={NAME}").status == 200


def test_an_interrupted_request_leaves_the_server_running(tmp_path, path):
    with served(tmp_path) as running:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", running.port)) as client:
                client.sendall(f"GET /recordings/{NAME} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert running.get("/").status == 200
