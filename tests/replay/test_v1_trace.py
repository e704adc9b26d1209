"""The worlds reproduce every recording of v1, and a recording that differs is detected."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from support.helpers import DATA, KERNEL_DEVICE

from nmmo_gpu.errors import ConfigError, NmmoError
from nmmo_gpu.replay.v1_trace import ACTIONS, STATE, TraceError, first_difference, load_trace

FILES = sorted((DATA / "v1_traces").glob("*.npz"))
PLAYED_BY_KERNELS = [path for path in FILES if KERNEL_DEVICE.type == "cuda" or "-16-random" in path.stem]
"""All recordings on a GPU. Interpreted, all would take a minute and a half, so only one with most agents of
each preset is played there; ``scripts/replay_trace.py --backend triton`` plays the others too."""
BUSY = "chaos-16-random-15.npz"


@pytest.fixture
def busy():
    """Returns a new copy of a recording in which much happens."""
    return load_trace(DATA / "v1_traces" / BUSY)


def test_there_are_recordings_of_both_presets():
    assert len(FILES) == 16
    assert {str(load_trace(path)["preset"]) for path in FILES} == {"law", "chaos"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_all_numbers_of_every_recording_agree(backend, path):
    assert first_difference(load_trace(path), backend.name) is None


@pytest.mark.parametrize("path", PLAYED_BY_KERNELS, ids=lambda path: path.stem)
def test_recordings_agree_with_the_kernels(path):
    pytest.importorskip("triton")
    assert first_difference(load_trace(path), "triton", KERNEL_DEVICE.type) is None


def living(recording, time, agent_from_the_end=False):
    agents = np.nonzero(recording["alive"][time])[0]
    return int(agents[-1 if agent_from_the_end else 0])


@pytest.mark.parametrize("name", STATE)
@pytest.mark.parametrize("when", ["first", "middle", "last"])
def test_a_changed_number_is_reported_with_tick_agent_and_field(backend, busy, name, when):
    lived = np.nonzero(busy["alive"].any(1))[0]
    time = {"first": 1, "middle": int(lived[len(lived) // 2]), "last": int(lived[-1])}[when]
    agent = living(busy, time, agent_from_the_end=True)
    recorded = busy[name]
    busy[name] = recorded.astype(np.int64)
    if name == "immune":
        busy[name][time, agent] ^= 1
    else:
        busy[name][time, agent] += 1
    expected, changed = int(recorded[time, agent]), int(busy[name][time, agent])
    message = first_difference(busy, backend.name)
    assert message == f"tick {time - 1}, agent {agent}: {name} is {expected}, v1 has {changed}"


def test_a_changed_death_is_reported(backend, busy):
    agent = living(busy, 5)
    busy["alive"] = busy["alive"].astype(np.int64)
    busy["alive"][5, agent] = 0
    message = first_difference(busy, backend.name)
    assert message == f"tick 4, agent {agent}: alive is True, v1 has False"


def test_fields_of_dead_agents_are_not_compared(backend, busy):
    """Only ``alive`` is compared for an agent that is not alive."""
    dead = busy["alive"] == 0
    assert dead.any()
    for name in STATE:
        busy[name] = np.where(dead, 77, busy[name].astype(np.int64))
    assert first_difference(busy, backend.name) is None


def test_a_changed_missing_or_added_depleted_tile_is_reported(backend, busy):
    depleted = busy["depleted"].astype(np.int64)
    assert len(depleted) > 5
    time, row, col = (int(x) for x in depleted[3])
    for change in (
        np.delete(depleted, 3, 0),
        np.concatenate((depleted, [[time, row, col + 1]])),
        np.where((np.arange(len(depleted)) == 3)[:, None], [[time, row + 1, col]], depleted),
    ):
        message = first_difference({**busy, "depleted": change}, backend.name)
        assert message is not None and message.startswith(f"tick {time}: eaten tiles are [")
        assert f"({row}, {col})" in message


@pytest.mark.parametrize("name", ["move", "material"])
def test_other_moves_or_another_map_give_differences(backend, busy, name):
    """So the moves and the map determine the world."""
    changed = busy[name].copy()
    if name == "move":
        changed[0] = (changed[0] + 1) % 5
    else:
        changed[9:71, 9:71] = 2
    assert first_difference({**busy, name: changed}, backend.name) is not None


def test_removed_attacks_give_differences(backend, busy):
    """Without attacks an agent keeps health that v1's agent lost."""
    idle = {**busy, "style": np.full_like(busy["style"], -1), "target": np.full_like(busy["target"], -1)}
    assert first_difference(idle, backend.name) is not None


