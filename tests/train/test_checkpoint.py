"""Checkpoints are written atomically, execute nothing when loaded, and give clear errors for invalid
files."""

from __future__ import annotations

import io
import json
import os
import pickle
import random

import pytest
import safetensors
import safetensors.torch
import torch
from train.small import CPU, assert_equal_states, small, state_of

from nmmo_gpu.errors import CheckpointError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.run import Run


@pytest.fixture(scope="module")
def run():
    """Returns a recurrent run after one iteration, whose checkpoint has every kind of tensor."""
    made = Run(small(recurrent=True, targeting="learned", minutes=2.5, seed=-5))
    made.iterate()
    return made


@pytest.fixture
def path(run, tmp_path):
    """Returns the path of the run's checkpoint."""
    checkpoints.save(tmp_path / checkpoints.FILE, run.checkpoint())
    return tmp_path / checkpoints.FILE


def rewrite(path, change):
    """Rewrites the file after ``change(tensors, metadata)``."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    safetensors.torch.save_file(tensors, path, metadata)


def test_a_checkpoint_round_trips(run, path):
    """Config, counters and every tensor come back unchanged, from the file and from its folder."""
    for where in (path, path.parent):
        stored = checkpoints.load(where, CPU)
        assert stored.config == run.config
        assert stored.counters == {
            "iteration": 1, "agent_steps": run.agent_steps, "seconds": run.seconds,
            "schedule_scale": 1.0,
        }  # fmt: skip
        written = run.checkpoint().tensors
        assert stored.tensors.keys() == written.keys()
        for name, tensor in written.items():
            assert stored.tensors[name].dtype == tensor.dtype, name
            assert torch.equal(stored.tensors[name], tensor), name
    prefixes = {name.split(".")[0] for name in written}
    assert prefixes == {"world", "realms", "policy", "optimizer", "god"}
    assert stored.part("god").keys() == {"tally.lifetimes", "tally.sums", "tally.causes", "visits"}
    assert stored.part("realms").keys() == {"state"}
    assert os.listdir(path.parent) == [checkpoints.FILE], "a temporary file is left"


def test_a_restored_run_equals_the_run(run, path):
    """A Run made from the file has the same tensors, and its world the same digest."""
    other = Run(small(recurrent=True, targeting="learned", minutes=2.5, seed=-5), checkpoints.load(path, CPU))
    assert_equal_states(state_of(other), state_of(run))
    assert other.god.env.world.digest() == run.god.env.world.digest()
    assert torch.equal(other.god.env.records, run.god.env.records)
    assert other.seconds == run.seconds


def full_disk(*args, **kwargs):
    """Fails as a full disk does."""
    raise OSError(28, "No space left on device")


def half_written(tensors, file, metadata=None):
    """Writes some bytes and then fails as a full disk does."""
    with open(file, "wb") as out:
        out.write(b"half of a checkpoint")
    full_disk()


@pytest.mark.parametrize(("where", "name", "fault"), [
    (os, "replace", full_disk),
    (os, "fsync", full_disk),
    (checkpoints.safetensors.torch, "save_file", half_written),
])  # fmt: skip
def test_a_failed_save_keeps_the_previous_checkpoint(run, path, monkeypatch, where, name, fault):
    """Whichever step fails, it raises CheckpointError and the old file is unchanged. The next save succeeds
    once there is space."""
    before = path.read_bytes()
    newer = run.checkpoint()
    newer.counters["iteration"] = 99
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fault)
        with pytest.raises(CheckpointError, match=r"No space left.*previous checkpoint"):
            checkpoints.save(path, newer)
    assert path.read_bytes() == before
    assert checkpoints.load(path, CPU).counters["iteration"] == 1
    checkpoints.save(path, newer)
    assert checkpoints.load(path, CPU).counters["iteration"] == 99


def test_a_save_that_is_killed_keeps_the_previous_checkpoint(run, path, monkeypatch):
    """Even an unhandled exception at the last moment leaves the old file unchanged."""
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(path, run.checkpoint())
    assert path.read_bytes() == before
    assert checkpoints.load(path.parent, CPU).counters["iteration"] == 1


def test_save_flushes_before_it_replaces(run, tmp_path, monkeypatch):
    """The new file is on the disk before it replaces the old one, and the folder is flushed after it."""
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("flush"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("replace"), replace(a, b)))
    checkpoints.save(tmp_path / checkpoints.FILE, run.checkpoint())
    assert done == ["flush", "replace", "flush"]


def test_saving_into_a_missing_folder_is_an_error(run, tmp_path):
    with pytest.raises(CheckpointError, match="could not be written"):
        checkpoints.save(tmp_path / "nowhere" / checkpoints.FILE, run.checkpoint())


def test_a_missing_file_is_an_error(tmp_path):
    """Neither a missing path nor an empty folder has a checkpoint."""
    for where in (tmp_path, tmp_path / "nope", tmp_path / "nope" / checkpoints.FILE):
        with pytest.raises(CheckpointError, match="no checkpoint"):
            checkpoints.load(where, CPU)


def test_truncated_files_are_refused(path):
    """Files of many lengths are, particularly around the header's borders."""
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    borders = [0, 1, 7, 8, 9, header - 1, header, header + 1, len(whole) // 2, len(whole) - 1]
    for length in borders + random.Random(1).sample(range(len(whole)), 60):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=str(path)):
            checkpoints.load(path, CPU)
    path.write_bytes(whole)
    assert checkpoints.load(path, CPU).counters["iteration"] == 1


