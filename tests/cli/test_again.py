"""``--check`` stops at the tick that breaks an invariant, and the command that it prints stops there too."""

from __future__ import annotations

import shlex

import pytest
from support.commands import TINY, output_of

PLAY = ["play", "chaos", "--height", "40", "--width", "40", "--slots", "16", "--populations", "2", "--device",
        "cpu", "--seed", "7"]  # fmt: skip


def command_in(err):
    """Returns the arguments of the printed command."""
    words = shlex.split(err.partition(": nmmo-gpu ")[2].partition(" (with")[0])
    assert words, err
    return words


@pytest.mark.parametrize("more", [
    ["--ticks", "40", "--out=first"],
    ["--births", "-1", "--rate=500", "--port", "0", "--no-browser", "--out", "first"],
])  # fmt: skip
def test_the_command_that_play_prints_stops_at_the_same_tick(
    broken_rule, capsys, tmp_path, monkeypatch, more
):
    """Its other options are those of the first; it writes into a new folder."""
    monkeypatch.chdir(tmp_path)
    said = "realm 0, slot 2, tick 9: food is -4; it must be from 0 to 32"
    _, err = output_of(capsys, [*PLAY, *more, "--check"], 2)
    assert said in err and "Traceback" not in err
    for _ in range(2):  # the printed command prints one as well
        words = command_in(err)
        assert words[: len(PLAY)] == PLAY and "first" not in words
        assert ("--births" in words) == ("--births" in more) and words[-4:-1] == ["--ticks", "8", "--out"]
        _, err = output_of(capsys, words, 2)
        assert said in err
    output_of(capsys, [word if word != "8" else "7" for word in words[:-1]] + ["earlier"], 0)
    output_of(capsys, [*PLAY, "--ticks", "12", "--out", "unchecked"], 0)


@pytest.mark.parametrize("saved", [True, False])
def test_the_command_that_train_prints_stops_at_the_same_tick(
    broken_rule, capsys, tmp_path, monkeypatch, saved
):
    """It resumes the last checkpoint, which is from before the error, or begins again without one. The
    checkpoint is not overwritten by a world that is wrong."""
    monkeypatch.chdir(tmp_path)
    every = "0" if saved else "9"
    first = ["train", "chaos", *TINY, "--iterations", "5", "--run", "run", "--checkpoint-minutes", every]
    said = "realm 1, slot 2, tick 9: food is -4"
    _, err = output_of(capsys, [*first, "--check"], 2)
    assert said in err
    assert (tmp_path / "run" / "checkpoint.safetensors").exists() == saved
    words = command_in(err)
    assert words == (["train", "--resume", "run", "--check"] if saved else [*first, "--check"])
    _, err = output_of(capsys, words, 2)
    assert said in err and command_in(err) == words


def test_a_run_can_be_checked_from_a_resume_on(broken_rule, capsys, tmp_path, monkeypatch):
    """Though it was trained without."""
    monkeypatch.chdir(tmp_path)
    output_of(capsys, ["train", "chaos", *TINY, "--iterations", "1", "--run", "run"], 0)
    _, err = output_of(capsys, ["train", "--resume", "run", "--iterations", "4", "--check"], 2)
    assert "tick 9: food is -4" in err
    assert command_in(err) == ["train", "--resume", "run", "--iterations", "4", "--check"]
    output_of(capsys, ["train", "--resume", "run", "--iterations", "4"], 0)


def test_the_note_says_that_time_changes_a_run(broken_rule, capsys, tmp_path, monkeypatch):
    """A limit of minutes makes the learning rate depend on the time."""
    monkeypatch.chdir(tmp_path)
    _, err = output_of(capsys, ["train", "chaos", *TINY, "--minutes", "5", "--run", "run", "--check"], 2)
    assert "so another run can differ" in err


def test_the_command_gives_the_classes_of_the_run(broken_rule, capsys, tmp_path, monkeypatch):
    """As the first one did, whether it resumes the last checkpoint or begins again."""
    monkeypatch.chdir(tmp_path)
    given = ["--trinity", "nmmo_gpu.train.trinity:God", "nmmo_gpu.train.policy:Policy"]
    for every, run in (("0", "saved"), ("9", "new")):
        first = [
            "train",
            "chaos",
            *TINY,
            *given,
            "--iterations",
            "5",
            "--run",
            run,
            "--checkpoint-minutes",
            every,
        ]
        _, err = output_of(capsys, [*first, "--check"], 2)
        words = command_in(err)
        again = ["train", "--resume", run, *given, "--check"] if run == "saved" else [*first, "--check"]
        assert words == again
        assert command_in(output_of(capsys, words, 2)[1]) == words
