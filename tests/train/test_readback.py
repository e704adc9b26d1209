"""Numbers on their way to the host: at once on a CPU, one call later on a GPU, and never written over."""

from __future__ import annotations

import time

import pytest
import torch
from train.small import CPU

from nmmo_gpu.train.readback import Readback, seconds_between, stamp


def test_on_a_cpu_letters_arrive_at_once():
    """With their notes; nothing is under way afterwards."""
    readback = Readback(CPU)
    assert readback.receive() == []
    for note in ("one", ["two"], None):
        sent = {"counts": torch.arange(7), "share": torch.tensor([0.25, -1.0])}
        (letter,) = readback.send(sent, note)
        assert letter.note is note
        assert letter.tensors.keys() == sent.keys()
        assert all(torch.equal(letter.tensors[name], tensor) for name, tensor in sent.items())
        assert readback.receive() == []


def test_later_writes_do_not_show():
    """A letter says what was so when it was sent, also of parts and strided views."""
    readback, plane = Readback(CPU), torch.arange(12.0).view(3, 4)
    letters = []
    for step in range(3):
        letters += readback.send({"all": plane, "column": plane[:, 1], "one": plane[2, 3]}, step)
        plane += 100
    for step, letter in enumerate(letters):
        before = torch.arange(12.0).view(3, 4) + 100 * step
        assert letter.note == step
        assert torch.equal(letter.tensors["all"], before) and torch.equal(
            letter.tensors["column"], before[:, 1]
        )
        assert letter.tensors["one"] == before[2, 3]


class Event:
    """Stands in for a CUDA event; notes what was done with whom."""

    log: list[tuple[str, int]]

    def record(self):
        self.number = len([what for what, _ in self.log if what == "recorded"])
        self.log.append(("recorded", self.number))

    def synchronize(self):
        self.log.append(("waited for", self.number))


@pytest.fixture
def like_a_gpu(monkeypatch):
    """A Readback as on a GPU, and the log of its events; pinned memory is ordinary memory."""
    Event.log = []
    plain = torch.empty

    def empty(*arguments, pin_memory=False, **keywords):
        assert pin_memory
        return plain(*arguments, **keywords)

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return Readback(torch.device("cuda")), Event.log


def test_as_on_a_gpu_letters_arrive_one_call_later(like_a_gpu):
    """The host waits for a letter only when the next is under way, and writes over none before it has been
    handed out; the last is waited for when it is asked for."""
    readback, log = like_a_gpu
    told = []
    for step in range(5):
        letters = readback.send(
            {"step": torch.tensor([step, step * step]), "half": torch.tensor(step / 2)}, step
        )
        assert len(letters) == (step > 0)
        told += [
            (letter.note, letter.tensors["step"].tolist(), float(letter.tensors["half"]))
            for letter in letters
        ]
    (last,) = readback.receive()
    told.append((last.note, last.tensors["step"].tolist(), float(last.tensors["half"])))
    assert told == [(step, [step, step * step], step / 2) for step in range(5)]
    assert readback.receive() == []
    order = [("recorded", 0)]
    for step in range(1, 5):
        order += [("recorded", step), ("waited for", step - 1)]
    assert log == [*order, ("waited for", 4)]


def test_as_on_a_gpu_after_settling(like_a_gpu):
    """Once all has been received, the next call has nothing to hand out again."""
    readback, _ = like_a_gpu
    one = torch.tensor([1])
    assert readback.send({"x": one}, "a") == []
    assert [letter.note for letter in readback.receive()] == ["a"]
    assert readback.send({"x": one + 1}, "b") == []
    assert [(letter.note, int(letter.tensors["x"])) for letter in readback.send({"x": one + 2}, "c")] == [
        ("b", 2)
    ]


def test_stamps_on_a_cpu_are_seconds():
    """By the host's clock, later minus earlier."""
    start = stamp(CPU)
    time.sleep(0.02)
    end = stamp(CPU)
    assert isinstance(start, float) and seconds_between(start, end) == end - start >= 0.02
    assert seconds_between(3.5, 1.25) == -2.25


class Moment(Event):
    """A CUDA event that knows when it was."""

    def elapsed_time(self, end):
        return 1234.0


def test_stamps_on_a_gpu_are_events(monkeypatch):
    """Recorded with timing; milliseconds become seconds."""
    made = []

    def event(enable_timing):
        made.append(Moment())
        return made[-1] if enable_timing else pytest.fail("an event without a time")

    Event.log = []
    monkeypatch.setattr(torch.cuda, "Event", event)
    start, end = stamp(torch.device("cuda")), stamp(torch.device("cuda"))
    assert [start, end] == made and len(Event.log) == 2
    assert seconds_between(start, end) == pytest.approx(1.234)