# -------------------------------------------------------------------------------------------------- bad files


def saved(tmp_path, arrays):
    path = tmp_path / "changed.npz"
    np.savez(path, **arrays)
    return path


def test_a_saved_copy_is_read_back(tmp_path, busy):
    again = load_trace(saved(tmp_path, busy))
    assert set(again) == set(busy) and all(np.array_equal(again[name], busy[name]) for name in busy)


@pytest.mark.parametrize("name", [*ACTIONS, "alive", *STATE, "depleted", "material", "preset"])
def test_a_missing_array_is_named(tmp_path, busy, name):
    del busy[name]
    with pytest.raises(TraceError, match=rf"changed\.npz: lacks the arrays {name}; give a recording"):
        load_trace(saved(tmp_path, busy))


@pytest.mark.parametrize("name", [*ACTIONS, "alive", *STATE])
def test_an_array_of_another_shape_is_named(tmp_path, busy, name):
    busy[name] = busy[name][:-1]
    with pytest.raises(TraceError, match=r"changed\.npz: \w+ has shape .*, expected "):
        load_trace(saved(tmp_path, busy))


@pytest.mark.parametrize("name", ["move", "material", "depleted"])
def test_wrong_dimensions_are_refused(tmp_path, busy, name):
    busy[name] = busy[name].ravel()
    with pytest.raises(TraceError, match="wrong number of dimensions"):
        load_trace(saved(tmp_path, busy))


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.9, -1])
def test_a_truncated_file_is_a_trace_error(tmp_path, keep):
    data = (DATA / "v1_traces" / BUSY).read_bytes()
    path = tmp_path / "short.npz"
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(TraceError, match=r"short\.npz: not a readable \.npz"):
        load_trace(path)


def test_a_damaged_file_is_a_trace_error_or_unchanged(tmp_path):
    """One byte is changed: the archive's checksums detect it, or nothing depends on it."""
    path = DATA / "v1_traces" / "law-01-forage-0.npz"
    data, whole = path.read_bytes(), load_trace(path)
    broken = tmp_path / "broken.npz"
    found = 0
    for place in range(0, len(data), max(1, len(data) // 150)):
        broken.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            arrays = load_trace(broken)
        except TraceError:
            found += 1
        else:
            assert all(np.array_equal(arrays[name], whole[name]) for name in whole)
    assert found > 50


def test_foreign_files_are_trace_errors(tmp_path):
    """A text, a single array, a pickle, another zip file, another .npz file, a folder and an empty file."""
    np.save(tmp_path / "array.npy", np.arange(3))
    np.savez(tmp_path / "pickled.npz", move=np.array([{}], dtype=object))
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "folder.npz").mkdir()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("readme.txt", "hello")
    (tmp_path / "zip.npz").write_bytes(held.getvalue())
    for name in ("array.npy", "pickled.npz", "other.npz", "text.npz", "folder.npz", "zip.npz", "none.npz"):
        with pytest.raises(TraceError, match=name.replace(".", r"\.")):
            load_trace(tmp_path / name)


def test_a_recording_of_another_preset_is_refused(busy):
    with pytest.raises(ConfigError, match="preset = 'peace' is unknown"):
        first_difference({**busy, "preset": np.array("peace")})


def test_trace_errors_are_package_errors():
    assert issubclass(TraceError, NmmoError) and issubclass(TraceError, ValueError)
