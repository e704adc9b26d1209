"""Numbers that are copied to the host: immediately on a CPU, one call later on a GPU, and never
overwritten."""

from __future__ import annotations

import time

import pytest
import torch
from train.small import CPU

from nmmo_gpu.train.readback import Readback, seconds_between, timestamp


def test_on_a_cpu_letters_arrive_immediately():
    """They arrive with their notes, and none is pending afterwards."""
    readback = Readback(CPU)
    assert readback.receive() == []
    for tag in ("one", ["two"], None):
        sent = {"counts": torch.arange(7), "share": torch.tensor([0.25, -1.0])}
        (host_copy,) = readback.send(sent, tag)
        assert host_copy.tag is tag
        assert host_copy.tensors.keys() == sent.keys()
        assert all(torch.equal(host_copy.tensors[name], tensor) for name, tensor in sent.items())
        assert readback.receive() == []


def test_later_writes_do_not_change_a_letter():
    """A letter holds the values at the time it was sent, also for slices and strided views."""
    readback, plane = Readback(CPU), torch.arange(12.0).view(3, 4)
    host_copies = []
    for step in range(3):
        host_copies += readback.send({"all": plane, "column": plane[:, 1], "one": plane[2, 3]}, step)
        plane += 100
    for step, host_copy in enumerate(host_copies):
        before = torch.arange(12.0).view(3, 4) + 100 * step
        assert host_copy.tag == step
        assert torch.equal(host_copy.tensors["all"], before) and torch.equal(
            host_copy.tensors["column"], before[:, 1]
        )
        assert host_copy.tensors["one"] == before[2, 3]


class Event:
    """A fake CUDA event that logs its calls."""

    log: list[tuple[str, int]]

    def record(self):
        self.number = len([what for what, _ in self.log if what == "recorded"])
        self.log.append(("recorded", self.number))

    def synchronize(self):
        self.log.append(("waited for", self.number))


@pytest.fixture
def like_a_gpu(monkeypatch):
    """Returns a Readback as on a GPU and the log of its events; ordinary memory replaces pinned memory."""
    Event.log = []
    plain = torch.empty

    def empty(*arguments, pin_memory=False, **keywords):
        assert pin_memory
        return plain(*arguments, **keywords)

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return Readback(torch.device("cuda")), Event.log


def test_as_on_a_gpu_letters_arrive_one_call_later(like_a_gpu):
    """The host waits for a letter only when the next one has been sent, and reuses its buffer only after it
    has been returned. The last letter is waited for on request."""
    readback, log = like_a_gpu
    received = []
    for step in range(5):
        host_copies = readback.send(
            {"step": torch.tensor([step, step * step]), "half": torch.tensor(step / 2)}, step
        )
        assert len(host_copies) == (step > 0)
        received += [
            (host_copy.tag, host_copy.tensors["step"].tolist(), float(host_copy.tensors["half"]))
            for host_copy in host_copies
        ]
    (last,) = readback.receive()
    received.append((last.tag, last.tensors["step"].tolist(), float(last.tensors["half"])))
    assert received == [(step, [step, step * step], step / 2) for step in range(5)]
    assert readback.receive() == []
    order = [("recorded", 0)]
    for step in range(1, 5):
        order += [("recorded", step), ("waited for", step - 1)]
    assert log == [*order, ("waited for", 4)]


def test_as_on_a_gpu_nothing_arrives_twice_after_settling(like_a_gpu):
    """When all letters have been received, the next call returns none of them again."""
    readback, _ = like_a_gpu
    one = torch.tensor([1])
    assert readback.send({"x": one}, "a") == []
    assert [host_copy.tag for host_copy in readback.receive()] == ["a"]
    assert readback.send({"x": one + 1}, "b") == []
    assert [
        (host_copy.tag, int(host_copy.tensors["x"])) for host_copy in readback.send({"x": one + 2}, "c")
    ] == [("b", 2)]


def test_stamps_on_a_cpu_are_seconds():
    """They are the host's clock, later minus earlier."""
    start = timestamp(CPU)
    time.sleep(0.02)
    end = timestamp(CPU)
    assert isinstance(start, float) and seconds_between(start, end) == end - start >= 0.02
    assert seconds_between(3.5, 1.25) == -2.25


class Moment(Event):
    """A fake CUDA event with a fixed time."""

    def elapsed_time(self, end):
        return 1234.0


def test_stamps_on_a_gpu_are_events(monkeypatch):
    """Events are recorded with timing, and milliseconds become seconds."""
    made = []

    def event(enable_timing):
        made.append(Moment())
        return made[-1] if enable_timing else pytest.fail("an event without a time")

    Event.log = []
    monkeypatch.setattr(torch.cuda, "Event", event)
    start, end = timestamp(torch.device("cuda")), timestamp(torch.device("cuda"))
    assert [start, end] == made and len(Event.log) == 2
    assert seconds_between(start, end) == pytest.approx(1.234)
