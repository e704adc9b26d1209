"""The command line, in this process: what it does, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train.small import CPU

from nmmo_gpu.cli import main as cli
from nmmo_gpu.config import PRESETS
from nmmo_gpu.errors import MapError
from nmmo_gpu.train import checkpoint as checkpoints

TINY = [
    "--height", "40", "--width", "40", "--slots", "16", "--populations", "2", "--realms", "2",
    "--hidden", "8", "--horizon", "4", "--minibatches", "2", "--device", "cpu",
]  # fmt: skip


def said(capsys, arguments, status):
    """(output, errors) of a command line that must end with this status, without line breaks or boxes."""
    try:
        found = cli.run([str(argument) for argument in arguments])
    except SystemExit as end:
        found = end.code
    out, err = capsys.readouterr()
    assert found == status, out + err
    assert "Traceback" not in out + err
    return " ".join(out.replace("│", " ").split()), " ".join(err.replace("│", " ").split())


def test_nothing_asked(capsys):
    """Usage, with commands and presets, and status 2; asked for help, status 0."""
    for arguments, status in (([], 2), (["--help"], 0), (["-h"], 0)):
        out, _ = said(capsys, arguments, status)
        assert all(word in out for word in ("train", "eval", "bench", "--resume", *PRESETS))


@pytest.mark.parametrize("name", ["fly", "Train", "--train", ""])
def test_an_unknown_command(capsys, name):
    """Named, with the usage behind it."""
    out, err = said(capsys, [name, "chaos"], 2)
    assert f"{name!r} is not a command" in err and "usage: nmmo-gpu" in err and not out


@pytest.mark.parametrize("command", ["train", "bench"])
@pytest.mark.parametrize(
    ("rest", "found"), [([], "missing"), (["anarchy"], "'anarchy'"), (["--slots", "8"], "--slots")]
)
def test_a_preset_is_needed(capsys, command, rest, found):
    """What stands in its place is named, and so are the presets."""
    _, err = said(capsys, [command, *rest], 2)
    assert err.startswith("nmmo-gpu:") and found in err and "law, chaos" in err


@pytest.mark.parametrize(("options", "named"), [
    ("--slots 7", "slots = 7"),
    ("--slots seven", "--slots"),
    ("--hidden 0", "hidden = 0"),
    ("--gamma 1", "gamma = 1.0"),
    ("--iterations 0", "iterations = 0"),
    ("--reach 1 2 30", "reach = (1, 2, 30)"),
    ("--targeting best", "--targeting"),
    ("--realms 0", "realms = 0"),
    ("--vision 99", "vision = 99"),
    ("--run=", "run = ''"),
    ("--gravity 3", "--gravity"),
])  # fmt: skip
def test_impossible_options(capsys, tmp_path, monkeypatch, options, named):
    """Status 2, the field by name with its value; nothing is made on the disk."""
    monkeypatch.chdir(tmp_path)
    out, err = said(capsys, ["train", "chaos", *options.split()], 2)
    assert named in out + err
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there(capsys, tmp_path, monkeypatch):
    """CUDA without CUDA, and a device nobody knows: the remedy is named."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, remedy in (("cuda", '"cpu"'), ("abacus", '"auto"')):
        _, err = said(capsys, ["train", "chaos", "--run", tmp_path / name, "--device", name], 2)
        assert f"device = '{name}'" in err and remedy in err


def test_folders_without_a_run(capsys, tmp_path):
    """Resuming or evaluating what is not there, or is something else."""
    (tmp_path / "text").write_text("not a checkpoint")
    for arguments in (["train", "--resume"], ["eval"]):
        _, err = said(capsys, [*arguments, tmp_path / "nope"], 2)
        assert str(tmp_path / "nope") in err and "no checkpoint" in err
        _, err = said(capsys, [*arguments, tmp_path / "text"], 2)
        assert str(tmp_path / "text") in err and "not a checkpoint" in err


def test_help_of_each_command(capsys):
    """Status 0, with the options that belong to it; nested settings need no prefix."""
    out, _ = said(capsys, ["train", "chaos", "--help"], 0)
    for option in ("--slots", "--realms", "--hidden", "--horizon", "--run", "--minutes", "--no-recurrent"):
        assert option in out, option
    out, _ = said(capsys, ["train", "--help"], 0)
    assert "--slots" in out
    out, _ = said(capsys, ["eval", "--help"], 0)
    assert "--max-ticks" in out
    out, _ = said(capsys, ["train", "--resume", "x", "--help"], 0)
    assert "--checkpoint-minutes" in out and "--slots" not in out


