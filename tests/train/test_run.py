"""Whole runs: reproducible, resumable, safe when killed, and refused where they are impossible."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from support.helpers import ODD
from train.small import (
    CPU,
    FULL,
    KINDS,
    NETWORKS,
    assert_equal_states,
    reloaded,
    resume_as_stock,
    small,
    state_of,
)

from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import run as runs
from nmmo_gpu.train.metrics import summarize
from nmmo_gpu.train.ppo import STATISTICS
from nmmo_gpu.train.readback import Readback
from nmmo_gpu.train.reporter import Reporter
from nmmo_gpu.train.run import Run, Trinity, resume, train
from nmmo_gpu.train.stop import StopRequest
from nmmo_gpu.train.trinity import God, Pantheon


def played(config, iterations):
    """Returns a run after some iterations."""
    run = Run(config)
    for _ in range(iterations):
        run.iterate()
    return run


CROWD = {
    **ODD, **FULL, "slots": 21, "populations": 3, "realms": 3, "births": -1, "immune_ticks": 2, "horizon": 9,
    "targeting": "learned", "recurrent": True,
}  # fmt: skip
"""The full game on a non-square map, with all options of a policy."""


@pytest.mark.parametrize(("settings", "iterations"), [({}, 50), (CROWD, 4)], ids=["chaos", "full"])
def test_the_same_seed_gives_the_same_run(settings, iterations):
    """After this many iterations, weights, optimizer, recurrent state, tally and world are identical; another
    seed gives others."""
    settings = {**settings, "iterations": iterations}
    one, same = (played(small(**settings), iterations) for _ in range(2))
    assert one.god.env.world.digest() == same.god.env.world.digest()
    assert_equal_states(state_of(one), state_of(same))
    assert int(one.god.env.world.deaths.sum()) > 100
    assert one.iteration == iterations and one.progress() == 1.0

    other = played(small(**{**settings, "seed": 4}), 3)
    third = played(small(**settings), 3)
    assert other.god.env.world.digest() != third.god.env.world.digest()
    for (name, a), b in zip(
        other.sword.policy.named_parameters(), third.sword.policy.parameters(), strict=True
    ):
        assert not torch.equal(a, b), name


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_a_resumed_run_equals_an_uninterrupted_one(recurrent, targeting, tmp_path):
    """Saved after 3 iterations, loaded into a new run and continued to 7, all state is identical to that of a
    run in one piece: weights, optimizer, recurrent state, tally, visits, counters and world."""
    config = small(recurrent=recurrent, targeting=targeting, iterations=7, epochs=2)
    whole = played(config, 7)
    first = played(config, 3)
    stored = reloaded(first, tmp_path / checkpoints.FILE)
    second = Run(stored.config, stored)
    assert second.iteration == 3 and second.agent_steps == first.agent_steps
    for _ in range(4):
        second.iterate()
    assert_equal_states(state_of(second), state_of(whole))
    assert second.god.env.world.digest() == whole.god.env.world.digest()
    assert second.god.tally.summary() == whole.god.tally.summary()
    assert torch.equal(second.god.visits, whole.god.visits)
    assert second.god.recurrent_state is whole.god.recurrent_state is None or torch.equal(
        second.god.recurrent_state, whole.god.recurrent_state
    )


def test_agent_steps_count_living_agents():
    """The counter equals the world's own count, and each tick of the horizon counts once."""
    run = played(small(horizon=5), 6)
    world = run.god.env.world
    assert run.agent_steps == int(world.acted.sum()) > 0
    assert int(world.tick) == 1 + 6 * 5 and int(run.god.tally.sums[0]) == 2 * 30


def rates_of(run, iterations):
    """Returns the learning rate of each of the next iterations."""
    rates = []
    for _ in range(iterations):
        run.iterate()
        rates.append(run.pantheon.optimizer.param_groups[0]["lr"])
    return rates


