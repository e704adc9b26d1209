"""Checkpoints are written atomically, execute nothing when loaded, and give clear errors for invalid
files."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import random
import resource
import sys
from types import ModuleType

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.damage import changed, changed_config, contents, damaged, flipped, rewrite
from train.small import CPU, assert_equal_states, small, state_of

from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import checkpoint_check
from nmmo_gpu.train.class_names import ClassNames
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trinity import God


def classes(**names):
    """Returns the JSON of the stock classes, with some other names."""
    return json.dumps(ClassNames()._asdict() | names)


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
        with pytest.raises(CheckpointError, match="the checkpoint does not exist"):
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


def test_a_damaged_header_is_refused(path):
    """A random byte of the header is changed many times: loading raises CheckpointError."""
    whole = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(whole[:8], "little")
    random_ = random.Random(2)
    for _ in range(300):
        at = random_.randrange(header)
        damaged_ = bytearray(whole)
        damaged_[at] = random_.choice(b'{}[]":,0123456789 aZ\xff\x00')
        if damaged_ != whole:
            path.write_bytes(damaged_)
            with pytest.raises(CheckpointError, match=str(path)):
                checkpoints.load(path, CPU)


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


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(run, path, monkeypatch):
    """safetensors opens a file twice; a run that is training may replace it in between."""
    newer = run.checkpoint()
    newer.counters["iteration"] = 99
    layout, reads = checkpoints.check.layout, []

    def replaced(file):
        reads.append(1)
        if len(reads) == 1:
            checkpoints.save(path, newer)
            raise ValueError("the digest of god.visits is wrong")
        return layout(file)

    monkeypatch.setattr(checkpoints.check, "layout", replaced)
    assert checkpoints.load(path, CPU).counters["iteration"] == 99
    reads.clear()

    def always_replaced(file):
        reads.append(1)
        checkpoints.save(path, newer)
        raise ValueError("the digest of god.visits is wrong")

    monkeypatch.setattr(checkpoints.check, "layout", always_replaced)
    with pytest.raises(CheckpointError, match="god.visits"):
        checkpoints.load(path, CPU)
    assert len(reads) == checkpoints.READS


@pytest.mark.parametrize("version", ["0", "2", "3", "4", "5", "6", "7", "next", ""])
def test_other_versions_are_refused(path, version):
    """The error names both versions and the remedy."""
    rewrite(path, lambda tensors, metadata: metadata.update(version=version))
    with pytest.raises(CheckpointError, match=f"format version {version}.*version {checkpoints.VERSION}"):
        checkpoints.load(path, CPU)


@pytest.mark.parametrize("change", [
    changed_config(color="red"),
    changed_config(env__world__gravity=9.81),
    changed_config(env__world__slots=-1),
    changed_config(env__world="flat"),
    changed_config(policy__hidden="wide"),
    changed_config(ppo__gamma=None),
    lambda tensors, metadata: metadata.update(config="{"),
    lambda tensors, metadata: metadata.update(config="null"),
    lambda tensors, metadata: metadata.update(counters="nonsense"),
    lambda tensors, metadata: metadata.pop("config"),
    lambda tensors, metadata: metadata.pop("counters"),
    lambda tensors, metadata: metadata.pop("classes"),
    lambda tensors, metadata: metadata.update(classes="{}"),
    lambda tensors, metadata: metadata.update(classes=classes(god=3)),
    lambda tensors, metadata: metadata.update(classes=classes(ship="a:B")),
], ids=[
    "unknown field", "unknown rule", "impossible value", "no rules", "wrong type", "none", "broken json",
    "null", "broken counters", "no config", "no counters", "no classes", "no class",
    "not a name", "another class",
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
def test_impossible_counters_are_refused(path, counters):
    rewrite(path, lambda tensors, metadata: metadata.update(counters=counters))
    with pytest.raises(CheckpointError, match=str(path)):
        checkpoints.load(path, CPU)


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
    with pytest.raises(CheckpointError, match=name.split(".", 1)[-1].replace(".", r"\.")):
        Run(run.config, checkpoints.load(path, CPU))


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


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    """Returns the path of the run's checkpoint, which is not changed."""
    path = tmp_path_factory.mktemp("intact") / checkpoints.FILE
    checkpoints.save(path, run.checkpoint())
    return path


