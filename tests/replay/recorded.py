"""Recordings taken the slow way, from the world's own tensors, to hold others against."""

from __future__ import annotations

import numpy as np

FIELDS = (
    "entity", "age", "row", "col", "health", "food", "water", "freeze", "damage", "alive", "cause",
)  # fmt: skip
GOODS = ("gold", "offer", "offer_left", "inventory", "offer_price", "worn", "token", "level")


def expected(env, realm):
    """name -> what a frame of the realm (counted from the environment's first) has to say now."""
    world = env.world
    names = FIELDS + (GOODS if env.config.world.extended else ())
    told = {name: getattr(world, name)[realm].flatten().tolist() for name in names}
    told["entity"] = [entity % 2**32 for entity in told["entity"]]
    told["used_up"] = (world.material[realm] != world.base[realm]).flatten().int().tolist()
    told["target"] = env.step_actions.target[realm].tolist()
    told["style"] = env.step_actions.style[realm].tolist()
    if env.config.world.extended:
        told["work"] = env.step_actions.work[realm].tolist()
        told["quotes"] = world.quotes[realm].flatten().tolist()
    return told


def noting(env, realm):
    """tick -> ``expected`` of every tick that the environment plays from now on."""
    told, step = {}, env.step

    def noted(*args, **options):
        result = step(*args, **options)
        told[int(env.world.tick)] = expected(env, realm)
        return result

    env.step = noted
    return told


def frames_of(replay):
    """tick -> name -> numbers of a replay file, flat."""
    told = {}
    for frames in replay:
        for t in range(len(frames.used_up)):
            tick = {name: values[t].flatten().tolist() for name, values in frames.columns.items()}
            told[frames.first + t] = {**tick, "used_up": frames.used_up[t].tolist()}
    return told


def same(ours, theirs):
    """Whether all that ``ours`` says is what ``theirs`` says."""
    for name, numbers in ours.items():
        assert theirs[name] == numbers, name
    return True


def alive_rows(numbers, alive):
    """The rows of [slots, ...] numbers that belong to the living."""
    return np.asarray(numbers).reshape(len(alive), -1)[np.asarray(alive, bool)]
