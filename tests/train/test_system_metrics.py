"""Counters and scalars of systems, as curves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from support.example_systems import Daylight, DeathFog
from support.world_systems import Everything
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from train.small import FULL, reloaded, small

from nmmo_gpu.config.systems import System
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.reporter import Reporter
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.system_metrics import system_counts, system_metrics
from nmmo_gpu.train.world_metrics import world_counts, world_metrics

FOG = DeathFog(period=20, radius=2, damage=3, grace=0)
DAY = Daylight(period=14, night=2)


def played(*systems, ticks=8):
    env = Env(small(systems=systems, births=-1, realms=3).env)
    env.reset()
    for _ in range(ticks):
        env.step(random_actions(env))
    return env


def test_counts_are_sums_over_realms():
    env = played(Everything(), FOG)
    found = system_counts(env.world)
    shouts, newborns = env.world.systems["everything"]["counts"].sum(0).tolist()
    harmed, killed = env.world.systems["death_fog"]["counts"].sum(0).tolist()
    sky = float(env.world.systems["everything"]["sky"].sum())
    assert {name: float(value) for name, value in found.items()} == {
        "everything/shouts": shouts, "everything/newborns": newborns, "everything/sky (scalar)": sky,
        "death_fog/agents harmed": harmed, "death_fog/agents killed": killed,
    }  # fmt: skip
    assert shouts and harmed > killed > 0
    assert world_counts(env.world).keys() == found.keys()


def test_scalars_may_have_a_value_per_realm_or_one():
    """Either way, the mean over realms is reported."""

    def scalars(self, world):
        level = world.agents(world.alive).sum(1)
        return {"living": level, "half": torch.tensor(0.5), "whole": level > 0}

    system = dataclass(frozen=True)(type("Own", (System,), {"scalars": scalars}))()
    env = played(system)
    living = [sum(env.world.alive[realm, :16].tolist()) for realm in range(3)]
    counts = system_counts(env.world)
    found = system_metrics(env.config.world, counts, counts, 100, 3)
    assert found == {"own/living": sum(living) / 3, "own/half": 0.5, "own/whole": 1.0}


def test_a_counter_and_a_scalar_of_one_name_are_refused():
    """One would hide the other."""
    methods = {"counters": ("light",), "scalars": lambda self, world: {"light": torch.tensor(0.5)}}
    system = dataclass(frozen=True)(type("Own", (System,), methods))()
    with pytest.raises(ConfigError, match="system Own: 'light' is a counter and a scalar"):
        Run(small(systems=(system,)))


def test_counters_are_events_per_1000_agent_steps():
    env = played(FOG)
    before = {"death_fog/agents harmed": torch.tensor(10), "death_fog/agents killed": torch.tensor(2)}
    now = {"death_fog/agents harmed": torch.tensor(40), "death_fog/agents killed": torch.tensor(2)}
    found = system_metrics(env.config.world, before, now, 2000, 3)
    assert found == {"death_fog/agents harmed": 15.0, "death_fog/agents killed": 0.0}
    assert system_metrics(env.config.world, before, before, 0, 3)["death_fog/agents harmed"] == 0


def test_worlds_without_systems_have_no_metrics():
    env = played()
    assert system_counts(env.world) == {}
    assert system_metrics(env.config.world, {}, {}, 100, 3) == {}


def reported(run, iterations, resumed=False):
    """Trains and reports after each iteration; returns the expected points of the curves by name."""
    points = []
    world = run.god.env.world

    def totals():
        values = {
            f"{system.name}/{name}": int(system.own(world)["counts"][:, number].sum())
            for system in world.config.systems for number, name in enumerate(system.counters)
        }  # fmt: skip
        return values, int(world.acted.sum())

    with Reporter(run, resumed=resumed) as reporter:
        for _ in range(iterations):
            before, start = totals()
            (stats,) = run.iterate(report=True)
            reporter.report(stats)
            now, end = totals()
            point = {name: (now[name] - before[name]) / (end - start) * 1000 for name in now}
            point["daylight/light"] = float(world.systems["daylight"]["light"].double().mean())
            points.append(point)
    return points


def test_tensorboard_has_a_curve_for_each_counter_and_scalar(tmp_path):
    """Each point counts the events since the last one; after a resume, since the checkpoint."""
    config = small(tmp_path, systems=(Everything(), FOG, DAY), births=-1, log_every=1)
    run = Run(config)
    points = reported(run, 3)
    resumed = Run(config, reloaded(run, tmp_path / checkpoints.FILE))
    points += reported(resumed, 2, resumed=True)
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    for name in points[0]:
        found = [event.value for event in curves.Scalars(name)]
        assert found == pytest.approx([point[name] for point in points], rel=1e-6), name
        assert len(set(found)) > 1
    assert "everything/sky" in curves.Tags()["scalars"]


def test_names_of_metrics_do_not_clash_with_those_of_the_rules():
    """In the full game too, whose counts are reported beside them."""
    plain = Run(small(**FULL))
    own = Run(small(**FULL, systems=(Everything(), FOG)))
    found = []
    for run in (plain, own):
        counts = {name: count.cpu() for name, count in world_counts(run.god.env.world).items()}
        found.append(world_metrics(run.config.env.world, counts, counts, 100, 2))
    assert set(found[1]) - set(found[0]) == {
        "everything/shouts", "everything/newborns", "everything/sky", "death_fog/agents harmed",
        "death_fog/agents killed",
    }  # fmt: skip
    assert set(found[0]) <= set(found[1])
