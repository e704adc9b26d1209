"""The benchmark: what it measures, and what it reports with the figures."""

from __future__ import annotations

import dataclasses
import gc
import json
import platform
import weakref
from types import SimpleNamespace

import pytest
import torch
from train.small import small

from nmmo_gpu.benchmarks import bench as benchmark
from nmmo_gpu.benchmarks.bench import COLUMNS, GRID_AGENTS, GRID_SLOTS, BenchConfig, bench, machine, settings
from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.errors import ConfigError

TRAIN = small(births=-1, horizon=4, seed=1)
QUICK = BenchConfig(
    env=TRAIN.env, policy=TRAIN.policy, ppo=TRAIN.ppo, batches=(1, 3), repeats=1, seconds=0.001
)


@pytest.mark.parametrize("recurrent", [False, True])
def test_results_of_each_batch_size_are_reported(tmp_path, recurrent):
    """Each batch size gives three positive rates and ticks per second, reported as they are measured, with
    hardware, versions and settings. The file equals the returned results."""
    policy = dataclasses.replace(TRAIN.policy, recurrent=recurrent)
    config = dataclasses.replace(QUICK, policy=policy, json=str(tmp_path / "out.json"))
    reported = []
    found = bench(config, reported.append)
    assert reported == found["results"]
    assert [(row["realms"], row["slots"]) for row in reported] == [(1, 16), (3, 16)]
    assert len(COLUMNS) == 3
    for row in reported:
        for column in (*COLUMNS, "ticks/s"):
            assert isinstance(row[column], float) and row[column] > 0, column
        assert row["side"] == 40
    assert found["world"]["slots"] == 16 and found["policy"]["recurrent"] == recurrent
    assert found["ppo"]["horizon"] == 4 and found["backend"] in ("numba", "torch")
    versions = found["machine"]["versions"]
    assert versions["torch"] == torch.__version__ and versions["python"] == platform.python_version()
    described = found["machine"]
    assert described["device"] == "cpu" and described["cpu"] and described["torch_threads"] > 0
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(json.dumps(found))


def test_an_unwritable_file_is_found_before_measuring(tmp_path):
    """Raises ConfigError with the field and the value; no batch size is measured."""
    where = str(tmp_path / "nowhere" / "out.json")
    with pytest.raises(ConfigError, match=r"json = .*out\.json.* cannot be written"):
        bench(dataclasses.replace(QUICK, json=where), lambda row: pytest.fail("measured"))


def test_only_the_chosen_columns_are_measured(tmp_path):
    """The columns are the environment alone, or also with the policy."""
    for columns, expected in (("environment", 1), ("policy", 2)):
        found = bench(dataclasses.replace(QUICK, batches=(2,), columns=columns), lambda row: None)
        (row,) = found["results"]
        assert [column for column in COLUMNS if column in row] == list(COLUMNS[:expected])


def test_measurements_hold_memory_one_at_a_time(monkeypatch):
    """What earlier columns and batches allocated is freed before the next one allocates."""
    worlds, left = [], []

    def counted(self, *arguments):
        gc.disable()  # from here on, garbage is collected by explicit calls only
        left.append(sum(world() is not None for world in worlds))
        begin(self, *arguments)
        worlds.append(weakref.ref(self.world))

    begin = benchmark.Env.__init__
    monkeypatch.setattr(benchmark.Env, "__init__", counted)
    try:
        bench(QUICK, lambda row: None)
    finally:
        gc.enable()
    assert left == [0] * 6


def test_the_file_is_written_after_each_row(tmp_path):
    """So no result is lost when a larger setting fails."""
    file, rows = tmp_path / "out.json", []

    def look(row):
        if file.exists():
            rows.append(len(json.loads(file.read_text())["results"]))

    bench(dataclasses.replace(QUICK, batches=(1, 1, 2), columns="environment", json=str(file)), look)
    assert rows == [1, 2] and len(json.loads(file.read_text())["results"]) == 3


