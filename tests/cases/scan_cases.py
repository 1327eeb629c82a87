"""What the scan's back ends are compared on: every pair of values of any two factors occurs in at least one case."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from mambaseg.scan.ways import run_reference, run_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SPANS = {"slow": (1e-4, 1e-2), "fast": (1.0, 10.0), "mixed": (1e-4, 10.0)}
"""Time steps from where decays are close to 1 to where they are close to 0."""
FACTORS = {
    "length": (1, 7, 31, 32, 33, 1000, 4096),
    "layout": ("dense", "views", "strided", "reversed"),
    "ways": ("f", "b", "fb", "bf"),
    "batch": (1, 2, 3),
    "state": (4, 16, 64),
    "dim": (8, 16, 64),
    "steps": tuple(SPANS),
    "heads": (1, 2),
}
NAMES = ("x", "dt", "A", "B", "C")
LONGEST = 1000
"""Up to here gradients are those of the step by step reference; behind it, of the torch back end in float64."""


class Case(NamedTuple):
    """A value for each factor."""

    length: int
    layout: str
    ways: str
    batch: int
    state: int
    dim: int
    steps: str
    heads: int

    @property
    def backwards(self) -> tuple[bool, ...]:
        return tuple(way == "b" for way in self.ways)

    def __str__(self) -> str:
        return "-".join(map(str, self))


CASES = [
    Case(1, "dense", "bf", 1, 4, 16, "mixed", 1),
    Case(1, "views", "fb", 2, 64, 64, "fast", 2),
    Case(1, "strided", "b", 2, 16, 8, "slow", 1),
    Case(1, "reversed", "f", 3, 64, 16, "mixed", 2),
    Case(7, "dense", "b", 2, 4, 8, "slow", 2),
    Case(7, "views", "f", 2, 16, 8, "mixed", 1),
    Case(7, "strided", "fb", 3, 4, 16, "slow", 2),
    Case(7, "reversed", "bf", 1, 64, 64, "fast", 2),
    Case(31, "dense", "fb", 2, 4, 8, "mixed", 1),
    Case(31, "views", "b", 1, 16, 64, "slow", 1),
    Case(31, "strided", "bf", 3, 16, 8, "fast", 1),
    Case(31, "reversed", "f", 2, 64, 16, "slow", 2),
    Case(32, "dense", "fb", 1, 16, 8, "slow", 2),
    Case(32, "views", "f", 3, 64, 64, "mixed", 1),
    Case(32, "strided", "bf", 2, 16, 8, "slow", 1),
    Case(32, "reversed", "b", 2, 4, 16, "fast", 1),
    Case(33, "dense", "f", 3, 64, 8, "fast", 1),
    Case(33, "views", "b", 3, 4, 64, "mixed", 2),
    Case(33, "strided", "bf", 2, 16, 16, "slow", 1),
    Case(33, "reversed", "fb", 1, 64, 8, "slow", 1),
    Case(1000, "dense", "b", 3, 64, 64, "fast", 1),
    Case(1000, "views", "fb", 1, 64, 64, "fast", 2),
    Case(1000, "strided", "f", 1, 4, 16, "slow", 1),
    Case(1000, "reversed", "bf", 2, 16, 8, "mixed", 2),
    Case(4096, "dense", "b", 1, 64, 8, "fast", 2),
    Case(4096, "views", "bf", 2, 16, 16, "slow", 2),
    Case(4096, "strided", "f", 1, 64, 64, "mixed", 2),
    Case(4096, "reversed", "fb", 3, 4, 8, "mixed", 1),
]


LONG = Case(65536, "dense", "f", 1, 4, 8, "mixed", 1)
"""For values only."""


def inputs(case: Case) -> list[Tensor]:
    """Return x, dt, A, B, C in float64, dense."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    low, high = (math.log(bound) for bound in SPANS[case.steps])
    ways = len(case.ways)
    dt = torch.exp(low + (high - low) * uniform(case.batch, case.length, ways, case.heads))
    A = -8 * uniform(case.batch, ways, case.heads) - 0.1
    B, C = (normal(case.batch, case.length, case.state) for _ in range(2))
    return [normal(case.batch, case.length, case.heads, case.dim), dt, A, B, C]


