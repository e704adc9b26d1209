"""Worlds that are played in order to be recorded, from a checkpoint or new."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest
import torch
from replay.recorded import alive_rows, frames_of, record_expected, same
from support.helpers import ODD
from support.senses import Senses
from train.small import FULL, small

from nmmo_gpu.cli import main as cli
from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import play as playing
from nmmo_gpu.train.run import Run, train
from nmmo_gpu.train.sampling import head_distributions
from nmmo_gpu.train.value_map import value_map
from nmmo_gpu.view.values import Values

CPU = torch.device("cpu")
KINDS = {
    "chaos": {"backend": "torch"},
    "chaos, numba": {"backend": "numba"},
    "chaos, system": {"backend": "torch", "systems": (Senses(head=False),)},
    "full": {**FULL, "backend": "torch", "targeting": "learned", "recurrent": True, "births": 2},
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    """Returns (settings, folder) of a small run that recorded its second realm."""
    folder = tmp_path_factory.mktemp("run")
    settings = {**KINDS[request.param], "realms": 3, "iterations": 3, "record": (1,)}
    train(small(folder, **settings))
    return settings, folder


def one_file(folder):
    """Returns the only recording in a folder."""
    (path,) = folder.glob("*.replay")
    return path


def test_training_records_what_it_plays(trained, tmp_path):
    """A run with recording and one without play the same worlds, and every frame matches its tick."""
    settings, folder = trained
    plain = Run(small(tmp_path, **(settings | {"record": ()})))
    expected = record_expected(plain.god.env, 1)
    for _ in range(3):
        plain.iterate()
    with Replay(one_file(folder / "replays")) as replay:
        frames = frames_of(replay)
        assert replay.header["heads"] == plain.sword.choices()
    assert list(frames) == list(expected) == list(range(2, 26))
    assert all(same(expected[tick], frames[tick]) for tick in expected)
    stored = checkpoints.load(folder, CPU)
    assert all(torch.equal(t, stored.part("world")[name]) for name, t in plain.god.env.world.tensors())


def test_recorded_probabilities_belong_to_the_decision(trained, tmp_path):
    """A frame has the policy's numbers of the tick before, in the file's precision: probabilities add up to 1
    per head, chosen actions are possible, and empty slots have zeros."""
    stored = checkpoints.load(trained[1], CPU)
    env, act = playing.continue_realm(stored, 2, CPU)
    heads = act.heads
    recorder = Recorder(env, (2,), 1, tmp_path, "odd", heads, blocking=True)
    slots, columns = env.config.world.slots, {column.name: column for column in recorder.layout.columns}

    def recorded(name):
        start, column = recorder.layout.offsets[name], columns[name]
        numbers = recorder.frames[0, 0].numpy()[start : start + column.bytes * slots * column.width]
        return numbers.view({1: "u1", 2: "i2"}[column.bytes]).reshape(slots, -1)

    for _ in range(5):
        records, alive = env.records.clone(), env.world.agents(env.world.alive).clone()
        player, sword = act._player(env), act.sword(env)
        memory = player._after
        if memory is not None:
            memory = memory * (env.world.agents(env.world.age) > 1).reshape(-1, 1)
        playing.play(env, act, recorder, 1)
        _, decision = player.decided
        index = torch.arange(slots).view(env.config.world.populations, -1)
        with torch.no_grad():
            recalled = None if memory is None else memory[index]
            output = sword.policy(records.view(slots, -1), index, recalled)
        made = dict(zip(sword.action_heads, decision.choices[index].long().unbind(-1), strict=True))
        logs = head_distributions(output, made["style"], made.get("trade"))
        wanted = torch.cat([log.exp() for log in logs], -1).flatten(0, 1)[alive[0]]
        probability, value = recorded("probability"), recorded("value")
        assert not probability[~alive[0].numpy()].any() and not value[~alive[0].numpy()].any()
        found = torch.from_numpy(alive_rows(probability, alive[0])).float() / 255
        assert (found - wanted).abs().max() <= 0.5 / 255 + 1e-5
        values = torch.from_numpy(alive_rows(value, alive[0]).copy()).float()[:, 0] / 1024
        assert (values - output.value.flatten()[alive[0]]).abs().max() <= 0.5 / 1024 + 1e-5
        start = 0
        for name, size in heads.items():
            assert ((found[:, start : start + size].sum(1) - 1).abs() < size / 255).all(), name
            start += size
    recorder.close()


def test_an_exported_realm_continues_as_in_its_run(trained, tmp_path):
    """Without learning, the realms of a checkpoint and one of them alone have the same world in every
    tick."""
    _, folder = trained
    stored = checkpoints.load(folder, CPU)
    config = dataclasses.replace(stored.config, record=(), iterations=9)
    whole = Run(config, dataclasses.replace(checkpoints.load(folder, CPU), config=config))
    expected = record_expected(whole.god.env, 2)
    whole.god.collect()
    env, act = playing.continue_realm(stored, 2, CPU)
    recorder = Recorder(env, (2,), 3, tmp_path, "odd", blocking=True)
    playing.play(env, act, recorder, 8)
    recorder.close()
    with Replay(one_file(tmp_path)) as replay:
        frames = frames_of(replay)
    assert list(frames) == list(expected) == list(range(26, 34))
    assert all(same(expected[tick], frames[tick]) for tick in expected)


def test_export_writes_one_or_more_ticks(trained, tmp_path, capsys):
    """The command writes one tick without --ticks, else that many. A failed export keeps the previous
    file."""
    _, folder = trained
    out = tmp_path / "deep" / "one.replay"
    plain = ["export", str(folder), "--device", "cpu", "--no-values", "--out", str(out)]
    assert cli.run([*plain, "--realm", "1"]) == 0
    assert str(out) in capsys.readouterr().out
    stored = checkpoints.load(folder, CPU)
    with Replay(out) as replay:
        ((tick, frame),) = frames_of(replay).items()
    world = stored.part("world")
    assert tick == int(world["tick"]) == 25 and frame["health"] == world["health"][1].tolist()
    assert set(frame["target"]) == {-1}
    assert cli.run([*plain, "--ticks", "37"]) == 0
    with Replay(out) as replay:
        assert replay.ticks == range(26, 63) and replay.header["realm"] == 0 and not replay.heats
    assert list(out.parent.iterdir()) == [out]
    assert cli.run(["export", str(folder), "--device", "cpu"]) == 0
    with Replay(folder / "replays" / "export-0-25.replay") as replay:
        assert [heat.population for heat in replay.heats] == [-1, 0, 1]
        material = stored.part("world")["material"][0].numpy()
        for heat in replay.heats:
            alone = value_map(stored, replay.base, material, heat.population)
            assert heat.name == "value" and heat.tick == 25 and np.array_equal(heat.values, alone, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--realm", "3"], "realm = 3 does not exist; choose from 0 to 2"),
        (["--out", "/proc/nowhere/x.replay"], "cannot be written"),
    ],
)
def test_impossible_exports_are_refused(trained, arguments, message, capsys):
    """The error is a sentence, and the status is 2."""
    assert cli.run(["export", str(trained[1]), "--device", "cpu", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("policy", ["random", "forager"])
def test_play_records_a_new_world(policy, tmp_path, capsys):
    """It records every realm from its second tick on, and does not overwrite an earlier recording."""
    size = [f"--{name}={ODD[name]}" for name in ODD]
    options = ["--realms", "2", "--slots", "8", "--device", "cpu", "--backend", "torch", *size]
    arguments = ["play", "chaos", "--policy", policy, "--ticks", "35", "--out", str(tmp_path), *options]
    assert cli.run(arguments) == 0
    paths = sorted(tmp_path.iterdir())
    assert [p.name for p in paths] == ["realm-0-2.replay", "realm-1-2.replay"]
    for path in paths:
        with Replay(path) as replay:
            assert replay.ticks == range(2, 37) and replay.header["heads"] == {}
            assert any(any(frame["alive"]) for frame in frames_of(replay).values())
    assert cli.run(arguments) == 2
    assert "already holds recordings" in capsys.readouterr().err


def test_play_with_a_trained_policy(trained, tmp_path):
    """The policy plays under the rules of its training except for births; other rules are refused."""
    settings, folder = trained
    config = dataclasses.replace(small(**{k: v for k, v in settings.items() if k != "births"}).env, seed=99)
    env, act = playing.begin(config, str(folder))
    recorder = Recorder(env, (0,), 4, tmp_path, "odd", playing.recorded_heads(act), blocking=True)
    playing.play(env, act, recorder, 9)
    recorder.close()
    with Replay(one_file(tmp_path)) as replay:
        assert replay.ticks == range(2, 11) and replay.header["heads"] == act.heads
    other = dataclasses.replace(config, world=dataclasses.replace(config.world, forage=6))
    with pytest.raises(ConfigError, match="trained with rules other than"):
        playing.begin(other, str(folder))
    with pytest.raises(CheckpointError, match="the checkpoint does not exist"):
        playing.begin(config, str(tmp_path / "nowhere"))


def test_a_run_from_elsewhere_is_played_in_fewer_realms(tmp_path, capsys):
    """What training needs is not needed to play: as many samples as minibatches, the recorded realm, the GPU
    with its backend, bf16 and the map files."""
    settings = {"recurrent": True, "minibatches": 64, "precision": "bf16", "record": (7,), "iterations": 1}
    run = Run(small(realms=8, run=tmp_path / "here", **settings))
    run.close()
    stored = run.checkpoint()
    elsewhere = {"device": "cuda:3", "backend": "triton", "maps": ("gone.tmx",)}
    config = dataclasses.replace(stored.config, env=dataclasses.replace(stored.config.env, **elsewhere))
    folder = tmp_path / "run"
    folder.mkdir()
    checkpoints.save(folder / checkpoints.FILE, dataclasses.replace(stored, config=config))
    cpu = ("--device", "cpu")
    assert cli.run(["eval", str(folder), "--realms", "1", "--max-ticks", "8", "--no-full", *cpu]) == 0
    assert "trained" in capsys.readouterr().out
    assert cli.run(["export", str(folder), "--realm", "7", "--ticks", "2", *cpu]) == 0
    exported = one_file(folder / "replays")
    with Replay(exported) as replay:
        assert len(replay.ticks) == 2 and replay.header["realm"] == 7 and len(replay.heats) == 3
    assert asyncio.run(Values(folder / checkpoints.FILE).payload(exported, 0))
    env, act = playing.begin(dataclasses.replace(small().env, realms=1), str(folder))
    env.step(act(env))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing would be recorded or shown"),
        (["--out", "x", "--policy", "nobody"], "the checkpoint does not exist"),
    ],
)
def test_impossible_plays_are_refused(arguments, message, capsys, tmp_path, monkeypatch):
    """The error is a sentence, the status is 2, and no file is written."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(["play", "chaos", "--device", "cpu", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"record": (2,)}, r"record = \(2,\) holds 2, which is not a realm of this run; choose from 0 to 1"),
        ({"record": (1, 1)}, "names a realm twice"),
        ({"record_megabytes": 0}, "record_megabytes = 0 is out of range; choose an integer of at least 1"),
    ],
)
def test_impossible_recording_settings_are_refused(settings, message):
    """Before training starts."""
    with pytest.raises(ConfigError, match=message):
        small(**settings).check_training()


def test_a_resumed_run_starts_another_file(tmp_path):
    """The two files have no tick twice, and none is missing."""
    settings = {"backend": "torch", "iterations": 2, "record": (0,), "record_policy": False}
    train(small(tmp_path, **settings))
    stored = checkpoints.load(tmp_path, CPU)
    config = dataclasses.replace(stored.config, iterations=3)
    train(config, dataclasses.replace(stored, config=config))
    ranges = {}
    for path in (tmp_path / "replays").iterdir():
        with Replay(path) as replay:
            ranges[path.name] = replay.ticks
            assert "probability" not in {column.name for column in replay.columns}
    assert ranges == {"realm-0-2.replay": range(2, 18), "realm-0-18.replay": range(18, 26)}
