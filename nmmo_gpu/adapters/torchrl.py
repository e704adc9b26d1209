"""The environment for TorchRL: tensordicts whose observations are views of the world's records."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig, replace
from nmmo_gpu.config.bounds import checked
from nmmo_gpu.config.seeds import Seed, offset_seed
from nmmo_gpu.env import Env, make
from nmmo_gpu.errors import ConfigError, UsageError

try:
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Categorical, Composite, MultiCategorical, TensorSpec, Unbounded
    from torchrl.envs import EnvBase
except ImportError as error:
    raise ImportError(
        'nmmo_gpu.adapters.torchrl needs TorchRL; install it with: pip install "nmmo-gpu[adapters]"'
    ) from error


def key(field: str) -> str:
    """The name in a tensordict of a field of the record: ``own`` for ``self``, because TorchRL's specs cannot
    hold that name; the field's own name for all others, also those of systems, ``<system>.<name>``."""
    return "own" if field == "self" else field


class TorchRLEnv(EnvBase):
    """R realms of A slots as one TorchRL environment of batch size [R, A], on the device of the world.

    A tensordict [R, A] holds

    - every field of ``native.layout``, by its ``key``: views into that step's own record buffer, so nothing
      is copied, and nothing is overwritten later;
    - ``entity`` (int64), ``lifetime`` and ``explored`` (int32) and ``cause`` (uint8), [R, A], of the slot's
      agent, dead or alive, as in ``Env.step``;
    - ``action_mask``, [R, A, sum of the heads' choices] bool: the heads' masks concatenated, as
      ``torchrl.envs.transforms.ActionMask`` expects. It has one mask per head, so a target or a price that is
      allowed with any style or trade counts as allowed. Empty slots may do nothing;
    - ``action``, [R, A, heads] int64; ``reward``, [R, A, 1] float32; ``done``, ``terminated`` and
      ``truncated``, [R, A, 1] bool.

    A death is ``terminated``, and its "next" observation is that of an empty slot: zeros. The world continues
    by itself, so a partial reset (one with a ``_reset`` entry) changes nothing and returns the current
    observation of the slots. A few ticks later another agent spawns there. Steps that begin without ``alive``
    belong to no agent; exclude them from losses.

    The first full reset begins the world; each later one replaces it by a new world, with the next seed, or
    with the seed given to ``set_seed``."""

    def __init__(self, config: EnvConfig | str = "chaos", **settings: Any) -> None:
        """Makes the terrain; the world has no agents before ``reset``.

        Args:
            config: the batch of realms, or the name of a preset.
            settings: fields to replace, as in ``nmmo_gpu.make``; only fields of EnvConfig if ``config`` is
                one.

        Raises ConfigError for an invalid config, or a system's head called ``action``."""
        native = make(config, **settings) if isinstance(config, str) else Env(replace(config, **settings))
        if "action" in native.action_heads:
            raise ConfigError(
                "the mask of a system's head called action would be called action_mask, as TorchRL calls the "
                "mask of all heads; choose another name."
            )
        super().__init__(device=native.device, batch_size=(native.config.realms, native.config.world.slots))
        self.native = native
        """The underlying environment; each full reset but the first replaces it. Only ``step`` and ``reset``
        of this class may advance it."""
        self._seed = native.config.seed
        sizes = native.action_sizes
        first = torch.zeros(sum(sizes), dtype=torch.bool, device="cpu")
        first[torch.tensor((0, *sizes[:-1]), dtype=torch.int64, device="cpu").cumsum(0)] = True
        self._first = first.to(native.device)  # the first choice of every head: no action

        fields = {
            key(name): self._spec(field.dtype, *field.shape) for name, field in native.layout.fields.items()
        }
        state = {name: self._spec(tensor.dtype) for name, tensor in self._about_agents().items()}
        mask = self._spec(torch.bool, sum(sizes))
        self.observation_spec = Composite({**fields, **state, "action_mask": mask}, shape=self.batch_size)
        self.action_spec = MultiCategorical(
            torch.tensor(sizes, dtype=torch.int64, device="cpu"),
            shape=torch.Size((*self.batch_size, len(sizes))),
            device=native.device,
        )
        self.reward_spec = self._spec(torch.float32, 1)
        self.full_done_spec = Composite(
            {name: self._spec(torch.bool, 1) for name in ("done", "terminated", "truncated")},
            shape=self.batch_size,
        )

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        _, reward, terminated, truncated, _ = self.native.step(tensordict["action"], out=self._buffer())
        step_data = self._observation()
        # Copies, because the next step overwrites these. All flags, because a SerialEnv does not add any.
        step_data["reward"] = reward[..., None].clone()
        step_data["terminated"] = terminated[..., None].clone()
        step_data["truncated"] = truncated[..., None].clone()
        step_data["done"] = (terminated | truncated)[..., None]
        return step_data

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        partial = tensordict is not None and tensordict.get("_reset", None) is not None
        if not (partial and self.native.begun):
            config = replace(self.native.config, seed=self._seed)
            if self.native.begun or self.native.config != config:
                del self.native  # frees the memory before the new world is allocated
                self.native = Env(config)
            self.native.reset(out=self._buffer())
            self._seed = offset_seed(self._seed, 1)
        return self._observation()

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self._seed = checked("seed", seed, Seed)

    def maybe_reset(self, tensordict: TensorDictBase) -> TensorDictBase:
        """The result of ``reset`` after a step with deaths, but without its copies (a third of a collector's
        time) and without a device sync: the tensordict already holds the current observations, only the flags
        are not reset."""
        return tensordict.update({name: torch.zeros_like(tensordict[name]) for name in self.done_keys})

    def to(self, device: torch.device | str) -> TorchRLEnv:
        """Returns this environment if its world is on the device; raises UsageError if not."""
        here = self.native.records.device
        if torch.empty(0, dtype=torch.bool, device=device).device != here:  # "cuda" can mean cuda:0
            raise UsageError(
                f"the world is on {here} and cannot move to {device}; make it there: "
                f'TorchRLEnv(..., device="{device}").'
            )
        return self

    def _buffer(self) -> Tensor:
        """[R, A, bytes] uint8: records of this step alone, because rollouts keep steps by reference."""
        return torch.empty_like(self.native.records)

    def _observation(self) -> TensorDict:
        fields = self.native.layout.views(self.native.records)
        step_data = {key(name): view for name, view in fields.items()}
        step_data |= {**self._about_agents(), "action_mask": self._action_mask(fields)}
        return TensorDict(step_data, batch_size=self.batch_size, device=self.device)

    def _about_agents(self) -> dict[str, Tensor]:
        """The info of ``Env.step``, [R, A] each; copies, because the world changes."""
        world = self.native.world
        views = {
            "entity": world.agents(world.entity),
            "lifetime": world.agents(world.age),
            "explored": world.explored,
            "cause": world.agents(world.cause),
        }
        return {name: view.clone() for name, view in views.items()}

    def _action_mask(self, fields: dict[str, Tensor]) -> Tensor:
        masks = (fields[f"{head}_mask"] for head in self.native.action_heads)
        flat = torch.cat([mask.any(-2) if mask.dim() == 4 else mask for mask in masks], -1)
        return flat | (self._first & ~fields["alive"][..., None])

    def _spec(self, dtype: torch.dtype, *shape: int) -> TensorSpec:
        whole = torch.Size((*self.batch_size, *shape))
        if dtype == torch.bool:
            return Categorical(2, shape=whole, dtype=dtype, device=self.device)
        return Unbounded(shape=whole, dtype=dtype, device=self.device)
