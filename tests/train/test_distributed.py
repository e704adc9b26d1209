"""Training in several processes of this machine: they learn what one process learns, and they stop, resume
and fail together. torchrun starts them where the test is about starting, stopping or restarting."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from train.example_runs import EXAMPLES
from train.small import CPU, assert_equal_states, small, state_of

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import distributed
from nmmo_gpu.train.class_names import STOCK
from nmmo_gpu.train.run import Run

WORKER = Path(__file__).with_name("distributed_worker.py")
SETTINGS = {"realms": 5, "slots": 12, "populations": 3, "horizon": 6, "minibatches": 1, "epochs": 1}
"""Five realms, which neither two nor three processes can share equally."""


def started(command: list[str], **more: object) -> subprocess.Popen[str]:
    """Starts a command that can import the tests' modules."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, **more)  # type: ignore[call-overload]


def torchrun(processes: int, *arguments: object, restarts: int = 0) -> subprocess.Popen[str]:
    """Starts the worker script with arguments in this many processes."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        f"--max-restarts={restarts}", "--monitor-interval=0.2", *map(str, arguments),
    ]  # fmt: skip
    return started(command, stderr=subprocess.STDOUT)


def finished(process: subprocess.Popen[str], status: int = 0) -> str:
    """Waits until the process ends with this status; returns its output."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    return output


@pytest.fixture(scope="module")
def together() -> Iterator[Callable[..., None]]:
    """Runs the worker's ``main`` with arguments in this many processes, as torchrun does, but without the
    seconds in which each imports torch: they are forks of one process (see the worker's ``serve``)."""
    with started([sys.executable, str(WORKER), "serve"], stdin=subprocess.PIPE) as server:

        def run(processes: int, *arguments: object) -> None:
            server.stdin.write(json.dumps([processes, *map(str, arguments)]) + "\n")
            server.stdin.flush()
            statuses, output = json.loads(server.stdout.readline())
            assert statuses == [0] * processes, output

        yield run
        server.stdin.close()


@pytest.fixture(scope="module")
def alone() -> list[dict[str, torch.Tensor]]:
    """Returns the results of one process after each iteration."""
    from train.distributed_worker import learn

    return learn()


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_learn_what_one_does(processes, tmp_path, alone, together):
    """The gradient of the first update equals that of one process with all realms up to rounding, and their
    realms then have the same history. After every update all processes hold identical weights and moments."""
    together(processes, "learn", tmp_path)
    held = [torch.load(tmp_path / f"{rank}.pt") for rank in range(processes)]
    for name, value in alone["first"]["gradients"].items():
        assert value.abs().max() > 0, name
        found = held[0]["first"]["gradients"][name]
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-6)
    for other in held[1:]:
        assert_equal_states(other["last"], held[0]["last"])
        assert_equal_states(other["first"]["weights"], held[0]["first"]["weights"])
    for name, whole in alone["played"].items():
        assert torch.equal(torch.cat([part["played"][name] for part in held]), whole), name
    assert held[0]["agent_steps"] == held[-1]["agent_steps"] > 100
    torch.testing.assert_close(held[0]["statistics"], alone["statistics"], rtol=1e-3, atol=1e-5)


def test_systems_play_the_same_in_several_processes(tmp_path, together):
    """The examples: worlds, rollouts and summed counters of three processes equal those of one."""
    from train.distributed_worker import play_examples

    alone = play_examples()
    together(3, "examples", tmp_path)
    held = [torch.load(tmp_path / f"{rank}.pt") for rank in range(3)]
    for name, one in alone.items():
        parts = [part[name] for part in held]
        for field, whole in one["world"].items():
            if field not in ("seed", "tick"):
                assert torch.equal(torch.cat([part["world"][field] for part in parts]), whole), field
        for field, whole in one["rollout"].items():
            if field in ("seed", "tick"):
                continue
            several = torch.cat([part["rollout"][field] for part in parts], 1)
            if field in ("value", "log_probability"):  # their sums depend on the size of a batch
                torch.testing.assert_close(several, whole, rtol=1e-4, atol=1e-5)
            else:
                assert torch.equal(several, whole), field
        for field, whole in one["counts"].items():
            for part in parts:
                torch.testing.assert_close(part["counts"][field], whole, rtol=1e-6, atol=0)
    counts = alone["chaos"]["counts"]
    assert counts["death_fog/agents harmed"] > 0 and counts["dense_regrowth/regrowths postponed"] > 0
    assert counts["daylight/light (scalar)"] > 0 and "trade_tax/gold taxed" in alone["full"]["counts"]


