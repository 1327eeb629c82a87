"""`mambaseg benchmark scan`: the scan's back ends side by side, at the shapes of MRI, in one run.

All times are medians in ms. On a CPU all contenders take turns, so that whatever else the machine does hits them alike;
`ms_least` is the shortest of a forward pass. On a GPU a CUDA graph runs a row of calls on inputs of their own, together
four times larger than its L2 cache, and a call's time is that of a replay divided by their number: neither launching
nor what the cache kept of the call before is in it (`launched` is "graph"; "eager" where none can be captured: the same
row, called from Python). `ms_forward_eager` is one call from Python on a cold cache, as training does it.
`floor_ms` is what moving the inputs and the output once would take at the copy bandwidth measured in the same run.
`max_error` is the relative norm of the difference to the same scan in float64. With two `ways` the scan runs forwards
and backwards, as in the networks. `dtype` is that of x as the contender takes it.

`mamba1_reference` is Mamba-1's published recurrence, step by step; `mamba1_selective` is mamba-ssm's kernel of it, and
`mamba_ssm` its kernels of Mamba-2. Each contender finds its inputs in its own layout.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from mambaseg.benchmark_machine import provenance
from mambaseg.benchmark_scan_contenders import Contender, contenders
from mambaseg.benchmark_scan_times import Times, cold_call, copies, copy_bandwidth, rows_of_calls, turns
from mambaseg.device import choose_device, describe_device
from mambaseg.jobs import Job, Progress
from mambaseg.scan.back_ends import BACK_ENDS, explain_back_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from torch import Tensor

STATE = 16


class Shape(NamedTuple):
    """Sizes of one scan."""

    batch: int
    channels: int
    length: int
    headdim: int
    ways: int = 1

    @property
    def backwards(self) -> tuple[bool, ...]:
        """Which ways run backwards."""
        return (False, True)[: self.ways]


NETWORK_GPU = (Shape(32, 64, 900, 16), Shape(32, 112, 225, 16))
"""The shipped network's own: a batch of slices at strides 8 and 16."""
NETWORK_CPU = (Shape(4, 64, 900, 16), Shape(4, 112, 225, 16))
GPU_SHAPES = (
    Shape(1, 64, 262144, 32), Shape(1, 64, 65536, 32), Shape(8, 64, 65536, 32), Shape(8, 64, 4096, 32),
    Shape(16, 64, 1024, 32), *(shape._replace(ways=2) for shape in NETWORK_GPU), *NETWORK_GPU,
)  # fmt: skip
CPU_SHAPES = (
    Shape(1, 64, 4096, 32), Shape(1, 64, 1024, 32), *(shape._replace(ways=2) for shape in NETWORK_CPU), *NETWORK_CPU,
)  # fmt: skip


def benchmark_scan(device: str = "auto") -> Generator[Progress, None, dict[str, Any]]:
    """Measure every back end that can run on a device; a task.

    Returns
    -------
    dict
        Machine, versions, commit and date, copy bandwidth, and a row for each back end and shape.
    """
    before = provenance(f"mambaseg benchmark scan --device {device} --json")
    chosen = choose_device(device)
    before["machine"]["device"] = describe_device(chosen)
    shapes = GPU_SHAPES if chosen.type == "cuda" else CPU_SHAPES
    bandwidth = copy_bandwidth(chosen)
    rows: list[dict[str, Any]] = []
    for number, shape in enumerate(shapes):
        yield Progress(" x ".join(map(str, shape)), number, len(shapes))
        rows += _rows(shape, chosen, bandwidth)
    return {
        **before,
        "copy_bytes_per_second": bandwidth,
        "back_ends": explain_back_ends(chosen),
        "protocol": __doc__,
        "rows": rows,
    }


def table(found: dict[str, Any]) -> str:
    """Return the rows as lines of text."""
    sizes = ("batch", "channels", "length", "ways")
    lines = [
        f"{'back end':<18}{''.join(f'{name:>10}' for name in sizes)}{'forward':>10}{'and back':>10}{'floor':>9}   ms"
    ]
    for row in found["rows"]:
        both = row["ms_forward_and_backward"]
        lines.append(
            f"{row['backend']:<18}{''.join(f'{row[name]:>10}' for name in sizes)}{row['ms_forward']:>10.3f}"
            f"{'' if both is None else format(both, '.3f'):>10}{row['floor_ms']:>9.4f}"
        )
    return "\n".join(lines)