def rounded(case: Case, dtype: torch.dtype) -> list[Tensor]:
    """Return inputs in float64 whose values `dtype` holds exactly: of low precision only x, B and C."""
    step = torch.float64 if dtype == torch.float64 else torch.float32
    dtypes = (dtype, step, step, dtype, dtype)
    return [tensor.to(one).double() for tensor, one in zip(inputs(case), dtypes, strict=True)]


def step_by_step(tensors: list[Tensor]) -> Tensor:
    """Return y of one forward way by the recurrence in NumPy, for lengths at which the reference takes minutes."""
    x, dt, A, B, C = (tensor.double().numpy() for tensor in tensors)
    decay = np.exp(dt[:, :, 0] * A)[..., None, None]  # b l h 1 1
    gain = np.einsum("blh,bln,blhp->blhnp", dt[:, :, 0], B, x)
    state, y = np.zeros_like(gain[:, 0]), np.empty_like(x)
    for step in range(x.shape[1]):
        state = decay[:, step] * state + gain[:, step]
        y[:, step] = (C[:, step, None, None] @ state)[:, :, 0]
    return torch.from_numpy(y)


def scanned(run: Callable[..., Tensor], case: Case, tensors: list[Tensor]) -> Tensor:
    """Run a scan on the same values laid out in memory, or ordered in time, as `case` wants it."""
    x, dt, A, B, C = tensors
    if case.layout == "reversed":
        turned = (tensor.flip(1) for tensor in (x, dt, B, C))
        x, dt, B, C = turned
        return run(x, dt, A, B, C, tuple(not back for back in case.backwards)).flip(1)
    if case.layout == "views":  # As a network has them: channels first, x, B and C side by side.
        sizes = [case.heads * case.dim, case.state, case.state]
        parts = torch.cat([x.flatten(2), B, C], dim=2).mT.contiguous().mT.split(sizes, dim=2)
        x, B, C = parts[0].unflatten(2, (case.heads, case.dim)), parts[1], parts[2]
        dt = dt.flatten(2).mT.contiguous().mT.unflatten(2, dt.shape[2:])
    if case.layout == "strided":
        x, dt, A, B, C = (torch.stack([tensor, -tensor], dim=-1)[..., 0] for tensor in tensors)
    return run(x, dt, A, B, C, case.backwards)


def weights(case: Case, dtype: torch.dtype) -> Tensor:
    """Return what gradients are taken along: as y, values that `dtype` holds exactly."""
    shape = (case.batch, case.length, case.heads, case.dim)
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64)).to(dtype).double().view(shape)


@cache
def wanted(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return y and all gradients of inputs rounded to `dtype`, in float64."""
    leaves = [tensor.requires_grad_() for tensor in rounded(case, dtype)]
    run = run_reference if case.length <= LONGEST else run_torch
    y = run(*leaves, case.backwards)
    gradients = torch.autograd.grad(y, leaves, weights(case, dtype))
    if run is not run_reference:
        with torch.no_grad():
            y = run_reference(*leaves, case.backwards)
    return {"y": y.detach(), **dict(zip(NAMES, gradients, strict=True))}


def errors(run: Callable[..., Tensor], case: Case, dtype: torch.dtype, device: str = "cpu") -> dict[str, float]:
    """Return how far a scan's y and gradients are from those wanted, relative to their norms."""
    low = [tensor.to(device, dtype if name in "xBC" else torch.promote_types(dtype, torch.float32))
           for name, tensor in zip(NAMES, rounded(case, dtype), strict=True)]  # fmt: skip
    leaves = [tensor.requires_grad_() for tensor in low]
    y = scanned(run, case, leaves)
    assert y.dtype == dtype
    gradients = torch.autograd.grad(y, leaves, weights(case, dtype).to(device, dtype))
    found = {"y": y.detach(), **dict(zip(NAMES, gradients, strict=True))}
    assert all(bool(torch.isfinite(tensor).all()) for tensor in found.values())
    return {name: apart(found[name], exact) for name, exact in wanted(case, dtype).items()}


def apart(one: Tensor, other: Tensor) -> float:
    """Return the norm of a difference, relative to that of `other`."""
    exact = other.double().cpu()
    return ((one.double().cpu() - exact).norm() / exact.norm().clamp(min=1e-30)).item()