def test_only_living_agents_are_counted():
    """A timed call adds its agent-steps and its ticks to the world's counts."""
    env = dataclasses.replace(TRAIN.env, realms=3)
    train = dataclasses.replace(TRAIN, env=env)
    works = (
        (1, benchmark._environment(env)), (4, benchmark._with_policy(train)), (4, benchmark._training(train)),
    )  # fmt: skip
    for ticks, work in works:
        before = benchmark._counts(work.world)
        for _ in range(4):
            work.run()
            steps, tick = benchmark._counts(work.world)
            assert 0 < steps - before[0] <= 3 * 16 * ticks and tick - before[1] == ticks
            before = steps, tick


def test_the_rate_is_the_median_of_the_repeats(monkeypatch):
    """Each timed run, after the warm-up, gives agent-steps and ticks per second; the result is their
    median."""
    times = iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.0, 30.0, 34.0, 40.0, 42.0])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(times))
    world = SimpleNamespace(acted=torch.zeros(2), tick=torch.zeros(1))
    calls = []

    def work():
        calls.append(1)
        world.acted += 5
        world.tick += 2

    # Warm-up of 3 calls, then 2 calls in 2 s: one call takes 1 s, so timed runs of 3 s have 3 calls.
    config = dataclasses.replace(QUICK, repeats=3, seconds=3.0)
    rates = benchmark.measure(benchmark.Work(work, world), config)
    assert len(calls) == 3 + 2 + 3 * 3
    assert rates == (15.0, 3.0), "30 steps and 6 ticks in 1, 4 and 2 seconds"


@pytest.mark.parametrize("largest", [1 << 14, 1 << 17, 1 << 20])
def test_a_grid_varies_agents_and_slots(largest):
    """It has realms of every size with every number of agents that they divide, up to the largest. Maps have
    64 tiles per slot, as in preset million, and the rules are unchanged."""
    grid = settings(dataclasses.replace(QUICK, grid=True, largest=largest))
    found = [(env.world.slots, env.realms * env.world.slots) for env in grid]
    expected = {
        (slots, agents) for slots in GRID_SLOTS for agents in GRID_AGENTS if slots <= agents <= largest
    }  # fmt: skip
    assert len(found) == len(set(found)) and set(found) == expected
    assert max(agents for _, agents in found) == largest
    for env in grid:
        config = env.world
        assert config.height == config.width and 60 * config.slots < config.height**2 <= 64 * config.slots
        assert config.spawn == "anywhere" and config.births == QUICK.env.world.births == -1
    million = preset("million")
    assert 60 * million.slots < million.height * million.width <= 64 * million.slots


def test_a_grid_keeps_the_stock_world():
    """Realms with as many slots as the rules have keep their map and their births."""
    config = preset("chaos", births=-1)
    env = dataclasses.replace(QUICK.env, world=config)
    grid = settings(dataclasses.replace(QUICK, env=env, grid=True))
    assert [env.world == config for env in grid] == [env.world.slots == config.slots for env in grid]
    assert any(env.world == config for env in grid)


def test_the_machine_is_described():
    """Device, processor, threads, system, versions and date are given, and a missing device is refused."""
    found = machine("cpu")
    assert set(found) == {"device", "cpu", "torch_threads", "system", "versions", "date"}
    assert set(found["versions"]) == {"python", "torch", "triton", "numba"}
    with pytest.raises(ConfigError, match="abacus"):
        machine("abacus")


def test_the_full_game_is_measured_with_all_its_heads():
    """NPCs follow the agents in the world's tensors and get no actions."""
    config = preset("full", height=33, width=47, border=7, slots=7, populations=7, npc_numbers=(2, 1, 1))
    work = benchmark._environment(EnvConfig(world=config, realms=2, device="cpu", backend="torch"))
    before = int(work.world.tick)
    work.run()
    assert int(work.world.tick) == before + 1 and len(work.world.alive[0]) == 11