def inputs(shape: Shape, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Return x, dt, A, B, C as `scan_ways` takes them."""
    batch, channels, length, dim, ways = shape
    generator = torch.Generator(device=device).manual_seed(0)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, device=device).to(dtype)

    heads = channels // dim
    dt = torch.rand(batch, length, ways, heads, generator=generator, device=device) * 0.1 + 1e-3
    A = -torch.rand(1, ways, heads, generator=generator, device=device).expand(batch, -1, -1) * 8 - 0.1
    return [normal(batch, length, heads, dim), dt, A, normal(batch, length, STATE), normal(batch, length, STATE)]


class _Calls(NamedTuple):
    """A contender with sets of inputs, and a call for each set."""

    contender: Contender
    taken: list[Tensor]
    forward: list[Callable[[], object]]
    both: list[Callable[[], object]]


def _rows(shape: Shape, device: torch.device, bandwidth: float) -> list[dict[str, Any]]:
    plain = inputs(shape, torch.bfloat16 if device.type == "cuda" else torch.float32, device)
    moved = sum(tensor.numel() * tensor.element_size() for tensor in (*plain, plain[0]))
    exact = BACK_ENDS["torch"].run(*(tensor.double() for tensor in plain), shape.backwards)
    ready = (_calls(one, plain, device) for one in contenders(device, shape.backwards))
    found = _on_gpu(ready, device) if device.type == "cuda" else _on_cpu(list(ready), device)
    common = {**shape._asdict(), "state": STATE, "device": device.type, "floor_ms": round(moved / bandwidth * 1e3, 5)}
    return [
        {"backend": calls.contender.name, "dtype": str(calls.taken[0].dtype).removeprefix("torch."), **common,
         "max_error": _error(calls, plain[0], exact), **times}
        for calls, times in found
    ]  # fmt: skip


def _calls(contender: Contender, plain: list[Tensor], device: torch.device) -> _Calls:
    taken = [tensor.detach() for tensor in contender.prepare(plain)]
    number = copies(sum(tensor.numel() * tensor.element_size() for tensor in taken), device)
    with torch.no_grad():
        weights = torch.ones_like(contender.call(*taken))

    def forward(own: list[Tensor]) -> Tensor:
        with torch.no_grad():
            return contender.call(*own)

    def both(own: list[Tensor]) -> object:
        return torch.autograd.grad(contender.call(*own), own, weights)

    sets = [_copy(taken) for _ in range(number)]
    trained = [[tensor.requires_grad_() for tensor in _copy(taken)] for _ in range(number if contender.trains else 0)]
    return _Calls(contender, taken, [partial(forward, own) for own in sets], [partial(both, own) for own in trained])


def _copy(tensors: list[Tensor]) -> list[Tensor]:
    """Copy what is dense; rates seen as many by a stride of 0 stay so."""
    return [tensor.clone() if tensor.is_contiguous() else tensor.detach() for tensor in tensors]


def _on_cpu(ready: list[_Calls], device: torch.device) -> list[tuple[_Calls, dict[str, Any]]]:
    """Time all contenders in turn."""
    forward = turns([calls.forward[0] for calls in ready], device)
    training = [calls for calls in ready if calls.both]
    both = dict(
        zip((calls.contender.name for calls in training), turns([c.both[0] for c in training], device), strict=True)
    )
    found = []
    for calls, times in zip(ready, forward, strict=True):
        together = both.get(calls.contender.name)
        found.append((calls, _figures(times, together, times.median, together.median if together else None)))
    return found


def _on_gpu(ready: Iterable[_Calls], device: torch.device) -> list[tuple[_Calls, dict[str, Any]]]:
    """Time one contender after the other: nothing else runs there, and each needs memory for many inputs."""
    found = []
    for calls in ready:
        eager = [cold_call(row[0], device) for row in (calls.forward, calls.both)]
        forward, both = rows_of_calls([calls.forward, calls.both], device)
        figures = _figures(forward, both, *eager)
        found.append((calls._replace(forward=[], both=[]), figures))
    return found


def _figures(forward: Times, both: Times | None, forward_eager: float, both_eager: float | None) -> dict[str, Any]:
    return {
        "launched": forward.launched,
        "ms_forward": forward.median,
        "ms_least": forward.least,
        "ms_backward": None if both is None else round(both.median - forward.median, 5),
        "ms_forward_and_backward": None if both is None else both.median,
        "ms_forward_eager": forward_eager,
        "ms_forward_and_backward_eager": both_eager,
    }


def _error(calls: _Calls, x: Tensor, exact: Tensor) -> float:
    with torch.no_grad():
        y = calls.contender.restore(calls.contender.call(*calls.taken), x)
    return float((y.double() - exact).norm() / exact.norm())


def main() -> None:
    """Run it where the command line's own packages are missing: python -m mambaseg.benchmark_scan [DEVICE]."""
    device = sys.argv[1] if len(sys.argv) > 1 else "auto"
    print(json.dumps(Job(lambda: benchmark_scan(device)).run(), indent=1))


if __name__ == "__main__":
    main()