def test_every_kind_of_damage_is_refused(file, path):
    """Accidents, and hostile changes whose digests are right."""
    kinds = set()
    for kind, data in damaged(file, 150):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=str(path)):
            checkpoints.load(path, CPU)
            pytest.fail(kind)
        kinds.add(kind)
    assert len(kinds) > 20


@pytest.mark.parametrize("policy_only", [False, True])
def test_a_flipped_bit_is_found(file, path, policy_only):
    """In the header, and in the data of every tensor that is read; the message names the tensor."""
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(5)
    places = {"header": [draw.randrange(8 * header) for _ in range(20)]}
    for name, entry in json.loads(whole[8:header]).items():
        begin, end = entry.get("data_offsets", (0, 0))
        if end > begin:
            first, last = 8 * (header + begin), 8 * (header + end) - 1
            places[name] = [draw.choice((first, draw.randint(first, last), last))]
    assert len(places) > 60
    for name, bits in places.items():
        read = name == "header" or name.startswith("policy.") or not policy_only
        for bit in bits:
            path.write_bytes(flipped(whole, bit))
            if read:
                words = (
                    str(path) if name == "header" else f"the digest of {name.replace('.', '[.]')} is wrong"
                )
                with pytest.raises(CheckpointError, match=words):
                    checkpoints.load(path, CPU, policy_only)
            else:
                checkpoints.load(path, CPU, policy_only)


def test_the_digest_covers_names(file, path):
    """Tensors of the same shape and dtype that have changed places are found, and so is another order of
    shards, or a counter."""
    tensors, metadata = contents(file)

    def swap(tensors, metadata):
        tensors["world.row"], tensors["world.col"] = tensors["world.col"], tensors["world.row"]

    def later(tensors, metadata):
        metadata["counters"] = metadata["counters"].replace('"iteration": 1', '"iteration": 2')

    def another_seed(tensors, metadata):
        metadata["config"] = metadata["config"].replace('"seed": -5', '"seed": -6')

    for change in (swap, later, another_seed):
        data = changed(tensors, metadata, change, seal=False)
        assert data != changed(tensors, metadata, lambda *_: None, seal=False)
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="digest"):
            checkpoints.load(path, CPU)


def test_a_world_outside_of_the_map_is_refused_when_it_is_loaded(path):
    """No rule ever sees it."""
    rewrite(path, lambda tensors, metadata: tensors["world.row"].fill_(10**6))
    with pytest.raises(CheckpointError, match="slot 0, tick .*: row is 1000000; it must be from 0 to 39"):
        checkpoints.load(path, CPU)


NUMBERS = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(), st.text(max_size=9),
    st.lists(st.integers(-3, 99), max_size=3), st.just({}), st.sampled_from([0, 1, 2, 16, 40, 10**7, 10**9]),
)  # fmt: skip


