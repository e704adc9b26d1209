"""The command line: results, exit statuses and error messages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.commands import TINY, output_of
from train.small import CPU

from nmmo_gpu.cli import main as cli
from nmmo_gpu.config import PRESETS
from nmmo_gpu.errors import MapError
from nmmo_gpu.train import checkpoint as checkpoints


def test_usage_is_shown_without_a_command(capsys):
    """It lists commands and presets. The status is 2, or 0 with --help."""
    for arguments, status in (([], 2), (["--help"], 0), (["-h"], 0)):
        out, _ = output_of(capsys, arguments, status)
        assert all(word in out for word in ("train", "eval", "bench", "--resume", *PRESETS))


@pytest.mark.parametrize("name", ["fly", "Train", "--train", ""])
def test_an_unknown_command_is_named(capsys, name):
    """Named, with the usage behind it."""
    out, err = output_of(capsys, [name, "chaos"], 2)
    assert f"{name!r} is not a command" in err and "usage: nmmo-gpu" in err and not out


@pytest.mark.parametrize("command", ["train", "bench"])
@pytest.mark.parametrize(
    ("rest", "found"), [([], "missing"), (["anarchy"], "'anarchy'"), (["--slots", "8"], "--slots")]
)
def test_a_missing_preset_is_named(capsys, command, rest, found):
    """The error shows the argument in its place and lists the presets."""
    _, err = output_of(capsys, [command, *rest], 2)
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
    ("--minibatches 99999999", "minibatches = 99999999"),
    ("--realms 2 --record 2", "record = (2,)"),
])  # fmt: skip
def test_impossible_options_are_refused(capsys, tmp_path, monkeypatch, options, named):
    """The status is 2, the error has the field with its value, and no file is created."""
    monkeypatch.chdir(tmp_path)
    out, err = output_of(capsys, ["train", "chaos", *options.split()], 2)
    assert named in out + err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("command", "named"), [
    ("bench chaos --repeats 0", "repeats = 0"),
    ("bench chaos --batches", "batches = ()"),
    ("bench chaos --batches 4 0", "batches = (4, 0)"),
    ("bench chaos --seconds 0", "seconds = 0.0"),
    ("bench chaos --batches 1 2 --minibatches 1000 --json x", "minibatches = 1000"),
    ("info chaos --minibatches 99999999", "minibatches = 99999999"),
    ("eval chaos --realms 0", "realms = 0"),
    ("eval chaos --max-ticks 0", "max_ticks = 0"),
    ("export runs --ticks -1", "ticks = -1"),
    ("export runs --realm -1", "realm = -1"),
    ("play chaos --out x --ticks 0", "ticks = 0"),
    ("play chaos --out x --rate -1", "rate = -1.0"),
    ("play chaos --view --port 70000", "port = 70000"),
    ("view runs --port -1", "port = -1"),
    ("compile chaos --target sm_90 --processes 0", "processes = 0"),
    ("compile chaos --target sm_90 --minibatches 99999999", "minibatches = 99999999"),
])  # fmt: skip
def test_impossible_options_of_other_commands_are_refused(capsys, tmp_path, monkeypatch, command, named):
    """As those of ``train``."""
    monkeypatch.chdir(tmp_path)
    out, err = output_of(capsys, command.split(), 2)
    assert named in out + err
    assert not list(tmp_path.iterdir())


def test_an_unavailable_device_is_refused(capsys, tmp_path, monkeypatch):
    """CUDA without a CUDA device and an unknown device: the error says what to do."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, remedy in (("cuda", '"cpu"'), ("abacus", '"auto"')):
        _, err = output_of(capsys, ["train", "chaos", "--run", tmp_path / name, "--device", name], 2)
        assert f"device = '{name}'" in err and remedy in err


def test_folders_without_a_run_are_refused(capsys, tmp_path):
    """Neither resuming nor evaluating works with a missing path or with another file."""
    (tmp_path / "text").write_text("not a checkpoint")
    for arguments in (["train", "--resume"], ["eval"]):
        _, err = output_of(capsys, [*arguments, tmp_path / "nope"], 2)
        assert str(tmp_path / "nope") in err and "the checkpoint does not exist" in err
        _, err = output_of(capsys, [*arguments, tmp_path / "text"], 2)
        assert str(tmp_path / "text") in err and "not a checkpoint" in err