def test_train_resume_evaluate(capsys, tmp_path):
    """From the first iteration to the table, on a tiny world."""
    run = tmp_path / "run"
    train = ["train", "chaos", *TINY, "--run", run, "--recurrent", "--targeting", "learned", "--seed", 5]
    out, _ = said(capsys, [*train, "--iterations", 2, "--reach", 1, 2, 4], 0)
    assert "iteration 2" in out
    stored = checkpoints.load(run, CPU)
    assert stored.counters["iteration"] == 2
    assert stored.config.policy.recurrent and stored.config.policy.targeting == "learned"
    assert stored.config.env.world.reach == (1, 2, 4) and stored.config.env.seed == 5
    assert json.loads((run / "config.json").read_text())["env"]["world"]["slots"] == 16

    _, err = said(capsys, train, 2)
    assert "already holds a run" in err and "--resume" in err
    _, err = said(capsys, ["train", "--resume", run], 2)
    assert "iterations = 2 has been reached" in err
    for form in (["--resume", run], [f"--resume={run}"]):
        done = checkpoints.load(run, CPU).counters["iteration"]
        out, _ = said(capsys, ["train", *form, "--iterations", int(done) + 2], 0)
        assert f"iteration {done + 2}" in out
    stored = checkpoints.load(run, CPU)
    assert stored.counters["iteration"] == 6 and stored.config.env.seed == 5

    options = ["--realms", 3, "--max-ticks", 150, "--device", "cpu"]
    out, _ = said(capsys, ["eval", run, *options], 0)
    for words in ("slots kept full", "trained", "random", "lava", "combat", "agent-steps lived / deaths"):
        assert words in out, words
    file = run / checkpoints.FILE
    again, _ = said(capsys, ["eval", file, *options], 0)
    assert again == out, "evaluation is part of the seed"
    less, _ = said(capsys, ["eval", run, *options, "--no-full", "--seed", 3], 0)
    assert "slots kept full" not in less and "trained" in less


NETWORK = f"{Path(__file__).parents[2] / 'examples' / 'trinity_network.py'}:Attentive"


