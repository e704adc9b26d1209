"""Compiled loops on disk: whatever is wrong with the files or the folder, loops give the right result."""

import os
import pickle
import threading
import warnings
from collections import Counter

import numba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmmo_gpu.cpu import compilation_cache
from nmmo_gpu.cpu.compilation_cache import CompilationCache


def triple(x):
    """Three times a number."""
    return 3 * x


def loop(folder, function=triple):
    """The function compiled as in a new process."""
    loop = numba.njit(function)
    loop._cache = CompilationCache(function, folder)
    return loop


def compilations(loop):
    return sum(Counter(loop._cache_misses).values())


def hostile_pickle(path):
    """A pickle that makes a folder when it is loaded."""

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(path),)

    return pickle.dumps(Hostile())


@pytest.fixture(autouse=True)
def fresh():
    """The folder is found again, and warnings are given again."""
    compilation_cache._warned().clear()
    compilation_cache.folder.cache_clear()
    yield
    compilation_cache._warned().clear()
    compilation_cache.folder.cache_clear()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The name and the content of an intact file."""
    folder = tmp_path_factory.mktemp("sound")
    assert loop(folder)(7) == 21
    (file,) = folder.iterdir()
    return file.name, file.read_bytes()


def test_a_second_process_compiles_nothing(tmp_path):
    """Each signature has a file."""
    first = loop(tmp_path)
    assert first(7) == 21 and first(0.5) == 1.5 and compilations(first) == 2
    assert len(list(tmp_path.iterdir())) == 2
    second = loop(tmp_path)
    assert second(8) == 24 and second(1.5) == 4.5 and compilations(second) == 0


DAMAGE = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[:-1],
    "cut off in the checksum": lambda data: data[:20],
    "longer": lambda data: data + b"\0",
    "one byte": lambda data: data[:-999] + bytes([data[-999] ^ 4]) + data[-998:],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"garbage",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced(tmp_path, sound, damage):
    """The loop is compiled once, and the next process finds an intact file."""
    name, data = sound
    (tmp_path / name).write_bytes(DAMAGE[damage](data))
    healing = loop(tmp_path)
    assert healing(7) == 21 and compilations(healing) == 1
    assert compilations(loop(tmp_path)) == 0 and len(list(tmp_path.iterdir())) == 1
    again = loop(tmp_path)
    assert again(7) == 21 and compilations(again) == 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_are_never_loaded(tmp_path_factory, sound, data):
    """Flipped bits and cuts at any place."""
    name, content = sound
    changed = bytearray(content)
    if data.draw(st.booleans()):
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4, unique=True)):
            changed[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del changed[data.draw(st.integers(0, len(content) - 1)) :]
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(changed)
    assert compilation_cache._read(path) is None


def test_nothing_in_a_file_without_its_checksum_is_executed(tmp_path, sound):
    """numba's own cache would run it."""
    name, _ = sound
    (tmp_path / name).write_bytes(hostile_pickle(tmp_path / "executed"))
    assert loop(tmp_path)(7) == 21
    assert not (tmp_path / "executed").exists()


def test_a_file_of_another_loop_is_not_used(tmp_path, sound):
    """Its key is in the file, so that it does not matter how files are named."""

    def double(x):
        return 2 * x

    name, _ = sound
    assert loop(tmp_path, double)(7) == 14
    (other,) = tmp_path.iterdir()
    other.rename(tmp_path / name)
    assert loop(tmp_path)(7) == 21


def test_an_intact_file_of_another_version_of_numba_is_replaced(tmp_path, sound):
    """Such a file has the checksum, but not the parts that are expected."""
    name, _ = sound
    compilation_cache._write(tmp_path / name, pickle.dumps(("key", ())))
    healing = loop(tmp_path)
    assert healing(7) == 21 and compilations(healing) == 1
    assert (tmp_path / name).stat().st_size > 1000


