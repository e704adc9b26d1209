"""The benchmark's numbers: what is measured, and what is written down with it."""

from __future__ import annotations

import dataclasses
import json
import platform

import pytest
import torch
from train.small import small

from nmmo_gpu import bench as benchmark
from nmmo_gpu.bench import COLUMNS, BenchConfig, bench, machine
from nmmo_gpu.errors import ConfigError

TRAIN = small(births=-1, horizon=4, seed=1)
QUICK = BenchConfig(
    env=TRAIN.env, policy=TRAIN.policy, ppo=TRAIN.ppo, batches=(1, 3), repeats=1, seconds=0.001
)


@pytest.mark.parametrize("recurrent", [False, True])
def test_results(tmp_path, recurrent):
    """Three positive rates for each batch size, reported as they come, with hardware, versions and settings;
    the file holds what is returned."""
    policy = dataclasses.replace(TRAIN.policy, recurrent=recurrent)
    config = dataclasses.replace(QUICK, policy=policy, json=str(tmp_path / "out.json"))
    reported = []
    found = bench(config, reported.append)
    assert reported == found["results"]
    assert [(row["realms"], row["slots"]) for row in reported] == [(1, 16), (3, 16)]
    assert len(COLUMNS) == 3
    for row in reported:
        assert all(isinstance(row[column], float) and row[column] > 0 for column in COLUMNS)
    assert found["rules"]["slots"] == 16 and found["policy"]["recurrent"] == recurrent
    assert found["ppo"]["horizon"] == 4 and found["backend"] in ("numba", "torch")
    versions = found["machine"]["versions"]
    assert versions["torch"] == torch.__version__ and versions["python"] == platform.python_version()
    described = found["machine"]
    assert described["device"] == "cpu" and described["cpu"] and described["torch_threads"] > 0
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(json.dumps(found))


def test_an_unwritable_file_is_found_before_measuring(tmp_path):
    """ConfigError with the field and the value; no batch size is measured."""
    where = str(tmp_path / "nowhere" / "out.json")
    with pytest.raises(ConfigError, match=r"json = .*out\.json.* cannot be written"):
        bench(dataclasses.replace(QUICK, json=where), lambda row: pytest.fail("measured"))


def test_each_count_is_of_living_agents():
    """What a timed call returns is the agent-steps that were lived in it, by the world's own count."""
    env = dataclasses.replace(TRAIN.env, realms=3)
    train = dataclasses.replace(TRAIN, env=env)
    for work in (benchmark._environment(env), benchmark._with_policy(train), benchmark._training(train)):
        counts = [work() for _ in range(4)]
        assert all(0 < count <= 3 * 16 * 4 for count in counts)


def test_the_median_of_the_repeats(monkeypatch):
    """Agent-steps over seconds of each timed run; the median of them, after the warm-up."""
    times = iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.0, 30.0, 34.0, 40.0, 42.0])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(benchmark.torch.cuda, "is_available", lambda: False)
    calls = []

    def work():
        calls.append(1)
        return 10

    # Warm-up of 3 calls, then 2 calls in 2 s: one call takes 1 s, so timed runs of 3 s have 3 calls.
    rate = benchmark._measure(work, dataclasses.replace(QUICK, repeats=3, seconds=3.0))
    assert len(calls) == 3 + 2 + 3 * 3
    assert rate == 15.0, "30 steps in 1, 4 and 2 seconds"


def test_the_machine_is_described():
    """Device, processor, threads, system, versions and date; and a device that is not there is refused."""
    found = machine("cpu")
    assert set(found) == {"device", "cpu", "torch_threads", "system", "versions", "date"}
    assert set(found["versions"]) == {"python", "torch", "triton", "numba"}
    with pytest.raises(ConfigError, match="abacus"):
        machine("abacus")