def resumed(run, path, **limits):
    """Returns the run, resumed from its checkpoint with other limits."""
    stored = reloaded(run, path)
    return Run(dataclasses.replace(stored.config, **limits), stored)


FALLING = {"learning_rate": 8e-3, "final_learning_rate": 4e-3}


def test_the_learning_rate_is_linear():
    """It goes from the first value to the last with the share of the run that is done when the update
    starts."""
    run = Run(small(iterations=4, **FALLING))
    seen = []
    while run.progress() < 1.0:
        seen += rates_of(run, 1)
    assert seen == pytest.approx([8e-3, 7e-3, 6e-3, 5e-3])


def test_a_run_with_another_limit_continues_at_its_learning_rate(tmp_path):
    """The rate falls linearly from the value that it had reached to the last one at the new limit, whether
    that is later or earlier, also if the run is resumed several times."""
    path = tmp_path / checkpoints.FILE
    run = Run(small(iterations=4, **FALLING))
    assert rates_of(run, 2) == pytest.approx([8e-3, 7e-3])
    longer = resumed(run, path, iterations=10)
    assert rates_of(longer, 2) == pytest.approx([6e-3, 5.75e-3])
    same = resumed(longer, path)
    assert rates_of(same, 2) == rates_of(longer, 2) == pytest.approx([5.5e-3, 5.25e-3])
    shorter = resumed(same, path, iterations=8)
    assert rates_of(shorter, 2) == pytest.approx([5e-3, 4.5e-3])
    assert shorter.progress() == shorter.schedule() == 1.0
    timed = resumed(same, path, iterations=None, minutes=2 * same.seconds / 60)
    assert rates_of(timed, 1) == pytest.approx([5e-3])
    endless = resumed(same, path, iterations=None)
    assert rates_of(endless, 2) == pytest.approx([5e-3, 5e-3])
    ending = resumed(endless, path, iterations=10)
    assert rates_of(ending, 2) == pytest.approx([5e-3, 4.5e-3])


def test_a_finished_run_continues_at_the_last_learning_rate(tmp_path):
    run = played(small(iterations=2, **FALLING), 2)
    longer = resumed(run, tmp_path / checkpoints.FILE, iterations=5)
    assert rates_of(longer, 3) == [4e-3] * 3


def test_a_run_that_gets_a_limit_begins_to_anneal(tmp_path):
    """Its rate was constant before."""
    run = Run(small(**FALLING))
    assert rates_of(run, 3) == [8e-3] * 3
    limited = resumed(run, tmp_path / checkpoints.FILE, iterations=5)
    assert rates_of(limited, 2) == pytest.approx([8e-3, 6e-3])


def test_progress_follows_the_nearer_limit():
    """It is the larger share of minutes and iterations, at most 1, and 0 without limits."""
    run = Run(small(minutes=2.0, iterations=10))
    assert run.progress() == 0.0
    run.iteration, run.seconds = 3, 12.0
    assert run.progress() == pytest.approx(0.3)
    run.seconds = 90.0
    assert run.progress() == pytest.approx(0.75)
    run.iteration = 25
    assert run.progress() == 1.0
    endless = Run(small())
    endless.iteration, endless.seconds = 10**6, 1e9
    assert endless.progress() == 0.0


def test_train_stops_at_its_iterations(tmp_path, capsys):
    """The folder has a checkpoint of the last iteration and the config."""
    config = small(tmp_path / "deep" / "run", iterations=3, log_every=2)
    run = train(config)
    assert run.iteration == 3
    stored = checkpoints.load(tmp_path / "deep" / "run", CPU)
    assert stored.counters["iteration"] == 3 and stored.config == config
    assert_equal_states(state_of(Run(config, stored)), state_of(run))
    written = json.loads((tmp_path / "deep" / "run" / "config.json").read_text())
    assert written == json.loads(json.dumps(to_plain(config)))
    lines = capsys.readouterr().out.splitlines()
    assert lines and lines[-1].startswith("iteration 3")


