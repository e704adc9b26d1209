"""Reports, recordings and checkpoints that fail do not end a training."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter
from train.small import CPU, small

from nmmo_gpu.errors import CheckpointError
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.replay.segment_writer import SegmentWriter
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import reporter as reporters
from nmmo_gpu.train import run as runs
from nmmo_gpu.train.progress import Output, Progress
from nmmo_gpu.train.reporter import Reporter
from nmmo_gpu.train.run import Run, resume, train
from nmmo_gpu.train.tensorboard import Dashboard


def full_disk(*_, **__):
    """Fails as a full disk does."""
    raise OSError(28, "No space left on device")


def trained(folder, match, **settings):
    """Trains with failures, of which exactly one warning is expected; returns the run."""
    config = small(folder, iterations=4, log_every=1, checkpoint_minutes=60.0, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train(config)
    assert [w for w in caught if re.search(match, str(w.message))], [str(w.message) for w in caught]
    assert len(caught) == 1
    assert run.iteration == 4 and checkpoints.load(Path(config.run), CPU).counters["iteration"] == 4
    return run


FAULTS = {
    "dashboard opens": (Dashboard, "__init__", full_disk, "TensorBoard's files.*No space left"),
    "curves": (Dashboard, "curves", full_disk, "TensorBoard's files.*No space left"),
    "visits": (Dashboard, "visits", full_disk, "TensorBoard's files.*No space left"),
    "dashboard closes": (Dashboard, "close", full_disk, "TensorBoard's files.*No space left"),
    "report": (Reporter, "report", lambda *_: {}["x"], "a report failed .KeyError"),
    "progress": (Progress, "show", full_disk, "a report failed .OSError"),
    "recording": (SegmentWriter, "frames", lambda *_: [][1], "nothing more is recorded.*IndexError"),
    "recording closes": (SegmentWriter, "close", full_disk, "nothing more is recorded.*No space left"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_failure_besides_learning_is_warned_of_once(name, tmp_path, monkeypatch):
    """The training ends as usual, with its checkpoint."""
    owner, attribute, fault, match = FAULTS[name]
    monkeypatch.setattr(owner, attribute, fault)
    trained(tmp_path / "run", match, record=(0,))


def test_failures_are_no_errors_where_warnings_are(tmp_path, monkeypatch, capsys):
    """With ``python -W error`` they are printed instead."""
    monkeypatch.setattr(Dashboard, "curves", full_disk)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(small(tmp_path / "run", iterations=2, log_every=1)).iteration == 2
    assert capsys.readouterr().err.count("TensorBoard's files cannot be written") == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_curves_go_on_when_the_disk_has_room_again(tmp_path, monkeypatch):
    """TensorBoard's own thread meets a full disk; later points are in another file."""
    write, room = RecordWriter.write, [True]
    monkeypatch.setattr(
        RecordWriter, "write", lambda writer, data: write(writer, data) if room[0] else full_disk()
    )
    monkeypatch.setattr(reporters, "REOPEN_SECONDS", 0.0)
    run = Run(small(tmp_path, log_every=1))
    with warnings.catch_warnings(record=True) as caught, Reporter(run, resumed=False) as reporter:
        warnings.simplefilter("always")
        for full in (False, True, True, False):
            room[0] = not full
            for stats in run.iterate(report=True):
                reporter.report(stats)
                if reporter.dashboard is not None and not full:
                    reporter.dashboard.writer.flush()
    assert len([w for w in caught if "TensorBoard" in str(w.message)]) == 1
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    assert curves.Scalars("rate/learning rate")[-1].step == run.agent_steps


