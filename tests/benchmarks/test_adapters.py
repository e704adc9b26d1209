"""The adapters' rates compared with the native environment's."""

from __future__ import annotations

import dataclasses
import json
import sys

from train.small import small

from nmmo_gpu.benchmarks.adapters import BATCHED, ONE_REALM, SINGLE, bench_adapters
from nmmo_gpu.benchmarks.bench import BenchConfig

TRAIN = small(births=-1, realms=3, seed=1)
QUICK = BenchConfig(
    env=TRAIN.env, policy=TRAIN.policy, ppo=TRAIN.ppo, batches=(3,), repeats=1, seconds=0.001, adapters=True
)


def test_each_adapter_is_measured_with_the_native_environment(tmp_path):
    """Each rate is positive and measured on the same batch; shares refer to the native rate of that batch."""
    reported = []
    config = dataclasses.replace(QUICK, json=str(tmp_path / "out.json"))
    found = bench_adapters(config, reported.append)
    assert reported == found["results"] == json.loads((tmp_path / "out.json").read_text())["results"]
    assert [(row["name"], row["realms"]) for row in reported] == [
        *((name, 3) for name in BATCHED),
        *((name, 1) for name in ONE_REALM),
    ]
    native = {row["realms"]: row["rate"] for row in reported if row["name"] == "native"}
    for row in reported:
        assert row["rate"] > 0 and row["slots"] == 16
        assert row["share"] == row["rate"] / native[row["realms"]]
    assert reported[-1]["name"] == SINGLE and reported[-1]["rate"] < native[1]


def test_a_missing_library_is_left_out(monkeypatch):
    """Its row says what to install, and the others are measured."""
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    monkeypatch.delitem(sys.modules, "nmmo_gpu.adapters.pettingzoo", raising=False)
    reported = []
    found = bench_adapters(QUICK, reported.append)
    missing = [row for row in reported if "missing" in row]
    assert [row["name"] for row in missing] == ["PettingZoo"]
    assert 'pip install "nmmo-gpu[adapters]"' in missing[0]["missing"]
    assert len(found["results"]) == len(BATCHED) + len(ONE_REALM) - 1