def test_train_stops_at_its_minutes(tmp_path):
    """The limit is in seconds of training. The iteration that exceeds it is the last and is saved."""
    config = small(tmp_path / "run", minutes=0.0005)
    run = train(config)
    stored = checkpoints.load(tmp_path / "run", CPU)
    assert run.seconds >= 0.03 and run.progress() == 1.0
    assert stored.counters == {
        "iteration": run.iteration, "agent_steps": run.agent_steps, "seconds": run.seconds,
        "schedule_scale": 1.0,
    }  # fmt: skip


# IterationStats.


def test_iteration_stats():
    """On a CPU they are available immediately: number, agent-steps, the learner's statistics, and the tally
    since the last report. Later iterations do not change them."""
    run = Run(small(slots=32, births=-1, immune_ticks=2))
    received, copies, counted = [], [], 0
    for iteration, report in enumerate((False, True, False, False, True), 1):
        acted = int(run.god.env.world.acted.sum())
        (stats,) = run.iterate(report=report)
        steps = int(run.god.env.world.acted.sum()) - acted
        counted += steps
        assert (stats.iteration, stats.report, stats.steps) == (iteration, report, steps)
        assert stats.seconds > 0 and 0 < stats.collect_share < 1
        assert stats.counts.keys() == run.god.tally.state().keys()
        assert stats.statistics.keys() == {*STATISTICS, "grad_norm", "explained_variance"}
        assert all(values.shape == (2,) and values.isfinite().all() for values in stats.statistics.values())
        assert summarize(stats.counts)["agent_steps"] == counted, "steps since the last report"
        assert int(run.god.tally.sums.sum()) == (0 if report else int(stats.counts["sums"].sum()))
        counted *= not report
        received.append(stats)
        copies.append({name: tensor.clone() for name, tensor in (stats.counts | stats.statistics).items()})
        assert run.synchronize() == []
    assert run.agent_steps == sum(stats.steps for stats in received)
    assert run.seconds == sum(stats.seconds for stats in received)
    for stats, copy in zip(received, copies, strict=True):
        for name, tensor in (stats.counts | stats.statistics).items():
            assert torch.equal(tensor, copy[name]), name
    assert not torch.equal(copies[0]["policy_loss"], copies[3]["policy_loss"])


class Late(Readback):
    """Letters arrive one call later, as on a GPU."""

    def __init__(self, device):
        super().__init__(device)
        self.kept = []

    def send(self, tensors, note):
        before, self.kept = self.kept, super().send(tensors, note)
        return before

    def receive(self):
        before, self.kept = self.kept, []
        return before


def test_late_stats_are_the_same(monkeypatch):
    """If letters arrive one call later, so do the stats and the counters. After all are received, none is
    missing and none has come twice."""
    prompt = Run(small())
    monkeypatch.setattr(runs, "Readback", Late)
    late = Run(small())
    reports = (False, False, True, False)
    at_once = [stats for report in reports for stats in prompt.iterate(report=report)]
    received = []
    for iteration, report in enumerate(reports):
        stats = late.iterate(report=report)
        assert len(stats) == (iteration > 0) and late.iteration == iteration + 1
        received += stats
        assert late.agent_steps == sum(one.steps for one in received)
    received += late.synchronize()
    assert late.synchronize() == [] and len(received) == len(at_once) == 4
    for one, other in zip(received, at_once, strict=True):
        assert one[:3] == other[:3]
        for found, expected in ((one.counts, other.counts), (one.statistics, other.statistics)):
            assert found.keys() == expected.keys()
            assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert_equal_states(state_of(late), state_of(prompt))


