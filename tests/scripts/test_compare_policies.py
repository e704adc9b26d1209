"""Trained and scripted policies compared in the same realms."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from train.small import small

from nmmo_gpu.env import Env
from nmmo_gpu.train.run import Run

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_policies.py"


@pytest.fixture
def script():
    """Imports the script as a module."""
    spec = importlib.util.spec_from_file_location("compare_policies", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stored(tmp_path):
    """Returns the folder of an untrained run."""
    run = Run(small(run=tmp_path, slots=24, populations=4))
    run.save()
    return tmp_path


def test_populations_alternate_between_policies(script, stored, monkeypatch, capsys):
    """Every other population acts as the trained policy does, the others as the opponent. The steps and
    deaths of both add up to the world's over the measured ticks."""
    seen = []

    class Watched(Env):
        def step(self, actions, **options):
            alive = self.world.alive.clone()
            result = super().step(actions, **options)
            seen.append((actions, alive, result[2]))
            return result

    marks = {"trained": 0, "hunter": 2}  # melee and mage: styles that do nothing without a target
    heads = torch.zeros(1, 24, 3, dtype=torch.int64)
    monkeypatch.setattr(script, "Env", Watched)
    monkeypatch.setattr(script, "WARMUP", 5)
    actors = {name: heads + torch.tensor([0, style, 0]) for name, style in marks.items()}
    monkeypatch.setattr(script, "policy_actor", lambda *_: lambda env: lambda env: actors["trained"])
    monkeypatch.setattr(script.scripted, "actor", lambda name: lambda env: lambda env: actors[name])
    file = stored / "found.json"
    arguments = [str(stored), "--against", "hunter", "--realms", "1", "--ticks", "40", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["compare_policies", *arguments])
    script.main()
    assert len(seen) == 45
    for actions, _, _ in seen:
        assert actions[0, :, 1].view(4, 6).tolist() == [[0] * 6, [2] * 6, [0] * 6, [2] * 6]
    found = json.loads(file.read_text())["hunter"]
    alive, died = (torch.stack([one[part] for one in seen[5:]]).view(40, 4, 6) for part in (1, 2))
    for name, side in (("trained", 0), ("hunter", 1)):
        steps, deaths = int(alive[:, side::2].sum()), int(died[:, side::2].sum())
        assert (found[name]["agent_steps"], found[name]["deaths"]) == (steps, deaths)
        assert deaths > 0 and found[name]["lifetime"] == steps / deaths
    assert f"{found['hunter']['lifetime']:.1f}" in capsys.readouterr().out


def test_a_stored_policy_plays(script, stored, monkeypatch, capsys):
    """A checkpoint's policy plays with random agents, with the slots kept full."""
    monkeypatch.setattr(script, "WARMUP", 2)
    arguments = [str(stored), "--against", "random", "--realms", "1", "--ticks", "3", "--slots-full"]
    monkeypatch.setattr(sys, "argv", ["compare_policies", *arguments])
    script.main()
    assert capsys.readouterr().out.splitlines()[1].startswith("random")
