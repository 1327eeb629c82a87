"""`mambaseg benchmark scan`: the scan's back ends side by side, at the shapes of MRI, in one run.

Times are medians in ms, each call on a cold L2 cache. "eager" calls from Python, as training does; "graph" replays a
CUDA graph, as a network that was captured does: what the GPU alone needs. `ms_forward` and `ms_backward` are eager on
the CPU, graph on a GPU where one can be captured (else eager; `launched` says which).
`floor_ms` is what moving the inputs and the output once would take at the copy bandwidth measured in the same run.
`max_error` is the relative norm of the difference to the same scan in float64.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch

from mambaseg.device import choose_device, describe_device
from mambaseg.jobs import Job, Progress
from mambaseg.scan.back_ends import BACK_ENDS, explain_back_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from torch import Tensor

GPU_SHAPES = (
    (1, 64, 262144), (1, 64, 65536), (8, 64, 65536), (8, 64, 4096), (16, 64, 1024), (32, 64, 900), (32, 112, 225)
)  # fmt: skip
"""Batch, channels, length; the last two are the shipped network's own, a batch of slices at strides 8 and 16."""
CPU_SHAPES = ((1, 64, 4096), (1, 64, 1024), (4, 64, 900), (4, 112, 225))
STATE = 16
_REPEATS = 20


def benchmark_scan(device: str = "auto") -> Generator[Progress, None, dict[str, Any]]:
    """Measure every back end that can run on a device; a task.

    Returns
    -------
    dict
        machine, versions, date, copy bandwidth, and a row for each back end and shape.
    """
    chosen = choose_device(device)
    shapes = GPU_SHAPES if chosen.type == "cuda" else CPU_SHAPES
    dtype = torch.bfloat16 if chosen.type == "cuda" else torch.float32
    bandwidth = _copy_bandwidth(chosen)
    rows = []
    jobs = [(shape, contender) for shape in shapes for contender in _contenders(chosen)]
    for number, ((batch, channels, length), (name, make)) in enumerate(jobs):
        yield Progress(f"{name} at {batch} x {channels} x {length}", number, len(jobs))
        dim = 32 if channels % 32 == 0 else 16
        rows.append(_row(name, make, chosen, dtype, (batch, channels, length, dim), bandwidth))
    return {
        "machine": {"device": describe_device(chosen), "cpu": platform.processor() or platform.machine()},
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "copy_bytes_per_second": bandwidth,
        "back_ends": explain_back_ends(chosen),
        "protocol": __doc__,
        "rows": rows,
    }


def table(found: dict[str, Any]) -> str:
    """Return the rows as lines of text."""
    head = f"{'back end':<18}{'batch':>6}{'channels':>9}{'length':>8}{'forward':>10}{'and back':>10}{'floor':>9}   ms"
    lines = [head]
    for row in found["rows"]:
        both = row["ms_forward_and_backward"]
        lines.append(
            f"{row['backend']:<18}{row['batch']:>6}{row['channels']:>9}{row['length']:>8}{row['ms_forward']:>10.3f}"
            f"{'' if both is None else format(both, '.3f'):>10}{row['floor_ms']:>9.4f}"
        )
    return "\n".join(lines)