@pytest.mark.parametrize("readback", [Readback, Late])
@pytest.mark.parametrize(
    ("iterations", "log_every", "expected"),
    [(7, 3, [3, 6, 7]), (6, 3, [3, 6]), (2, 5, [2]), (3, 1, [1, 2, 3])],
)
def test_reports_come_every_few_iterations_and_at_the_end(
    readback, iterations, log_every, expected, tmp_path, monkeypatch
):
    """There is one report per ``log_every`` iterations and one for the rest, whenever stats arrive, with a
    checkpoint after each iteration; together the reports count every tick once."""
    reports = []
    monkeypatch.setattr(runs, "Readback", readback)
    monkeypatch.setattr(
        Reporter,
        "report",
        lambda self, stats: reports.append((stats, self.run.agent_steps, self.run.iteration)),
    )
    run = train(
        small(tmp_path, iterations=iterations, log_every=log_every, checkpoint_minutes=0.0, horizon=3)
    )
    assert [stats.iteration for stats, _, _ in reports] == expected
    ticks = [summarize(stats.counts)["agent_steps"] for stats, _, _ in reports]
    lengths = [int(stats.counts["sums"][0]) for stats, _, _ in reports]
    assert sum(ticks) == run.agent_steps == reports[-1][1] == int(run.god.env.world.acted.sum())
    assert lengths == [2 * 3 * (b - a) for a, b in itertools.pairwise([0, *expected])]
    assert not run.god.tally.sums.any(), "the tally is reset after a report"


def test_reports_between_checkpoints(tmp_path, monkeypatch):
    """With late stats and no checkpoint in between, the report comes with the next iteration, and a
    checkpoint's counters include all iterations."""
    reports = []
    monkeypatch.setattr(runs, "Readback", Late)
    monkeypatch.setattr(
        Reporter, "report", lambda self, stats: reports.append((stats.iteration, self.run.iteration))
    )
    run = train(small(tmp_path, iterations=5, log_every=2, checkpoint_minutes=60.0))
    assert reports == [(2, 3), (4, 5), (5, 5)]
    stored = checkpoints.load(tmp_path, CPU)
    assert stored.counters["iteration"] == 5
    assert stored.counters["agent_steps"] == run.agent_steps == int(run.god.env.world.acted.sum())


def test_checkpoints_follow_checkpoint_minutes(tmp_path, monkeypatch):
    """checkpoint_minutes = 0 saves after every iteration; a long time saves after the last only."""
    for name, minutes, expected in (("often", 0.0, [1, 2, 3]), ("seldom", 60.0, [3])):
        saved = []
        monkeypatch.setattr(runs.Run, "save", lambda run, saved=saved: saved.append(run.iteration))
        train(small(tmp_path / name, iterations=3, checkpoint_minutes=minutes))
        assert saved == expected


def everything(folder):
    """Returns the names and contents of all files in a folder."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_used_folder_is_not_overwritten(tmp_path):
    """A new run in a folder that has one is refused, and no byte in it changes."""
    config = small(tmp_path / "run", iterations=1)
    train(config)
    before = everything(tmp_path)
    with pytest.raises(ConfigError, match=r"run = .*already holds a run.*--resume"):
        train(dataclasses.replace(config, iterations=9, policy=dataclasses.replace(config.policy, hidden=16)))
    assert everything(tmp_path) == before


def test_an_impossible_folder_is_refused(tmp_path):
    """A path below a file raises ConfigError before the first tick."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"run = .*cannot be written"):
        train(small(tmp_path / "file" / "run", iterations=1))
    with pytest.raises(ConfigError, match=r"run = .*cannot be written"):
        train(small(tmp_path / "file", iterations=1))
    assert (tmp_path / "file").read_text() == "mine"