def test_realms_are_shared_evenly():
    """Each realm belongs to one process, in order, and the counts differ by at most one."""
    for realms in range(1, 30):
        for processes in range(1, realms + 1):
            parts = distributed.shards(realms, processes)
            assert [r for first, count in parts for r in range(first, first + count)] == list(range(realms))
            counts = [count for _, count in parts]
            assert max(counts) - min(counts) <= 1 and len(counts) == processes


def test_a_process_can_act_alone(monkeypatch):
    """Within the context it is the only process, and no part of its realms is taken away; afterwards it is
    one of several again, also after an error."""
    monkeypatch.setattr(distributed.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed.dist, "get_rank", lambda: 1)
    config = small(realms=4).env
    assert distributed.shard(config).realms == 2 and distributed.rank() == 1
    with pytest.raises(ZeroDivisionError), distributed.alone():
        assert distributed.shard(config) == config and distributed.rank() == 0
        raise ZeroDivisionError
    assert distributed.size() == 2 and distributed.rank() == 1


def test_more_processes_than_realms_are_refused(monkeypatch):
    """The last process would have no realm; the error says what to change."""
    monkeypatch.setattr(distributed, "size", lambda: 3)
    with pytest.raises(ConfigError, match="realms = 2, fewer than the 3 processes"):
        distributed.shard(small(realms=2).env)


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_checkpoint_of_two_processes_resumes_with_one_or_three(recurrent, tmp_path, together):
    """Every realm, its agents' recurrent state, the weights, the moments and the counters are restored, and
    the shards of earlier checkpoints are deleted. The recurrent run has systems."""
    run = tmp_path / "run"
    together(2, "train", run, 2, recurrent)
    stored = checkpoints.load(run, CPU)
    files = sorted(file.name for file in run.glob("*.safetensors"))
    assert files == ["checkpoint-2-1of2.safetensors", "checkpoint-2-2of2.safetensors", checkpoints.FILE]
    whole = Run(dataclasses.replace(stored.config, iterations=3), stored)
    assert whole.iteration == 2 and whole.agent_steps == int(whole.god.env.world.acted.sum()) > 50
    assert int(whole.god.env.world.tick) == 1 + 2 * 6 and whole.god.env.world.realms == 5
    assert whole.god.env.world.config.systems == (EXAMPLES["chaos"]["systems"] if recurrent else ())

    whole.iterate()
    assert whole.agent_steps == int(whole.god.env.world.acted.sum())

    together(3, "resume", run, 3)
    later = checkpoints.load(run, CPU)
    again = Run(later.config, later)
    assert again.iteration == 3 and len(list(run.glob("*.safetensors"))) == 1 + 3
    assert again.agent_steps == int(again.god.env.world.acted.sum())
    # The same realms with the same weights have also played the same ticks in between.
    assert again.god.env.world.digest() == whole.god.env.world.digest()
    for name, weight in state_of(whole).items():
        torch.testing.assert_close(state_of(again)[name], weight, rtol=1e-3, atol=1e-5)


def test_a_killed_process_is_restarted(tmp_path):
    """After kill -9 of one process in an iteration, torchrun starts both again. They resume from the last
    checkpoint and end normally; no process waits for the dead one."""
    run = tmp_path / "run"
    process = torchrun(2, WORKER, "die", run, 6, restarts=1)
    output = finished(process)
    assert "dies in iteration 4" in output and "resumes after iteration 3" in output, output
    stored = checkpoints.load(run, CPU)
    assert stored.classes == STOCK._replace(pantheon="distributed_worker:Mortal")
    world = Run(stored.config, dataclasses.replace(stored, classes=STOCK)).god.env.world
    assert stored.counters["iteration"] == 6
    assert stored.counters["agent_steps"] == int(world.acted.sum())
    assert int(world.tick) == 1 + 6 * 6, "the lost iteration is repeated"


def test_the_command_in_the_docs_stops_at_a_signal(tmp_path):
    """``torchrun ... -m -- nmmo_gpu train``: options that torchrun has too reach the package. At SIGTERM to
    torchrun, all processes finish their iteration and save together."""
    run = tmp_path / "run"
    options = {
        "realms": 3, "slots": 8, "populations": 2, "height": 40, "width": 40, "horizon": 4, "minibatches": 2,
        "iterations": 100000, "checkpoint-minutes": 0, "backend": "torch", "run": run,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    process = torchrun(2, "-m", "--", "nmmo_gpu", "train", "chaos", *words)
    deadline = time.monotonic() + 120
    while not (run / checkpoints.FILE).exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    stored = checkpoints.load(run, CPU)
    world = Run(stored.config, stored).god.env.world
    assert stored.config.env.realms == world.realms == 3
    assert stored.counters["iteration"] > 0 and "stopped; saved in" in output
    assert int(world.tick) == 1 + stored.counters["iteration"] * 4
