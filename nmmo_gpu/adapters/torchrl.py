"""The environment for TorchRL: tensordicts whose observations are the world's records, not copies of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig, replace
from nmmo_gpu.env import Env, make
from nmmo_gpu.errors import UsageError

try:
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Categorical, Composite, MultiCategorical, TensorSpec, Unbounded
    from torchrl.envs import EnvBase
except ImportError as error:
    raise ImportError(
        'nmmo_gpu.adapters.torchrl needs TorchRL; install it with: pip install "nmmo-gpu[adapters]"'
    ) from error


def key(field: str) -> str:
    """The name in a tensordict of a field of the record: ``own`` for ``self``, which TorchRL's specs cannot
    hold; all others are called the same."""
    return "own" if field == "self" else field


class TorchRLEnv(EnvBase):
    """R realms of A slots as one TorchRL environment of batch size [R, A], on the device of the world.

    A tensordict [R, A] holds

    - every field of ``native.layout``, by its ``key``: views into that step's own record buffer, so nothing
      is copied, and nothing overwritten later;
    - ``entity`` (int64), ``lifetime`` and ``explored`` (int32) and ``cause`` (uint8), [R, A], of the slot's
      agent, dead or alive, as ``Env.step`` tells them;
    - ``action_mask``, [R, A, sum of the heads' choices] bool: the heads' masks side by side, as
      ``torchrl.envs.transforms.ActionMask`` takes them. It knows one mask per head, so a target or a price
      that is possible with any style or trade counts as possible. Empty slots may do nothing;
    - ``action``, [R, A, heads] int64; ``reward``, [R, A, 1] float32; ``done``, ``terminated`` and
      ``truncated``, [R, A, 1] bool.

    A death is ``terminated``, and its "next" observation that of an empty slot: zeros, not last words. The
    world goes on by itself: a partial reset (one with a ``_reset`` entry) changes nothing and hands over what
    the slots show now. Some ticks later somebody is born there: steps that begin without ``alive`` are
    nobody's, so leave them out of a loss.

    The first full reset begins the world; each later one puts a new world in its place, with the next seed,
    or with the one that ``set_seed`` was given."""

    def __init__(self, config: EnvConfig | str = "chaos", **settings: Any) -> None:
        """Makes the terrain; nobody lives there before ``reset``.

        Args:
            config: the batch of realms, or the name of a preset.
            settings: fields to replace, as ``nmmo_gpu.make`` takes them; of EnvConfig alone where ``config``
                is one.

        Raises ConfigError for what cannot work."""
        native = make(config, **settings) if isinstance(config, str) else Env(replace(config, **settings))
        super().__init__(device=native.device, batch_size=(native.config.realms, native.config.world.slots))
        self.native = native
        """The environment beneath; another one after a second full reset. Only ``step`` and ``reset`` of
        this class may move it."""
        self._seed = native.config.seed
        sizes = native.action_sizes
        first = torch.zeros(sum(sizes), dtype=torch.bool)
        first[torch.tensor((0, *sizes[:-1])).cumsum(0)] = True
        self._first = first.to(native.device)  # the first choice of every head: to do nothing

        fields = {
            key(name): self._spec(field.dtype, *field.shape) for name, field in native.layout.fields.items()
        }
        state = {name: self._spec(tensor.dtype) for name, tensor in self._about_agents().items()}
        mask = self._spec(torch.bool, sum(sizes))
        self.observation_spec = Composite({**fields, **state, "action_mask": mask}, shape=self.batch_size)
        self.action_spec = MultiCategorical(
            torch.tensor(sizes),
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
        # Copies, as the next step writes over these. All flags, as a SerialEnv completes none.
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
                del self.native  # first, so that there is room for the new one
                self.native = Env(config)
            self.native.reset(out=self._buffer())
            self._seed += 1
        return self._observation()

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self._seed = seed

    def maybe_reset(self, tensordict: TensorDictBase) -> TensorDictBase:
        """What ``reset`` makes of a step's outcome with deaths in it, but without its copies (a third of a
        collector's time) and without asking the device whether anybody died: what the slots show is in the
        tensordict already, only the flags are not taken back."""
        return tensordict.update({name: torch.zeros_like(tensordict[name]) for name in self.done_keys})

    def to(self, device: torch.device | str) -> TorchRLEnv:
        """This environment, if its world is there already; UsageError if not."""
        here = self.native.records.device
        if torch.empty(0, device=device).device != here:  # "cuda" is cuda:0, say
            raise UsageError(
                f"the world is on {here} and cannot move to {device}; make it there: "
                f'TorchRLEnv(..., device="{device}").'
            )
        return self

    def _buffer(self) -> Tensor:
        """[R, A, bytes] uint8: records of this step alone, as rollouts keep steps by reference."""
        return torch.empty_like(self.native.records)

    def _observation(self) -> TensorDict:
        fields = self.native.layout.views(self.native.records)
        step_data = {key(name): view for name, view in fields.items()}
        step_data |= {**self._about_agents(), "action_mask": self._action_mask(fields)}
        return TensorDict(step_data, batch_size=self.batch_size, device=self.device)

    def _about_agents(self) -> dict[str, Tensor]:
        """What ``Env.step`` gives as info, [R, A] each; copies, as the world moves on."""
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