def test_resuming_at_a_limit_is_refused(tmp_path):
    """ConfigError names the limit, iterations or minutes. A larger limit works, and so does the other one
    alone."""
    folder = tmp_path / "run"
    run = train(small(folder, iterations=2))
    for limits in ({}, {"iterations": 1}, {"iterations": 2}):
        with pytest.raises(
            ConfigError, match=r"iterations = \d has been reached.*\(2 so far\).*--iterations"
        ):
            resume(str(folder), **limits)
    with pytest.raises(ConfigError, match=r"minutes = .* has been reached"):
        resume(str(folder), iterations=9, minutes=run.seconds / 60 / 2)
    config, stored = resume(str(folder), iterations=5, log_every=7)
    assert (config.iterations, config.log_every, config.run) == (5, 7, str(folder))
    assert stored.counters["iteration"] == 2


def test_resume_continues_in_the_same_folder(tmp_path):
    """``train()`` continues to the new limit, also after the folder has moved."""
    train(small(tmp_path / "run", iterations=2))
    (tmp_path / "run").rename(tmp_path / "moved")
    run = train(*resume(str(tmp_path / "moved"), iterations=4))
    assert run.iteration == 4 and not (tmp_path / "run").exists()
    stored = checkpoints.load(tmp_path / "moved", CPU)
    assert stored.counters["iteration"] == 4
    assert stored.config.run == str(tmp_path / "moved") and stored.config.iterations == 4
    assert json.loads((tmp_path / "moved" / "config.json").read_text())["iterations"] == 4


# Signals.


def signaling(kind, number, iteration):
    """Returns a God that sends a signal to its own process in its n-th rollout."""

    class Signaling(kind):
        rollouts = 0

        def collect(self):
            type(self).rollouts += 1
            if self.rollouts == iteration:
                os.kill(os.getpid(), number)
            return super().collect()

    return Signaling


@pytest.mark.parametrize(("number", "network"), [
    (signal.SIGTERM, "plain"), (signal.SIGINT, "recurrent"), (signal.SIGHUP, "plain"),
    (signal.SIGUSR1, "plain"),
])  # fmt: skip
def test_a_signal_finishes_the_iteration_and_saves(number, network, tmp_path, capsys):
    """A run that is stopped by a signal in its third rollout and resumed ends as if it had never been
    stopped. The signal handlers are restored, and the output says how to resume."""
    folder = tmp_path / "run"
    config = small(folder, recurrent=NETWORKS[network], iterations=6)
    # The tests may run where signals are ignored, as under nohup.
    former = signal.signal(number, signal.SIG_DFL)
    try:
        run = train(config, trinity=Trinity(god=signaling(God, number, 3)))
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, former)
    assert run.iteration == 3
    assert f"--resume {folder}" in capsys.readouterr().out
    second = train(*resume_as_stock(folder))
    assert second.iteration == 6
    states = [state_of(second), state_of(played(config, 6))]
    # Reports reset the tally, and the two runs reported after different iterations.
    for state in states:
        for name in list(state):
            if name.startswith("god.tally"):
                del state[name]
    assert_equal_states(*states)


def test_a_second_signal_has_its_usual_effect():
    """A second Ctrl-C interrupts immediately; afterwards the previous handler is restored."""
    # A shell's background processes ignore this signal; here it interrupts, as in a terminal.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
            assert not stop.wanted
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)
            assert stop.wanted
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, former)


def test_ignored_signals_stay_ignored():
    """As SIGHUP is under nohup. All handlers are restored."""
    names = [signal.SIGHUP, signal.SIGUSR1]
    former = {number: signal.signal(number, signal.SIG_IGN) for number in names}
    try:
        with StopRequest() as stop:
            for number in names:
                os.kill(os.getpid(), number)
            assert not stop.wanted
        assert all(signal.getsignal(number) == signal.SIG_IGN for number in names)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def test_a_signal_during_a_report_is_saved(tmp_path, monkeypatch):
    """Even if it arrives after the iteration, while the report is written, the folder has what train() says
    it has saved."""
    report = Reporter.report

    def late(*arguments):
        report(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Reporter, "report", late)
    run = train(small(tmp_path / "run", iterations=50, log_every=2, checkpoint_minutes=60.0))
    assert run.iteration == 2
    assert (tmp_path / "run" / checkpoints.FILE).exists()
    assert checkpoints.load(tmp_path / "run", CPU).counters["iteration"] == 2