def test_a_run_with_another_network(capsys, tmp_path, monkeypatch):
    """Trained by the example as a script: each command that loads its policies says which network they need
    and how to give it, and with it does what it does for others."""
    run, script = tmp_path / "run", NETWORK.rpartition(":")[0]
    monkeypatch.setitem(sys.modules, "trinity_network", None)  # taken away again afterwards
    monkeypatch.delitem(sys.modules, "trinity_network")
    train = [*TINY, "--targeting", "learned", "--iterations", 1, "--run", run]
    done = subprocess.run(
        [sys.executable, script, *map(str, train)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    world = ["chaos", *TINY[:8]]
    commands = [
        ["eval", run, "--realms", 1, "--max-ticks", 60, "--device", "cpu", "--no-full"],
        ["export", run, "--ticks", 2, "--device", "cpu"],
        ["play", *world, "--policy", run, "--ticks", 2, "--device", "cpu", "--out", tmp_path / "out"],
        ["train", "--resume", run, "--iterations", 2],
    ]
    before = (run / checkpoints.FILE).read_bytes()
    for command in commands:
        _, err = said(capsys, command, 2)
        assert "its network is trinity_network:Attentive" in err, command
        assert "--network trinity_network:Attentive (or file.py:Class)" in err, command
        _, err = said(capsys, [*command, "--network", "nmmo_gpu.train.policy:Output"], 2)
        assert "not a subclass of nmmo_gpu.train.policy:Policy" in err, command
    assert (run / checkpoints.FILE).read_bytes() == before
    for command in commands:
        said(capsys, [*command, "--network", NETWORK], 0)
    assert checkpoints.load(run, CPU).counters["iteration"] == 2
    assert "policy.ask" in checkpoints.load(run, CPU).tensors


def test_evaluate_scripted_policies(capsys, tmp_path):
    """In a preset's rules beside random agents, or beside a trained policy; misspelt, they are refused."""
    options = ["--realms", 1, "--max-ticks", 60, "--device", "cpu", "--no-full"]
    out, _ = said(capsys, ["eval", "chaos", "--scripted", "hunter", "forager", *options], 0)
    rows = [word.rstrip(",") for word in out.split() if word.endswith(",")]
    assert rows[:3] == ["hunter", "forager", "random"] and "trained" not in out and "the training" not in out
    train = ["train", "chaos", *TINY, "--run", tmp_path / "run", "--iterations", 1]
    said(capsys, train, 0)
    out, _ = said(capsys, ["eval", tmp_path / "run", "--scripted", "forager", *options], 0)
    assert out.index("trained,") < out.index("forager,") < out.index("random,")
    out, err = said(capsys, ["eval", "chaos", "--scripted", "gatherer"], 2)
    assert "gatherer" in out + err and "forager" in out + err


def test_errors_on_the_way_are_told_without_a_traceback(capsys, monkeypatch):
    """Whatever a command raises on purpose; anything else is a bug, and goes on."""

    def lost(arguments):
        raise MapError("map.tmx is lost; find it.")

    def broken(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_eval", lost)
    assert said(capsys, ["eval"], 2)[1] == "nmmo-gpu: map.tmx is lost; find it."
    monkeypatch.setattr(cli, "_eval", broken)
    with pytest.raises(ZeroDivisionError):
        cli.run(["eval"])


def test_as_a_program():
    """``python -m nmmo_gpu`` exits with the status."""
    done = subprocess.run(
        [sys.executable, "-m", "nmmo_gpu", "fly"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2 and "'fly' is not a command" in done.stderr and not done.stdout


def program(*arguments, **environment):
    """What ``python -m nmmo_gpu`` with these arguments did, in an environment with some more variables."""
    return subprocess.run(
        [sys.executable, "-m", "nmmo_gpu", *map(str, arguments)], env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_kernels_without_a_gpu(tmp_path):
    """On a tiny world, under Triton's interpreter: training ends with status 0 and leaves a checkpoint, of
    finite weights that have learned, which can be evaluated."""
    pytest.importorskip("triton")
    run, interpreted = tmp_path / "run", {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    tiny = [
        "--realms", 1, "--slots", 16, "--height", 40, "--width", 40, "--populations", 2, "--vision", 3,
        "--horizon", 4, "--epochs", 1, "--minibatches", 2, "--hidden", 8, "--backend", "triton",
        "--device", "cpu",
    ]  # fmt: skip
    done = program("train", "chaos", *tiny, "--iterations", 2, "--run", run, **interpreted)
    assert done.returncode == 0 and "iteration 2" in done.stdout, done.stdout
    stored = checkpoints.load(run, CPU)
    assert stored.counters["iteration"] == 2 and stored.config.env.backend == "triton"
    assert int(stored.part("world")["tick"]) == 1 + 2 * 4 and stored.counters["agent_steps"] > 0
    for name, weight in stored.part("policy").items():
        assert weight.isfinite().all(), name
    assert stored.part("optimizer")["window.step"] == 2 * 2 and stored.part("policy")["value_bias"].all()

    options = ["--realms", 1, "--max-ticks", 2, "--no-full", "--device", "cpu"]
    done = program("eval", run, *options, **interpreted)
    assert done.returncode == 0 and "trained, 1 ticks" in done.stdout, done.stdout


def test_the_kernels_on_a_cpu_must_be_asked_for(capsys, tmp_path, monkeypatch):
    """Where nobody asked for the interpreter: how to, and nothing on the disk."""
    pytest.importorskip("triton")
    monkeypatch.setattr("nmmo_gpu.kernels.launch.INTERPRETED", False)
    arguments = ["train", "chaos", *TINY, "--backend", "triton", "--run", tmp_path / "run"]
    _, err = said(capsys, arguments, 2)
    assert 'backend = "triton" runs on a GPU' in err and "TRITON_INTERPRET=1" in err
    assert not list(tmp_path.iterdir())


def test_bench(capsys, tmp_path):
    """A line per batch size, and the results as JSON."""
    file = tmp_path / "bench.json"
    quick = ["--batches", 2, 3, "--repeats", 1, "--seconds", 0.01]
    out, _ = said(capsys, ["bench", "law", *TINY, *quick, "--json", file], 0)
    assert "2 x 16" in out and "3 x 16" in out
    for words in (
        "environment",
        "+ policy",
        "+ training",
        "ticks/s",
        "agent-steps of living agents per second",
    ):
        assert words in out, words
    found = json.loads(Path(file).read_text())
    assert [row["realms"] for row in found["results"]] == [2, 3]
    assert found["world"]["births"] == -1 and found["world"]["damage"] == [0, 0, 0]


def test_bench_says_at_once_that_it_cannot_write(capsys, tmp_path):
    """Before anything is measured."""
    (tmp_path / "file").write_text("mine")
    _, err = said(capsys, ["bench", "chaos", *TINY, "--json", tmp_path / "file" / "out.json"], 2)
    assert "json = " in err and "cannot be written" in err


@pytest.mark.parametrize(
    ("asked", "realms"),
    [
        (["--record"], (0,)),
        (["--record", "1", "0"], (1, 0)),
        (["--record", "--log-every", "1"], (0,)),
        ([], ()),
    ],
)
def test_record_without_a_number_is_the_first_realm(asked, realms, tmp_path):
    """And leaves the options around it alone."""
    run = ["train", "chaos", *TINY, "--iterations", "1", "--run", str(tmp_path), *asked]
    assert cli.run(run) == 0
    assert checkpoints.load(tmp_path, CPU).config.record == realms
    folder = tmp_path / "replays"
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    assert names == sorted(f"realm-{realm}-2.replay" for realm in realms)