def test_each_command_has_help(capsys):
    """The status is 0; the command's options are listed, and nested settings need no prefix."""
    out, _ = output_of(capsys, ["train", "chaos", "--help"], 0)
    for option in ("--slots", "--realms", "--hidden", "--horizon", "--run", "--minutes", "--no-recurrent"):
        assert option in out, option
    out, _ = output_of(capsys, ["train", "--help"], 0)
    assert "--slots" in out
    out, _ = output_of(capsys, ["eval", "--help"], 0)
    assert "--max-ticks" in out
    out, _ = output_of(capsys, ["train", "--resume", "x", "--help"], 0)
    assert "--checkpoint-minutes" in out and "--slots" not in out


def test_train_resume_and_evaluate(capsys, tmp_path):
    """Runs from the first iteration to the table in a tiny world."""
    run = tmp_path / "run"
    train = ["train", "chaos", *TINY, "--run", run, "--recurrent", "--targeting", "learned", "--seed", 5]
    out, _ = output_of(capsys, [*train, "--iterations", 2, "--reach", 1, 2, 4], 0)
    assert "iteration 2" in out
    stored = checkpoints.load(run, CPU)
    assert stored.counters["iteration"] == 2
    assert stored.config.policy.recurrent and stored.config.policy.targeting == "learned"
    assert stored.config.env.world.reach == (1, 2, 4) and stored.config.env.seed == 5
    assert json.loads((run / "config.json").read_text())["env"]["world"]["slots"] == 16

    _, err = output_of(capsys, train, 2)
    assert "already holds a run" in err and "--resume" in err
    _, err = output_of(capsys, ["train", "--resume", run], 2)
    assert "iterations = 2 has been reached" in err
    for form in (["--resume", run], [f"--resume={run}"]):
        done = checkpoints.load(run, CPU).counters["iteration"]
        out, _ = output_of(capsys, ["train", *form, "--iterations", int(done) + 2], 0)
        assert f"iteration {done + 2}" in out
    stored = checkpoints.load(run, CPU)
    assert stored.counters["iteration"] == 6 and stored.config.env.seed == 5

    options = ["--realms", 3, "--max-ticks", 150, "--device", "cpu"]
    out, _ = output_of(capsys, ["eval", run, *options], 0)
    for words in ("slots kept full", "trained", "random", "lava", "combat", "agent-steps lived / deaths"):
        assert words in out, words
    file = run / checkpoints.FILE
    again, _ = output_of(capsys, ["eval", file, *options], 0)
    assert again == out, "the seed determines the evaluation"
    less, _ = output_of(capsys, ["eval", run, *options, "--no-full", "--seed", 3], 0)
    assert "slots kept full" not in less and "trained" in less


def test_evaluate_scripted_policies(capsys, tmp_path):
    """They play by a preset's rules with random agents, or with a trained policy; a misspelt name is
    refused."""
    options = ["--realms", 1, "--max-ticks", 60, "--device", "cpu", "--no-full"]
    out, _ = output_of(capsys, ["eval", "chaos", "--scripted", "hunter", "forager", *options], 0)
    rows = [word.rstrip(",") for word in out.split() if word.endswith(",")]
    assert rows[:3] == ["hunter", "forager", "random"] and "trained" not in out and "the training" not in out
    train = ["train", "chaos", *TINY, "--run", tmp_path / "run", "--iterations", 1]
    output_of(capsys, train, 0)
    out, _ = output_of(capsys, ["eval", tmp_path / "run", "--scripted", "forager", *options], 0)
    assert out.index("trained,") < out.index("forager,") < out.index("random,")
    out, err = output_of(capsys, ["eval", "chaos", "--scripted", "gatherer"], 2)
    assert "gatherer" in out + err and "forager" in out + err


