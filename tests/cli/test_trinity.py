"""``--trinity``: commands load the custom classes of a run, and only those that the user names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.commands import TINY, output_of
from train.small import CPU

from nmmo_gpu.cli.options import _gathered
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.checkpoint import Checkpoint

SCRIPT = '''
import torch

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import train
from nmmo_gpu.train.trinity import God, Pantheon, Sword, Trinity


class Net(Policy):
    """The stock network with one more parameter."""

    def __init__(self, world_config, config, generator, *parts):
        super().__init__(world_config, config, generator, *parts)
        shape = world_config.populations, 1, config.hidden
        self.extra = torch.nn.Parameter(torch.randn(shape, generator=generator))

    def encode(self, records, index, views, weights):
        hidden, entities = super().encode(records, index, views, weights)
        return hidden + self.extra, entities


class Peaceful(Sword):
    network = Net

    def decide(self, records, world, state):
        decision = super().decide(records, world, state)
        decision.actions[..., 2] = 0
        return decision


class Counting(God):
    """Counts its rollouts, which it stores."""

    def __init__(self, config, sword, world=None):
        super().__init__(config, sword, world)
        self.rollouts = torch.zeros(1, dtype=torch.int64)

    def state(self):
        return super().state() | {"rollouts": self.rollouts}

    def collect(self):
        self.rollouts += 1
        return super().collect()


class Careful(Pantheon):
    """The stock Pantheon with another name."""


everything = Trinity(sword=Peaceful, god=Counting, pantheon=Careful)

if __name__ == "__main__":
    train(train_options("chaos"), trinity=everything)
'''
NAMES = ("mine:Net", "mine:Peaceful", "mine:Counting", "mine:Careful")
STEADY = ["--learning-rate", "3e-3", "--final-learning-rate", "3e-3"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with the script as ``mine.py``."""
    (tmp_path / "mine.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def script(*arguments):
    """Runs the script with options of ``nmmo-gpu train chaos``."""
    done = subprocess.run(
        [sys.executable, "mine.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def trained(capsys):
    """Trains the script's classes in this process."""
    options = [*TINY, "--iterations", 1, "--run", "run", "--trinity", "mine.py:everything"]
    output_of(capsys, ["train", "chaos", *options], 0)


def stored(run) -> Checkpoint:
    return checkpoints.load(Path(run), CPU)


def test_a_run_of_a_script_is_resumed_bit_for_bit(capsys, folder):
    """The checkpoint names the script's classes as importable ones. Without them, resuming is refused and
    changes no file; with them, the run has the bits of one that was not interrupted."""
    whole = ["train", "chaos", *TINY, *STEADY, "--iterations", 2, "--run", "whole"]
    output_of(capsys, [*whole, "--trinity", "mine.py:everything"], 0)
    script(*TINY, *STEADY, "--iterations", 1, "--run", "run")
    assert stored("run").classes == NAMES
    before = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    resume = ["train", "--resume", "run", "--iterations", 2]
    _, err = output_of(capsys, resume, 2)
    for part, name in zip(("network", "sword", "god", "pantheon"), NAMES, strict=True):
        assert f"its {part} is {name}, not nmmo_gpu.train." in err
    assert f"On the command line give --trinity {' '.join(NAMES)} (module:Class or file.py:Class)" in err
    _, err = output_of(capsys, [*resume, "--trinity", "mine.py:Peaceful", "mine.py:Counting"], 2)
    assert "its pantheon is mine:Careful, not" in err and "its god" not in err and "its network" not in err
    assert {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()} == before

    output_of(capsys, [*resume, "--trinity", "mine.py:everything"], 0)
    found, whole = stored("run"), stored("whole")
    assert found.classes == NAMES and found.counters["iteration"] == 2
    assert {"policy.extra", "optimizer.extra.exp_avg", "god.rollouts"} < found.tensors.keys()
    assert found.tensors.keys() == whole.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert torch.equal(found.tensors[name], tensor), name
    assert int(found.tensors["god.rollouts"]) == 2
    names = [f"mine.py:{name.partition(':')[2]}" for name in NAMES]
    output_of(capsys, ["train", "--resume", "run", "--iterations", 3, "--trinity", *names], 0)
    assert stored("run").counters["iteration"] == 3


def test_commands_that_play_need_sword_and_network(capsys, folder):
    """Not God and Pantheon, which may be given all the same. Each command says what it needs, and how to give
    it."""
    trained(capsys)
    commands = [
        ["eval", "run", "--realms", 1, "--max-ticks", 60, "--device", "cpu", "--no-full"],
        ["export", "run", "--ticks", 2, "--device", "cpu"],
        ["play", "chaos", *TINY[:8], "--policy", "run", "--ticks", 2, "--device", "cpu", "--out", "out"],
    ]
    before = (folder / "run" / checkpoints.FILE).read_bytes()
    for command in commands:
        _, err = output_of(capsys, command, 2)
        assert (
            "its network is mine:Net" in err and "its sword is mine:Peaceful" in err and "Careful" not in err
        )
        assert "give --trinity mine:Net mine:Peaceful (module:Class or file.py:Class)" in err, command
        _, err = output_of(capsys, [*command, "--trinity", "mine.py:Net"], 2)
        assert "its sword is mine:Peaceful" in err and "its network" not in err, command
        _, err = output_of(capsys, [*command, "--trinity", "nmmo_gpu.train.policy:Output"], 2)
        assert "'nmmo_gpu.train.policy:Output' is neither a Trinity nor a subclass of Sword, God" in err, (
            command
        )
    for number, command in enumerate(commands):
        given = (["mine.py:Peaceful"], ["mine.py:everything"], ["mine.py:Net", "mine.py:Peaceful"])[number]
        output_of(capsys, [*command, "--trinity", *given], 0)
    assert (folder / "run" / checkpoints.FILE).read_bytes() == before


def test_a_run_with_a_custom_god_is_played_without_it(capsys, folder):
    """A new run can have custom classes as well, each given alone."""
    new = ["train", "chaos", *TINY, "--iterations", 1]
    output_of(capsys, [*new, "--run", "run", "--trinity", "mine.py:Counting", "mine.py:Careful"], 0)
    assert stored("run").classes == stored("run").classes._replace(
        god="mine:Counting", pantheon="mine:Careful"
    )
    output_of(capsys, ["eval", "run", "--realms", 1, "--max-ticks", 20, "--device", "cpu", "--no-full"], 0)
    output_of(capsys, ["export", "run", "--device", "cpu"], 0)
    _, err = output_of(capsys, ["train", "--resume", "run", "--iterations", 2], 2)
    assert "its god is mine:Counting" in err and "its sword" not in err
    output_of(capsys, [*new, "--trinity", "mine.py:Net", "--run", "net"], 0)
    assert stored("net").classes.network == "mine:Net" and "policy.extra" in stored("net").tensors
    _, err = output_of(
        capsys, ["train", "--resume", "net", "--iterations", 2, "--trinity=mine.py:Peaceful"], 2
    )
    assert "its sword is nmmo_gpu.train.trinity.sword:Sword, not mine:Peaceful" in err
    output_of(capsys, ["train", "--resume", "net", "--iterations", 2, "--trinity=mine.py:Net"], 0)


def test_an_impossible_trinity_is_refused_before_anything_is_made(capsys, folder):
    """Two classes for one part, or a class that does not exist."""
    new = ["train", "chaos", *TINY, "--iterations", 1, "--run", "run"]
    for given, message in (
        (["mine.py:Counting", "nmmo_gpu.train.trinity:God"], "two classes for the god"),
        (["mine.py:Missing"], "mine.py has no Missing"),
        ([], "'' does not name a class"),
    ):
        _, err = output_of(capsys, [*new, "--trinity", *given], 2)
        assert message in err
    assert not (folder / "run").exists()


def test_nothing_is_imported_because_a_file_names_it(capsys, folder):
    """The module could be imported, but is not, though the checkpoint names it."""
    sys.path.insert(0, str(folder))
    try:
        trained(capsys)
        del sys.modules["mine"]
        for command in (["eval", "run"], ["export", "run"], ["train", "--resume", "run", "--iterations", 2]):
            output_of(capsys, command, 2)
        assert "mine" not in sys.modules
    finally:
        sys.path.remove(str(folder))


@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
def test_the_command_that_a_stopped_run_prints_resumes_it(capsys, folder):
    """It gives the custom classes as files."""
    run = subprocess.Popen(
        [sys.executable, "mine.py", *TINY, "--run", "run", "--checkpoint-minutes", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (folder / "run" / checkpoints.FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=120)
    assert run.returncode == 0, out
    words = " ".join(out.split()).partition("to resume: nmmo-gpu ")[2].split()
    assert words == ["train", "--resume", "run", "--trinity", *(f"mine.py:{name[5:]}" for name in NAMES)]
    done = int(stored("run").counters["iteration"])
    output_of(capsys, [*words, "--iterations", done + 1], 0)
    starts = json.loads((folder / "run" / "run.json").read_text())["starts"]
    assert [start["iteration"] for start in starts] == [0, done]


@pytest.mark.parametrize(("given", "gathered"), [
    ("a --x 1", "a --x 1"),
    ("--trinity a.py:B c:D --x 1", "--x 1 --trinity a.py:B c:D"),
    ("--trinity a.py:B run --x --trinity=c:D e:F", "run --x --trinity a.py:B c:D e:F"),
    ("run --trinity a", "run --trinity a"),
    ("run --trinity --x", "run --trinity --x"),
])  # fmt: skip
def test_values_of_trinity_are_gathered(given, gathered):
    """From several places, and without the words that follow them."""
    assert _gathered(given.split()) == gathered.split()
    assert _gathered(["run", "--trinity"]) == ["run", "--trinity", ""]