def test_a_failed_checkpoint_is_tried_again(tmp_path, monkeypatch):
    """It is warned of once, and the next one that succeeds is valid."""
    save, calls = checkpoints.save, []

    def sometimes(path, stored):
        calls.append(stored.counters["iteration"])
        if len(calls) <= 2:
            raise CheckpointError(f"{path}: No space left")
        save(path, stored)

    monkeypatch.setattr(checkpoints, "save", sometimes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(small(tmp_path / "run", iterations=5, checkpoint_minutes=0.0))
    assert calls == [1, 2, 3, 4, 5] and len(caught) == 1
    assert "No space left Training goes on, and saving is tried again" in str(caught[0].message)


def test_the_last_checkpoint_goes_elsewhere_if_it_must(tmp_path, monkeypatch, capsys):
    """If it cannot be written to the run's folder, it is written to a temporary one, which can be resumed; if
    that fails, too, it is an error."""
    monkeypatch.setattr(runs.tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    save, forbidden = checkpoints.save, [tmp_path / "run"]

    def elsewhere(path, stored):
        if path.parent in forbidden or "all" in forbidden:
            raise CheckpointError(f"{path}: No space left.")
        save(path, stored)

    monkeypatch.setattr(checkpoints, "save", elsewhere)
    config = small(tmp_path / "run", iterations=2)
    with pytest.warns(RuntimeWarning, match=r"No space left\. Saved in .*nmmo-gpu-run-"):
        run = train(config)
    (folder,) = (tmp_path / "tmp").iterdir()
    assert checkpoints.load(folder, CPU).counters["iteration"] == run.iteration == 2
    monkeypatch.undo()
    assert train(*resume(str(folder), iterations=3)).iteration == 3
    monkeypatch.setattr(checkpoints, "save", elsewhere)
    forbidden.append("all")
    with pytest.raises(CheckpointError, match="No space left"), pytest.warns(RuntimeWarning):
        train(small(tmp_path / "other", iterations=1))


def test_a_recorder_waits_for_no_dead_thread(tmp_path, monkeypatch):
    """With ``blocking``, an error of any kind in its thread is raised, by ``flush`` or ``wait``, as a
    ReplayError."""
    from nmmo_gpu.errors import ReplayError

    monkeypatch.setattr(SegmentWriter, "frames", lambda *_: {}["x"])
    run = Run(small(tmp_path))
    recorder = Recorder(run.god.env, (0,), 4, tmp_path, "t", blocking=True)
    with pytest.raises(ReplayError, match="KeyError"):
        for _ in range(20):
            recorder.flush()
        recorder.wait()
    with pytest.raises(ReplayError, match="KeyError"):
        recorder.close()


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    encoding = "utf-8"

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self):
        raise BrokenPipeError(32, "Broken pipe")


def test_output_outlives_its_stream():
    """Broken, closed and missing streams, and characters that the stream cannot encode."""
    closed = io.StringIO()
    closed.close()
    for stream in (Broken(), closed, None):
        output = Output(stream)
        assert output.write("text") == 4 and not output.isatty()
        output.flush()
    for terminal in (False, True):
        from rich.console import Console

        with Progress("t", Console(file=Output(Broken()), force_terminal=terminal)) as progress:
            progress.show({"a": "b"})
            progress.finish()
            progress.say("c")
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii")
    Output(ascii_only).write("mäp")
    ascii_only.flush()
    assert raw.getvalue() == b"m\\xe4p"


def test_names_with_brackets_are_shown_as_they_are(tmp_path, capsys):
    """They are not interpreted as markup, neither in a line nor in the panel's title."""
    from rich.console import Console

    for name in ("chaos[seed=1]", "a[/b]", "[bold]x", ":smile:"):
        text = io.StringIO()
        with Progress(f"title {name}", Console(file=text, force_terminal=True, width=80)) as progress:
            progress.show({name: name})
            progress.say(f"saved in {name}")
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
        assert f"title {name}" in plain and f"saved in {name}" in plain and plain.count(name) >= 3


TRAIN = (
    "train chaos --realms 2 --slots 16 --height 40 --width 40 --horizon 8 --epochs 1 --minibatches 2 "
    "--log-every 1 --checkpoint-minutes 60 --device cpu --iterations 30 --run"
)


def test_a_reader_that_goes_away(tmp_path):
    """When the reader of its output ends, a training goes on to its end, and exits with 0; ``info`` ends
    silently."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "nmmo_gpu"]
    process = subprocess.Popen(
        [*command, *TRAIN.split(), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    assert "iteration 1 " in process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0
    assert checkpoints.load(folder, CPU).counters["iteration"] == 30
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*command, "info", "chaos"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert ended.stderr == "" and ended.returncode in (141, 0), ended
    assert json.loads((folder / "config.json").read_text())["iterations"] == 30
