"""Expected frames, computed from the world's own tensors, to compare recordings with."""

from __future__ import annotations

import numpy as np

FIELDS = (
    "entity", "age", "row", "col", "health", "food", "water", "freeze", "damage", "alive", "cause",
)  # fmt: skip
GOODS = ("gold", "offer", "offer_left", "inventory", "offer_price", "worn", "token", "level")


def expected(env, realm):
    """Returns name -> the numbers that a frame of the realm must hold now. ``realm`` counts from the
    environment's first realm."""
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
    """Returns a dict tick -> ``expected`` that is filled in every tick the environment plays from now on."""
    told, step = {}, env.step

    def noted(*args, **options):
        result = step(*args, **options)
        told[int(env.world.tick)] = expected(env, realm)
        return result

    env.step = noted
    return told


def frames_of(replay):
    """Returns tick -> name -> flat numbers of a replay file."""
    told = {}
    for frames in replay:
        for t in range(len(frames.used_up)):
            tick = {name: values[t].flatten().tolist() for name, values in frames.columns.items()}
            told[frames.first + t] = {**tick, "used_up": frames.used_up[t].tolist()}
    return told


def same(ours, theirs):
    """Whether ``theirs`` has every number of ``ours``."""
    for name, numbers in ours.items():
        assert theirs[name] == numbers, name
    return True


def alive_rows(numbers, alive):
    """Selects the rows of [slots, ...] numbers that belong to living agents."""
    return np.asarray(numbers).reshape(len(alive), -1)[np.asarray(alive, bool)]