def _contenders(device: torch.device) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Name what can run here, each with a function that makes a call from inputs."""
    for name, state in explain_back_ends(device).items():
        if state == "works" and name != "reference":
            yield name, lambda x, dt, A, B, C, run=BACK_ENDS[name].run: run(x, dt, A, B, C, (False,))
    if device.type == "cuda" and explain_back_ends(device)["mamba_ssm"] == "works":
        yield "mamba1_selective", _selective
    if device.type == "cpu":
        yield "mamba1_reference", _mamba1_loop


def _row(
    name: str,
    call: Callable[..., Any],
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, int, int, int],
    bandwidth: float,
) -> dict[str, Any]:
    batch, channels, length, dim = shape
    leaves = _inputs(batch, channels, length, dim, dtype, device)
    taken = BACK_ENDS[name].dtypes if name in BACK_ENDS else {dtype}
    inputs = [leaf if dtype in taken else leaf.float() for leaf in leaves]
    moved = sum(leaf.numel() * leaf.element_size() for leaf in leaves) + leaves[0].numel() * leaves[0].element_size()
    row: dict[str, Any] = {
        "backend": name, "device": device.type, "dtype": str(dtype).removeprefix("torch."), "batch": batch,
        "channels": channels, "length": length, "state": STATE, "headdim": dim,
        "floor_ms": round(moved / bandwidth * 1e3, 5),
    }  # fmt: skip

    def forward() -> Tensor:
        with torch.no_grad():
            y: Tensor = call(*inputs)
            return y

    wanted = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    weights = torch.ones_like(inputs[0])

    def both() -> None:
        torch.autograd.grad(call(*wanted), wanted, weights)

    forward_ms = _times(forward, device)
    both_ms = _times(both, device) if name != "mamba1_reference" else {}
    launched = "graph" if "graph" in forward_ms and "graph" in (both_ms or forward_ms) else "eager"
    together = both_ms.get(launched)
    row |= {
        "launched": launched,
        "ms_forward": forward_ms[launched],
        "ms_backward": None if together is None else round(together - forward_ms[launched], 5),
        "ms_forward_and_backward": together,
        "ms_forward_eager": forward_ms["eager"],
        "ms_forward_and_backward_eager": both_ms.get("eager"),
    }
    row["max_error"] = _error(name, forward(), inputs)
    return row


def _inputs(
    batch: int, channels: int, length: int, dim: int, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    generator = torch.Generator(device=device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device).to(dtype)

    heads = channels // dim
    dt = torch.rand(batch, length, 1, heads, generator=generator, device=device) * 0.1 + 1e-3
    A = -torch.rand(1, 1, heads, generator=generator, device=device).expand(batch, -1, -1) * 8 - 0.1
    return [normal(batch, length, heads, dim), dt, A, normal(batch, length, STATE), normal(batch, length, STATE)]


def _error(name: str, y: Tensor, inputs: list[Tensor]) -> float | None:
    if name.startswith("mamba1"):
        return None  # Another recurrence: it has its own tests.
    exact = BACK_ENDS["torch"].run(*(tensor.double() for tensor in inputs), (False,))
    return float((y.double() - exact).norm() / exact.norm())


def _times(run: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Return medians in ms: eager, and replayed from a CUDA graph where one can be captured."""
    if device.type != "cuda":
        run()
        return {"eager": round(statistics.median(_clock(run) for _ in range(_REPEATS)), 5)}
    for _ in range(3):
        run()
    times = {"eager": _gpu_median(run, device)}
    try:
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            run()
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        times["graph"] = _gpu_median(graph.replay, device)
    except RuntimeError:
        torch.cuda.synchronize(device)
    return times


def _gpu_median(run: Callable[[], object], device: torch.device) -> float:
    flush = torch.empty(256 * 2**20, dtype=torch.uint8, device=device)
    times = []
    for _ in range(_REPEATS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        flush.zero_()
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(float(begin.elapsed_time(end)))
    return round(statistics.median(times), 5)


def _clock(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return (time.perf_counter() - begun) * 1e3


def _copy_bandwidth(device: torch.device) -> float:
    """Return bytes read and written a second, copying a block that no cache holds."""
    size = 2**30 if device.type == "cuda" else 2**28
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    milliseconds = _times(lambda: target.copy_(source), device)
    return 2 * size / (milliseconds["eager"] / 1e3)


def _selective(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """mamba-ssm's selective scan at the same sizes: every channel has its own step and decays."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    dim = x.shape[-1]
    u = x.flatten(2).transpose(1, 2)
    delta = dt[:, :, 0].to(x.dtype).repeat_interleave(dim, dim=2).transpose(1, 2)
    decay = A[0, 0].repeat_interleave(dim)[:, None].expand(-1, B.shape[-1]).contiguous()
    y: Tensor = selective_scan_fn(u, delta, decay, B.transpose(1, 2), C.transpose(1, 2))
    return torch.unflatten(y.transpose(1, 2), -1, (-1, dim))


def _mamba1_loop(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Mamba-1's reference: one step after the other, a decay for each channel and state (arXiv 2312.00752)."""
    batch, length, heads, dim = x.shape
    u, delta = x.flatten(2), dt[:, :, 0].repeat_interleave(dim, dim=2)
    decay = A[0, 0].repeat_interleave(dim)[:, None].expand(-1, B.shape[-1])
    state = u.new_zeros(batch, heads * dim, B.shape[-1])
    read = []
    kept = torch.exp(delta[..., None] * decay)
    enters = (delta * u)[..., None] * B[:, :, None]
    for step in range(length):
        state = kept[:, step] * state + enters[:, step]
        read.append((state @ C[:, step, :, None])[..., 0])
    return torch.stack(read, dim=1).view(x.shape)



def main() -> None:
    """Run it where the command line's own packages are missing: python -m mambaseg.benchmark_scan [DEVICE]."""
    device = sys.argv[1] if len(sys.argv) > 1 else "auto"
    found = Job(lambda: benchmark_scan(device)).run()
    print(json.dumps({"command": f"python -m mambaseg.benchmark_scan {device}", **found}, indent=1))


if __name__ == "__main__":
    main()
