"""The folder of a run: locked, described, and refused early where it cannot be used."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from safetensors.torch import save_file
from train.small import CPU, small

import nmmo_gpu
from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import run_folder
from nmmo_gpu.train.run import Run, resume, train
from nmmo_gpu.train.trinity import God, Trinity


def contents(folder: Path) -> dict[str, bytes | None]:
    """Returns the names of all that is in a folder, with the contents of files."""
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


IMPOSSIBLE = {
    "below a file": lambda folder: folder / "file" / "run",
    "a file": lambda folder: folder / "file",
    "long": lambda folder: folder / ("x" * 300),
    "long, below a new folder": lambda folder: folder / "new" / "newer" / ("x" * 300),
    "null byte": lambda folder: f"{folder}/a\0b",
    "loop of links": lambda folder: folder / "loop" / "run",
    "lock is a folder": lambda folder: folder / "odd",
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_folder_is_refused_before_anything_is_made(name, tmp_path, monkeypatch):
    """Nothing is allocated or created before the error, which names the folder and says why."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "odd" / run_folder.LOCK).mkdir(parents=True)
    before = contents(tmp_path)
    monkeypatch.setattr(Run, "__init__", lambda *_: pytest.fail("the run was allocated"))
    with pytest.raises(ConfigError, match=r"run = .*cannot be written \(.+\); choose a writable folder"):
        train(small(IMPOSSIBLE[name](tmp_path), iterations=1))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_forbidden_folder_is_refused(call, tmp_path, monkeypatch):
    """As for a user without the right to write (the superuser, who may run this test, has every right)."""

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(*{"mkdir": (Path, "mkdir"), "open": (os, "open")}[call], forbidden)
    with (
        pytest.raises(ConfigError, match=r"run = .*Permission denied"),
        run_folder.opened(small(tmp_path / "run"), resumed=False),
    ):
        pytest.fail("the folder was opened")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_leaves_nothing(tmp_path):
    """Folders that were created for a run that cannot start are removed."""

    class Failing(God):
        def __init__(self, *_):
            raise CheckpointError("not this one")

    with pytest.raises(CheckpointError, match="not this one"):
        train(small(tmp_path / "a" / "b" / "run", iterations=1), trinity=Trinity(god=Failing))
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_not_replaced(tmp_path):
    """A folder with a config.json or run.json of another program is refused, unchanged."""
    for name in (run_folder.CONFIG, run_folder.ORIGIN):
        for text in ("{}", "not JSON", '{"id": 5, "starts": []}', "[" * 100_000):
            folder = tmp_path / name / str(len(text))
            folder.mkdir(parents=True)
            (folder / name).write_text(text)
            before = contents(folder)
            with pytest.raises(ConfigError, match=rf"{name} that was not written by a run"):
                train(small(folder, iterations=1))
            assert contents(folder) == before


def test_a_run_killed_before_its_first_checkpoint_makes_way(tmp_path):
    """A new run in the folder of a run without a checkpoint takes its place."""

    class Dying(God):
        def collect(self):
            raise ZeroDivisionError

    config = small(tmp_path / "run", iterations=2, record=(0,))
    with pytest.raises(ZeroDivisionError):
        train(config, trinity=Trinity(god=Dying))
    first = json.loads((tmp_path / "run" / run_folder.ORIGIN).read_text())
    run = train(config)
    second = json.loads((tmp_path / "run" / run_folder.ORIGIN).read_text())
    assert run.iteration == 2 and second["id"] == first["id"] == run.run_id


class Meanwhile(God):
    """Calls a function during its second rollout."""

    call = staticmethod(lambda: None)
    rollouts = 0

    def collect(self):
        type(self).rollouts += 1
        if self.rollouts == 2:
            type(self).call()
        return super().collect()


def test_two_runs_cannot_share_a_folder(tmp_path):
    """While a run trains, a second one in its folder is refused, new or resumed, in this process or another,
    and changes nothing; afterwards the run can be resumed."""
    folder = tmp_path / "run"
    config = small(folder, iterations=3, checkpoint_minutes=0.0)
    found = []

    def intrude():
        before = contents(folder)
        with pytest.raises(ConfigError, match=r"already holds a run"):
            train(config)
        with pytest.raises(
            ConfigError, match=rf"is in use by process {os.getpid()} on .*choose another --run"
        ):
            train(*resume(str(folder), iterations=9))
        command = [sys.executable, "-m", "nmmo_gpu", "train", "--resume", str(folder), "--iterations", "9"]
        found.append(subprocess.run(command, capture_output=True, text=True))
        assert contents(folder) == before

    god = type("God", (Meanwhile,), {"call": staticmethod(intrude), "rollouts": 0})
    assert train(config, trinity=Trinity(god=god)).iteration == 3
    assert found[0].returncode == 2 and "is in use by process" in found[0].stderr, found
    assert "Traceback" not in found[0].stderr
    assert train(*resume(str(folder), iterations=4)).iteration == 4