def test_a_damaged_header_is_refused_or_harmless(path):
    """A random byte of the header is changed many times: loading raises CheckpointError or returns other
    values, and raises no other exception."""
    whole = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(whole[:8], "little")
    random_, refused = random.Random(2), 0
    for _ in range(300):
        at = random_.randrange(header)
        damaged = bytearray(whole)
        damaged[at] = random_.choice(b'{}[]":,0123456789 aZ\xff\x00')
        path.write_bytes(damaged)
        try:
            checkpoints.load(path, CPU)
        except CheckpointError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 100


def test_random_bytes_are_refused(path):
    """Random files of several lengths are."""
    random_ = random.Random(3)
    for length in (1, 8, 100, 5000):
        path.write_bytes(random_.randbytes(length))
        with pytest.raises(CheckpointError, match="not a checkpoint"):
            checkpoints.load(path, CPU)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_a_pickle_is_never_loaded(tmp_path, how):
    """A file that would run code when unpickled is refused, and the code has not run. Unpickling it
    afterwards shows that it would have."""
    path, trapped = tmp_path / checkpoints.FILE, tmp_path / "trapped"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Trap(str(trapped))))
    else:
        torch.save(Trap(str(trapped)), path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(CheckpointError):
        checkpoints.load(path, CPU)
    assert not trapped.exists()
    if how == "pickle":
        pickle.loads(path.read_bytes()).close()
    else:
        torch.load(io.BytesIO(path.read_bytes()), weights_only=False).close()
    assert trapped.exists()


def test_other_safetensors_files_are_refused(path):
    """They have no metadata, or metadata of another program."""
    for metadata in (None, {"format": "pt"}):
        safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata)
        with pytest.raises(CheckpointError, match="a safetensors file, but not an nmmo-gpu checkpoint"):
            checkpoints.load(path, CPU)


@pytest.mark.parametrize("version", ["0", "2", "3", "4", "next", ""])
def test_other_versions_are_refused(path, version):
    """The error names both versions and the remedy."""
    rewrite(path, lambda tensors, metadata: metadata.update(version=version))
    with pytest.raises(CheckpointError, match=f"format version {version}.*version {checkpoints.VERSION}"):
        checkpoints.load(path, CPU)


def test_a_checkpoint_without_a_schedule_scale_has_the_usual_one(path):
    """The first checkpoints of this version do not have it."""

    def without(tensors, metadata):
        counters = json.loads(metadata["counters"])
        del counters["schedule_scale"]
        metadata["counters"] = json.dumps(counters)

    rewrite(path, without)
    assert checkpoints.load(path, CPU).counters["schedule_scale"] == 1.0