def test_pipes_folders_and_huge_files_are_not_read(tmp_path, monkeypatch):
    """Reading a pipe would wait forever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").write_bytes(bytes(100))
    monkeypatch.setattr(compilation_cache, "MAX_BYTES", 99)
    for name in ("pipe", "folder", "huge", "none"):
        assert compilation_cache._read(tmp_path / name) is None


def test_a_full_disk_costs_one_warning(tmp_path, monkeypatch):
    """The loops run, and no draft stays."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compilation_cache.os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left.*NUMBA_CACHE_DIR") as caught:
        assert loop(tmp_path)(7) == 21 and loop(tmp_path)(0.5) == 1.5
    assert len(caught) == 1 and not list(tmp_path.iterdir())


def test_other_users_of_a_shared_folder_can_read_files(tmp_path):
    """As far as the user's mask allows it."""
    before = os.umask(0o022)
    try:
        loop(tmp_path)(7)
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o644


def test_many_writers_of_one_folder(tmp_path, sound):
    """No reader finds half a file, and no draft stays."""
    name, content = sound
    payload, stop = content[compilation_cache._DIGEST :], threading.Event()

    def write():
        while not stop.is_set():
            compilation_cache._write(tmp_path / name, payload)

    writers = [threading.Thread(target=write) for _ in range(3)]
    compilation_cache._write(tmp_path / name, payload)
    for writer in writers:
        writer.start()
    failures = [compilation_cache._read(tmp_path / name) != payload for _ in range(300)]
    stop.set()
    for writer in writers:
        writer.join()
    assert not any(failures) and [file.name for file in tmp_path.iterdir()] == [name]


# ------------------------------------------------------------------------------------------------- the folder


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No variable is set; the user is unknown; temporary files are in a folder of the test."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(compilation_cache.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_follows_the_variables(nowhere, monkeypatch):
    """In this order: NUMBA_CACHE_DIR, XDG_CACHE_HOME, HOME."""
    for name, cache in (("HOME", ".cache"), ("XDG_CACHE_HOME", ""), ("NUMBA_CACHE_DIR", "")):
        monkeypatch.setenv(name, str(nowhere / name))
        compilation_cache.folder.cache_clear()
        path = compilation_cache.folder()
        assert path.parent == nowhere / name / cache / "nmmo-gpu" and path.is_dir()


def test_without_a_home_the_folder_is_the_users_own_temporary_one(nowhere):
    path = compilation_cache.folder()
    assert path.parents[1] == nowhere / f"nmmo-gpu-{os.getuid()}"
    assert path.parents[1].stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("trap", ["writable by others", "link", "file"])
def test_a_temporary_folder_that_others_can_write_is_not_used(nowhere, trap):
    """What is in it would be run. The loops are compiled in each process."""
    path = nowhere / f"nmmo-gpu-{os.getuid()}"
    if trap == "writable by others":
        path.mkdir()
        path.chmod(0o777)
    elif trap == "link":
        (nowhere / "theirs").mkdir()
        path.symlink_to(nowhere / "theirs")
    else:
        path.write_text("")
    with pytest.warns(RuntimeWarning, match="no folder"):
        assert compilation_cache.folder() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loop(None)(7) == 21


def test_a_file_in_place_of_the_folder_is_passed_over(nowhere, monkeypatch):
    (nowhere / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(nowhere / "file"))
    monkeypatch.setenv("HOME", str(nowhere / "home"))
    assert compilation_cache.folder().parents[2] == nowhere / "home"


def test_loops_are_read_from_a_folder_that_is_read_only(nowhere, monkeypatch):
    """As in the image of a container. An empty one is passed over."""
    monkeypatch.setenv("HOME", str(nowhere / "home"))
    path = compilation_cache.folder()
    assert loop(path)(7) == 21
    monkeypatch.setattr(compilation_cache.os, "access", lambda *_: False)
    compilation_cache.folder.cache_clear()
    assert compilation_cache.folder() == path
    reading = loop(path)
    assert reading(7) == 21 and compilations(reading) == 0
    for file in path.iterdir():
        file.unlink()
    compilation_cache.folder.cache_clear()
    with pytest.warns(RuntimeWarning):
        assert compilation_cache.folder() != path
