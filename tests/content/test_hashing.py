"""Hashes of configs and contents, which are computed once per object."""

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace

from nmmo_gpu.config import preset
from nmmo_gpu.content.hashing import hash_once


class Counted:
    hashes = 0

    def __hash__(self):
        Counted.hashes += 1
        return 7


@hash_once
@dataclass(frozen=True)
class Pair:
    first: object
    second: int


def test_the_hash_is_that_of_the_dataclass_and_computed_once():
    part = Counted()
    pair = Pair(part, 3)
    assert [hash(pair), hash(pair)] == [hash((part, 3))] * 2 and Counted.hashes == 2
    assert replace(pair, second=4) != pair and hash(replace(pair, second=4)) != hash(pair)


def test_a_pickled_config_is_hashed_again_in_another_process():
    """In which strings have other hashes."""
    config = preset("full")
    hash(config)
    program = (
        "import pickle, sys; from nmmo_gpu.config import preset; "
        "config = pickle.load(sys.stdin.buffer); known = {preset('full'): 'found'}; print(known[config])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(config), capture_output=True, env=environment
    )
    assert done.stdout.decode().strip() == "found", done.stderr.decode()