def places(plain, path=()):
    """Yields the path of every field of nested dicts."""
    for name, value in plain.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from places(value, (*path, name))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_of_any_setting_is_refused_or_loads_as_it_is(file, path, data):
    """Whatever the file says, if its digests are right; nothing else is raised, and what loads fits."""
    tensors, metadata = contents(file)
    where = data.draw(st.sampled_from(sorted(places(json.loads(metadata["config"])))))
    value = data.draw(NUMBERS)
    path.write_bytes(changed(tensors, metadata, changed_config(**{"__".join(where): value})))
    try:
        stored = checkpoints.load(path, CPU)
    except CheckpointError as error:
        assert str(path) in str(error)
        return
    found = to_plain(stored.config)
    for name in where:
        found = found[name]
    assert (list(found) if isinstance(found, tuple) else found) == value
    world = checkpoints.load_world(stored, CPU)
    assert world.alive.shape == (stored.config.env.realms, stored.config.env.world.entities)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_number_in_any_tensor_is_refused_or_played_safely(file, path, data):
    """A value that passes is one that the rules can handle: the world is stepped on."""
    tensors, metadata = contents(file)
    name = data.draw(st.sampled_from(sorted(name for name, t in tensors.items() if t.numel())))
    at = data.draw(st.integers(0, tensors[name].numel() - 1))
    bits = data.draw(st.binary(min_size=8, max_size=8))

    def change(tensors, metadata):
        raw = tensors[name].view(-1)[at : at + 1].view(torch.uint8)
        raw.copy_(torch.frombuffer(bytearray(bits), dtype=torch.uint8)[: len(raw)])

    path.write_bytes(changed(tensors, metadata, change))
    try:
        stored = checkpoints.load(path, CPU)
    except CheckpointError as error:
        assert str(path) in str(error)
        return
    env = Env(stored.config.env, checkpoints.load_world(stored, CPU))
    for _ in range(2):
        env.step(random_actions(env))
    env.world.validate()


@pytest.fixture
def sharded(file, path):
    """Returns the path of the run's checkpoint as two processes would write it."""
    tensors, metadata = contents(file)
    counters, config = json.loads(metadata["counters"]), checkpoints.load(file, CPU).config
    of_realms = {name for name in tensors if checkpoints._of_realms(name)}
    shards = [("checkpoint-1-1of2.safetensors", 0, 1), ("checkpoint-1-2of2.safetensors", 1, 1)]
    for name, first, count in shards:
        mine = {key: tensors[key].chunk(2)[first].contiguous() for key in of_realms}
        identity = checkpoint_check.shard_identity(config, counters, first, count)
        given = {"format": checkpoints.FORMAT + " shard", "part": identity}
        safetensors.torch.save_file(mine, path.with_name(name), checkpoint_check.sealed(mine, given))
    common = {name: tensor for name, tensor in tensors.items() if name not in of_realms}
    given = {**metadata, "shards": json.dumps(shards)}
    given = {name: text for name, text in given.items() if name not in ("digest", "digests")}
    safetensors.torch.save_file(common, path, checkpoint_check.sealed(common, given))
    return path


def test_a_checkpoint_in_shards_equals_one_in_a_file(file, sharded):
    whole, parts = checkpoints.load(file, CPU), checkpoints.load(sharded, CPU)
    assert whole.tensors.keys() == parts.tensors.keys()
    assert all(torch.equal(parts.tensors[name], tensor) for name, tensor in whole.tensors.items())
    assert checkpoints.load(sharded, CPU, policy_only=True).tensors.keys() <= whole.tensors.keys()


def fault(said):
    """Names the words of the error about a fault of shards."""

    def named(function):
        function.said = said
        return function

    return named


@fault("No such file|not a regular file")
def missing_shard(first, second, main):
    second.unlink()


@fault("not the shard of this checkpoint")
def swapped_shards(first, second, main):
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


@fault("not the shard of this checkpoint")
def shard_of_another_iteration(first, second, main):
    rewrite(second, lambda tensors, metadata: metadata.update(part=metadata["part"].replace(" 1 ", " 2 ", 1)))


@fault("digest")
def bit_of_a_shard(first, second, main):
    whole = second.read_bytes()
    second.write_bytes(flipped(whole, 8 * (len(whole) - 5000)))


@fault("world.row is missing|row is missing|expected")
def shard_without_rows(first, second, main):
    for shard in (first, second):
        rewrite(shard, lambda tensors, metadata: tensors.pop("world.row"))


@fault("expected")
def shard_of_more_realms(first, second, main):
    rewrite(second, lambda tensors, metadata: tensors.update(
        {name: torch.cat((tensor, tensor)) for name, tensor in tensors.items()}
    ))  # fmt: skip


@fault("tensors that are not of realms")
def policy_in_a_shard(first, second, main):
    rewrite(second, lambda tensors, metadata: tensors.update({"policy.window": torch.zeros(2)}))