def test_expected_errors_have_no_traceback(capsys, monkeypatch):
    """That holds for every error of the package; any other exception is a bug and is not caught."""

    def lost(arguments):
        raise MapError("map.tmx is lost; find it.")

    def broken(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_eval", lost)
    assert output_of(capsys, ["eval"], 2)[1] == "nmmo-gpu: map.tmx is lost; find it."
    monkeypatch.setattr(cli, "_eval", broken)
    with pytest.raises(ZeroDivisionError):
        cli.run(["eval"])


def test_the_module_exits_with_the_status():
    """``python -m nmmo_gpu`` exits with the status."""
    done = subprocess.run(
        [sys.executable, "-m", "nmmo_gpu", "fly"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2 and "'fly' is not a command" in done.stderr and not done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are not interpreted where there is a GPU")
def test_training_with_interpreted_kernels(capsys, tmp_path):
    """In a tiny world under Triton's interpreter, training ends with status 0 and leaves a checkpoint with
    finite, changed weights that can be evaluated."""
    pytest.importorskip("triton")
    run = tmp_path / "run"
    tiny = [
        "--realms", 1, "--slots", 16, "--height", 40, "--width", 40, "--populations", 2, "--vision", 3,
        "--horizon", 4, "--epochs", 1, "--minibatches", 2, "--hidden", 8, "--backend", "triton",
        "--device", "cpu",
    ]  # fmt: skip
    out, _ = output_of(capsys, ["train", "chaos", *tiny, "--iterations", 2, "--run", run], 0)
    assert "iteration 2" in out
    stored = checkpoints.load(run, CPU)
    assert stored.counters["iteration"] == 2 and stored.config.env.backend == "triton"
    assert int(stored.part("world")["tick"]) == 1 + 2 * 4 and stored.counters["agent_steps"] > 0
    for name, weight in stored.part("policy").items():
        assert weight.isfinite().all(), name
    assert stored.part("optimizer")["window.step"] == 2 * 2 and stored.part("policy")["value_bias"].all()

    options = ["--realms", 1, "--max-ticks", 2, "--no-full", "--device", "cpu"]
    out, _ = output_of(capsys, ["eval", run, *options], 0)
    assert "trained, 1 ticks" in out


def test_kernels_on_a_cpu_need_the_interpreter(capsys, tmp_path, monkeypatch):
    """The error says how to enable the interpreter, and no file is created."""
    pytest.importorskip("triton")
    monkeypatch.setattr("nmmo_gpu.kernels.launch.INTERPRETED", False)
    arguments = ["train", "chaos", *TINY, "--backend", "triton", "--run", tmp_path / "run"]
    _, err = output_of(capsys, arguments, 2)
    assert 'backend = "triton" runs on a GPU' in err and "TRITON_INTERPRET=1" in err
    assert not list(tmp_path.iterdir())


def test_bench_prints_a_line_per_batch_size(capsys, tmp_path):
    """The results are written as JSON."""
    file = tmp_path / "bench.json"
    quick = ["--batches", 2, 3, "--repeats", 1, "--seconds", 0.01]
    out, _ = output_of(capsys, ["bench", "law", *TINY, *quick, "--json", file], 0)
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


def test_bench_refuses_an_unwritable_file_before_measuring(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    _, err = output_of(capsys, ["bench", "chaos", *TINY, "--json", tmp_path / "file" / "out.json"], 2)
    assert "json = " in err and "cannot be written" in err


@pytest.mark.parametrize(
    ("arguments", "realms"),
    [
        (["--record"], (0,)),
        (["--record", "1", "0"], (1, 0)),
        (["--record", "--log-every", "1"], (0,)),
        ([], ()),
    ],
)
def test_record_without_a_number_is_the_first_realm(arguments, realms, tmp_path):
    """The options around it are unchanged."""
    run = ["train", "chaos", *TINY, "--iterations", "1", "--run", str(tmp_path), *arguments]
    assert cli.run(run) == 0
    assert checkpoints.load(tmp_path, CPU).config.record == realms
    folder = tmp_path / "replays"
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    assert names == sorted(f"realm-{realm}-2.replay" for realm in realms)