def test_an_exception_keeps_the_last_checkpoint(tmp_path):
    """A learner that fails ends the run, the signal handlers are restored, and the checkpoint is valid."""

    class Failing(Pantheon):
        def learn(self, rollout, progress):
            if progress > 0.4:
                raise ZeroDivisionError
            return super().learn(rollout, progress)

    before = signal.getsignal(signal.SIGTERM)
    config = small(tmp_path / "run", iterations=4, checkpoint_minutes=0.0)
    with pytest.raises(ZeroDivisionError):
        train(config, trinity=Trinity(pantheon=Failing))
    assert signal.getsignal(signal.SIGTERM) == before
    assert checkpoints.load(tmp_path / "run", CPU).counters["iteration"] == 2
    assert train(*resume_as_stock(tmp_path / "run")).iteration == 4


FLAGS = [
    "--height", "40", "--width", "40", "--slots", "16", "--populations", "2", "--realms", "2",
    "--hidden", "8", "--horizon", "8", "--minibatches", "2", "--device", "cpu",
    "--log-every", "1", "--checkpoint-minutes", "0",
]  # fmt: skip


def signaled(tmp_path):
    """Returns, by signal, (folder, exit status, output) of three training processes that got it after their
    first save."""
    numbers = {"TERM": signal.SIGTERM, "INT": signal.SIGINT, "KILL": signal.SIGKILL}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = {}
    for name in numbers:
        folder = tmp_path / name / "run"
        command = [sys.executable, "-m", "nmmo_gpu", "train", "chaos", *FLAGS, "--run", str(folder)]
        started[name] = (
            folder,
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ),
        )
    deadline = time.monotonic() + 120
    training = dict(started)
    while training:
        assert time.monotonic() < deadline, "no checkpoint in two minutes"
        for name, (folder, process) in list(training.items()):
            if (folder / checkpoints.FILE).exists() or process.poll() is not None:
                process.send_signal(numbers[name])
                del training[name]
        time.sleep(0.05)
    found = {}
    for name, (folder, process) in started.items():
        output, _ = process.communicate(timeout=60)
        found[name] = folder, process.returncode, output
    return found


def test_stopped_processes_save_and_a_killed_one_leaves_a_valid_checkpoint(tmp_path):
    """A stopped one leaves a checkpoint, says how to resume, and exits with 0, without a traceback. After
    kill -9 at some moment of a run that saves continuously, the file loads and the run resumes."""
    processes = signaled(tmp_path)
    for name in ("TERM", "INT"):
        folder, status, output = processes[name]
        assert status == 0, output
        assert f"nmmo-gpu train --resume {folder}" in output.replace("\n", "") and "Traceback" not in output
        stored = checkpoints.load(folder, CPU)
        assert stored.counters["iteration"] >= 1
        assert Run(stored.config, stored).iterate()

    folder, status, _ = processes["KILL"]
    assert status == -signal.SIGKILL
    stored = checkpoints.load(folder, CPU)
    run = train(*resume(str(folder), iterations=int(stored.counters["iteration"]) + 2))
    assert run.iteration == stored.counters["iteration"] + 2


def test_a_run_started_on_a_gpu_resumes_without_one(tmp_path):
    """A run saved with the backend and device of GPUs resumes on the available device."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    begun = Run(small(tmp_path))
    begun.iterate()
    stored = begun.checkpoint()
    env = dataclasses.replace(stored.config.env, backend="triton", device="cuda:1")
    stored = dataclasses.replace(stored, config=dataclasses.replace(stored.config, env=env))
    checkpoints.save(tmp_path / checkpoints.FILE, stored)
    config, found = resume(str(tmp_path), iterations=2)
    assert found.config.env.backend == "triton" and config.env.backend == config.env.device == "auto"
    assert train(config, found).iteration == 2
