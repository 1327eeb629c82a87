"""All that a training run needs to go on as if it had never stopped, in one safetensors file. No pickle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mambaseg.atomic import replacing
from mambaseg.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn


def save_state(
    path: Path,
    facts: dict[str, Any],
    modules: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    generators: tuple[np.random.Generator, torch.Generator],
) -> None:
    """Write the state, whole or not at all; `facts` are plain values such as the step."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors.update({f"{name}/{key}": value for key, value in module.state_dict().items()})
    for number, state in optimiser.state_dict()["state"].items():
        tensors.update({f"optimiser/{number}/{key}": value for key, value in state.items()})
    sampler, noise = generators
    tensors["noise"] = noise.get_state()
    facts = {**facts, "sampler": sampler.bit_generator.state}
    # safetensors refuses tensors that share memory or are not contiguous.
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with replacing(path) as temporary:
        save_file(plain, temporary, {"facts": json.dumps(facts)})


def load_state(
    path: Path,
    modules: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    generators: tuple[np.random.Generator, torch.Generator],
) -> dict[str, Any]:
    """Restore what `save_state` wrote and return its facts.

    Raises
    ------
    ModelError
        If the file is damaged or belongs to another network.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
        for name, module in modules.items():
            module.load_state_dict(_below(tensors, f"{name}/"))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path} cannot be resumed ({reason}); start again without --resume") from None
    known = optimiser.state_dict()
    moved = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, "optimiser/").items():
        number, name = key.split("/")
        state.setdefault(int(number), {})[name] = _laid_out_as(moved[int(number)], value)
    optimiser.load_state_dict({**known, "state": state})
    sampler, noise = generators
    sampler.bit_generator.state = facts["sampler"]
    noise.set_state(tensors["noise"])
    return facts


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a value with a parameter's strides, as fused optimisers want it; a file knows none."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, device="cpu", requires_grad=False).copy_(value)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
