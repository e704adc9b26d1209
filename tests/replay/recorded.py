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
    numbers = {name: getattr(world, name)[realm].flatten().tolist() for name in names}
    numbers["entity"] = [entity % 2**32 for entity in numbers["entity"]]
    numbers["used_up"] = (world.material[realm] != world.base[realm]).flatten().int().tolist()
    numbers["target"] = env.step_actions.target[realm].tolist()
    numbers["style"] = env.step_actions.style[realm].tolist()
    if env.config.world.extended:
        numbers["work"] = env.step_actions.work[realm].tolist()
        numbers["quotes"] = world.quotes[realm].flatten().tolist()
    return numbers | expected_systems(env, realm)


def expected_systems(env, realm):
    """Returns name -> the numbers of each field of systems, as the realm's agents observe them now."""
    observed = env.layout.views(env.records)
    return {name: observed[name][realm].flatten().int().tolist() for name in env.layout.system_fields}


def record_expected(env, realm):
    """Returns a dict tick -> ``expected`` that is filled in every tick the environment plays from now on."""
    frames, step = {}, env.step

    def recorded(*args, **options):
        result = step(*args, **options)
        frames[int(env.world.tick)] = expected(env, realm)
        return result

    env.step = recorded
    return frames


def frames_of(replay):
    """Returns tick -> name -> flat numbers of a replay file."""
    ticks = {}
    for frames in replay:
        for t in range(len(frames.used_up)):
            tick = {name: values[t].flatten().tolist() for name, values in frames.columns.items()}
            ticks[frames.first + t] = {**tick, "used_up": frames.used_up[t].tolist()}
    return ticks


def same(expected, frame):
    """Whether a frame has all expected numbers."""
    for name, numbers in expected.items():
        assert frame[name] == numbers, name
    return True


def alive_rows(numbers, alive):
    """Selects the rows of [slots, ...] numbers that belong to living agents."""
    return np.asarray(numbers).reshape(len(alive), -1)[np.asarray(alive, bool)]