def spoil_config(**values):
    """Returns a function that changes fields of the stored config; double underscores separate nested
    names."""

    def change(tensors, metadata):
        config = json.loads(metadata["config"])
        for name, value in values.items():
            *path, last = name.split("__")
            part = config
            for step in path:
                part = part[step]
            part[last] = value
        metadata["config"] = json.dumps(config)

    return change


@pytest.mark.parametrize("change", [
    spoil_config(color="red"),
    spoil_config(env__world__gravity=9.81),
    spoil_config(env__world__slots=-1),
    spoil_config(env__world="flat"),
    spoil_config(policy__hidden="wide"),
    spoil_config(ppo__gamma=None),
    lambda tensors, metadata: metadata.update(config="{"),
    lambda tensors, metadata: metadata.update(config="null"),
    lambda tensors, metadata: metadata.update(counters="nonsense"),
    lambda tensors, metadata: metadata.pop("config"),
    lambda tensors, metadata: metadata.pop("counters"),
    lambda tensors, metadata: metadata.pop("network"),
], ids=[
    "unknown field", "unknown rule", "impossible value", "no rules", "wrong type", "none", "broken json",
    "null", "broken counters", "no config", "no counters", "no network",
])  # fmt: skip
def test_impossible_configs_are_refused(path, change):
    """Unknown fields, impossible values and missing parts are found when the file is read."""
    rewrite(path, change)
    with pytest.raises(CheckpointError, match=str(path)):
        checkpoints.load(path, CPU)


@pytest.mark.parametrize("counters", [
    "[]", "3", "{}", '{"iteration": 1, "agent_steps": 5}',
    '{"iteration": "one", "agent_steps": 5, "seconds": 1}',
])  # fmt: skip
def test_impossible_counters_are_refused(path, run, counters):
    """They are refused at the latest when a run is restored from them."""
    rewrite(path, lambda tensors, metadata: metadata.update(counters=counters))
    with pytest.raises(CheckpointError):
        Run(run.config, checkpoints.load(path, CPU))


TENSORS = (
    "world.health", "world.visited", "world.tick", "policy.window", "policy.value_bias",
    "optimizer.window.exp_avg", "optimizer.window.step", "god.visits", "realms.state", "god.tally.sums",
)  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("fault", ["missing", "shape", "dtype"])
def test_a_tensor_that_does_not_fit_is_refused(path, run, name, fault):
    """A missing tensor, or one with another shape or dtype, raises CheckpointError with its name when a run
    is restored."""

    def change(tensors, metadata):
        if fault == "missing":
            del tensors[name]
        elif fault == "shape":
            tensors[name] = torch.cat((tensors[name].reshape(-1), tensors[name].reshape(-1)))
        else:
            tensors[name] = tensors[name].to(torch.complex64)

    rewrite(path, change)
    stored = checkpoints.load(path, CPU)
    with pytest.raises(CheckpointError, match=name.split(".", 1)[-1].replace(".", r"\.")):
        Run(run.config, stored)


@pytest.mark.parametrize("name", [
    "world.weather", "policy.ask", "optimizer.ask.step", "optimizer.window.momentum", "god.tally.more",
    "realms.more", "sword.more", "loose",
])  # fmt: skip
def test_an_unknown_tensor_is_refused(path, run, name):
    """Whatever part it belongs to, restoring raises CheckpointError with its name and does not change the
    run."""
    rewrite(path, lambda tensors, metadata: tensors.update({name: torch.ones(4)}))
    with pytest.raises(CheckpointError, match=f"unexpected tensors {name};"):
        Run(run.config, checkpoints.load(path, CPU))


def test_a_refused_checkpoint_restores_nothing():
    """If one tensor is missing or unknown, the tensors that fit are not restored either."""
    for stored in ({"a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(1)}):
        into = {"a": torch.zeros(2), "b": torch.zeros(3)}
        with pytest.raises(CheckpointError):
            checkpoints.restore(into, stored)
        assert not into["a"].any() and not into["b"].any()


def test_a_checkpoint_of_another_network_size_is_refused(path):
    stored = checkpoints.load(path, CPU)
    with pytest.raises(CheckpointError, match="expected"):
        Run(small(recurrent=True, targeting="learned", hidden=16), stored)