@fault("realms of its own as well as shards")
def realms_twice(first, second, main):
    rows = contents(first)[0]["world.row"]
    rewrite(main, lambda tensors, metadata: tensors.update({"world.row": torch.cat((rows, rows))}))


@fault("row is 1000000")
def shard_outside_of_the_map(first, second, main):
    rewrite(second, lambda tensors, metadata: tensors["world.row"].fill_(10**6))


@fault("does not hold")
def realms_left_out(first, second, main):
    rewrite(main, lambda tensors, metadata: metadata.update(shards=json.dumps([[first.name, 0, 1]])))


@fault("not the name of a file next to")
def shard_in_another_folder(first, second, main):
    folder = main.parent / "elsewhere"
    folder.mkdir()
    second.rename(folder / second.name)
    names = [[first.name, 0, 1], [f"elsewhere/{second.name}", 1, 1]]
    rewrite(main, lambda tensors, metadata: metadata.update(shards=json.dumps(names)))


@pytest.mark.parametrize("change", [
    missing_shard, swapped_shards, shard_of_another_iteration, bit_of_a_shard, shard_without_rows,
    shard_of_more_realms, policy_in_a_shard, realms_twice, shard_outside_of_the_map, realms_left_out,
    shard_in_another_folder,
], ids=lambda change: change.__name__)  # fmt: skip
def test_shards_that_do_not_fit_are_refused(sharded, change):
    first, second = (sharded.with_name(f"checkpoint-1-{number}of2.safetensors") for number in (1, 2))
    change(first, second, sharded)
    with pytest.raises(CheckpointError, match=change.said) as caught:
        checkpoints.load(sharded, CPU)
    assert str(sharded) in str(caught.value)


def test_nothing_is_built_for_sizes_that_the_file_does_not_have(file, path, monkeypatch):
    """Neither a network nor a world: an allocation of these sizes would be noticed."""
    tensors, metadata = contents(file)
    for change in (
        {"policy__hidden": 10**7}, {"policy__layers": 10**6}, {"ppo__horizon": 10**9},
        {"env__world__slots": 1 << 24}, {"env__realms": 1 << 22}, {"env__world__height": 8192},
    ):  # fmt: skip
        path.write_bytes(changed(tensors, metadata, changed_config(**change)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(CheckpointError):
            checkpoints.load(path, CPU)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "in KB"


def test_a_rollout_that_does_not_fit_in_memory_is_refused(run):
    """A horizon has no counterpart in a file."""
    ppo = dataclasses.replace(run.config.ppo, horizon=1 << 16)
    env = dataclasses.replace(run.config.env, realms=1 << 14, world=run.config.env.world)
    with pytest.raises(ConfigError, match=r"GiB.*rollout.*Lower horizon"):
        God(dataclasses.replace(run.config, ppo=ppo, env=env), run.sword)


def test_the_name_of_a_class_runs_nothing(run, path):
    """No module is imported, and no attribute of one is computed, because a checkpoint names it."""
    touched = []
    module = ModuleType("lazy_module")
    module.__getattr__ = lambda name: touched.append(name)
    sys.modules["lazy_module"] = module
    try:
        for name in ("lazy_module:Network", "antigravity:Policy", "os:system", "lazy_module:a.b"):
            for part in ("network", "sword", "god", "pantheon"):
                named = classes(**{part: name})
                rewrite(path, lambda tensors, metadata, named=named: metadata.update(classes=named))
                with pytest.raises(CheckpointError, match=f"its {part} is {name}"):
                    Run(run.config, checkpoints.load(path, CPU))
        rewrite(path, lambda tensors, metadata: metadata.update(classes=classes(sword="x\x1b[2J:Sword")))
        with pytest.raises(CheckpointError, match="not printable"):
            checkpoints.load(path, CPU)
    finally:
        del sys.modules["lazy_module"]
    assert touched == [] and "antigravity" not in sys.modules