def test_a_run_says_what_made_it(tmp_path, monkeypatch):
    """run.json has an id, and for every start version, commit, command, time and iteration."""
    folder = tmp_path / "run"
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "nmmo_gpu", "train", "chaos", "--run", "a b"])
    train(small(folder, iterations=2))
    train(*resume(str(folder), iterations=3))
    origin = json.loads((folder / run_folder.ORIGIN).read_text())
    assert len(origin["id"]) == 32
    assert [start["iteration"] for start in origin["starts"]] == [0, 2]
    for start in origin["starts"]:
        assert start["nmmo_gpu"] == nmmo_gpu.__version__ and start["process"] == os.getpid()
        assert start["command"] == "python -m nmmo_gpu train chaos --run 'a b'"
        assert start["commit"] == run_folder.commit()
        assert {"torch", "numpy", "triton", "numba", "python", "host", "time", "folder"} <= set(start)


def test_the_commit_is_that_of_the_checkout(tmp_path, monkeypatch):
    """It is known in a checkout of this package, marked if files have changed, and unknown in a checkout of
    another project that contains the package."""
    if shutil.which("git") is None:
        pytest.skip("git is missing")

    def git(*arguments):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        output = subprocess.run(["git", "-C", top, *identity, *arguments], capture_output=True, check=True)
        return output.stdout.decode().strip()

    top = tmp_path / "checkout"
    package = top / "nmmo_gpu"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    monkeypatch.setattr(nmmo_gpu, "__file__", str(package / "__init__.py"))
    assert run_folder.commit() == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed")
    assert run_folder.commit() == git("rev-parse", "HEAD") + "+"
    inner = top / "vendored" / "nmmo_gpu"
    inner.mkdir(parents=True)
    monkeypatch.setattr(nmmo_gpu, "__file__", str(inner / "__init__.py"))
    assert run_folder.commit() != git("rev-parse", "HEAD")


def test_everything_in_the_folder_follows_the_umask(tmp_path):
    """All files of a run can be read by those whom the umask allows."""
    before = os.umask(0o027)
    try:
        train(small(tmp_path / "run", iterations=1, record=(0,)))
    finally:
        os.umask(before)
    files = [
        path for path in (tmp_path / "run").rglob("*") if path.is_file() and path.name != run_folder.LOCK
    ]
    assert len(files) >= 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


COPIES = (
    "checkpoint-proof.safetensors", "checkpoint-1of2.safetensors", "checkpoint-copy-of-1.safetensors",
    "checkpoint-5-1of2.safetensors", "checkpoint.safetensors.bak", "checkpoint.writing",
)  # fmt: skip


def test_copies_survive_the_next_save(tmp_path):
    """Whatever a user calls the copy of a checkpoint, later saves keep it as it is."""
    folder = tmp_path / "run"
    train(small(folder, iterations=1))
    for name in COPIES:
        shutil.copy(folder / checkpoints.FILE, folder / name)
    before = {name: (folder / name).read_bytes() for name in COPIES}
    train(*resume(str(folder), iterations=2))
    assert before == {name: (folder / name).read_bytes() for name in COPIES}
    assert checkpoints.load(folder, CPU).counters["iteration"] == 2


def test_only_own_shards_are_deleted(tmp_path):
    """Of files named as shards, those that this run has written under this name."""
    run = Run(small(tmp_path, iterations=1), run_id="this")
    save = {"x": next(run.sword.policy.parameters()).detach()}
    own = {"format": checkpoints.SHARD_FORMAT, "run": "this"}
    names = {f"checkpoint-{k}-1of2.safetensors": k for k in range(1, 5)}
    metadata = [
        own | {"name": "checkpoint-1-1of2.safetensors"},
        own | {"name": "checkpoint-1-1of2.safetensors"},
        own | {"name": "checkpoint-3-1of2.safetensors", "run": "other"},
        own | {"name": "checkpoint-4-1of2.safetensors", "format": "another"},
    ]
    for name, one in zip(names, metadata, strict=True):
        save_file(save, tmp_path / name, one)
    (tmp_path / "checkpoint-5-1of2.safetensors").write_text("mine")
    run.save()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*list(names)[1:], "checkpoint-5-1of2.safetensors", checkpoints.FILE}


def test_parts_of_a_killed_run_are_deleted(tmp_path):
    """The next start clears what a killed save has left."""
    folder = tmp_path / "run"
    train(small(folder, iterations=1))
    part = folder / ".checkpoint-7-1of2.safetensors.123-45.nmmo-gpu-part"
    part.write_bytes(b"half")
    train(*resume(str(folder), iterations=2))
    assert not part.exists()


def test_resuming_a_copy_does_not_replace_the_checkpoint(tmp_path):
    """A checkpoint file next to another one is refused; in a folder of its own it can be resumed."""
    folder = tmp_path / "run"
    train(small(folder, iterations=1))
    copy = folder / "good.safetensors"
    shutil.copy(folder / checkpoints.FILE, copy)
    with pytest.raises(ConfigError, match=r"would .*replace checkpoint.safetensors"):
        resume(str(copy), iterations=2)
    assert resume(str(folder / checkpoints.FILE), iterations=2)[1].counters["iteration"] == 1
    (tmp_path / "new").mkdir()
    copy.rename(tmp_path / "new" / checkpoints.FILE)
    assert train(*resume(str(tmp_path / "new"), iterations=2)).iteration == 2


def test_training_in_a_thread(tmp_path):
    """A thread other than the main one can train; signals are not handled then."""
    results = []
    config = small(tmp_path / "run", iterations=2)
    thread = threading.Thread(target=lambda: results.append(train(config).iteration))
    thread.start()
    thread.join()
    assert results == [2]
