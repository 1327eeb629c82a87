"""How `benchmark_scan` takes the time of a call, on a CPU and on a GPU."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Call = Callable[[], object]

ROUNDS = 20
"""How often each contender has its turn."""
REPLAYS = 15
_QUICK_MS = 20.0
_COPIES = (4, 64)
"""Calls of a row on a GPU, at least and at most."""


class Times(NamedTuple):
    """Of one call, in ms."""

    median: float
    least: float
    launched: str

    @classmethod
    def of(cls, milliseconds: Sequence[float], launched: str) -> Times:
        """Take median and minimum."""
        return cls(round(statistics.median(milliseconds), 5), round(min(milliseconds), 5), launched)


def turns(calls: Sequence[Call], device: torch.device) -> list[Times]:
    """Time calls by the clock, all in turn; quick ones three times a turn, as the first finds a cold cache."""
    _settle()
    for call in calls:
        call()
    often = [3 if _clock(call, device) < _QUICK_MS else 1 for call in calls]
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times, samples in zip(calls, often, taken, strict=True):
            samples += [_clock(call, device) for _ in range(times)]
    return [Times.of(samples, "eager") for samples in taken]


def copies(bytes_of_one: int, device: torch.device) -> int:
    """Return how many sets of inputs exceed four times a GPU's L2 cache; 1 elsewhere."""
    if device.type != "cuda":
        return 1
    cache = int(torch.cuda.get_device_properties(device).L2_cache_size)
    least, most = _COPIES
    return max(least, min(most, -(-4 * cache // bytes_of_one)))


def rows_of_calls(rows: Sequence[Sequence[Call]], device: torch.device) -> list[Times]:
    """Time rows of calls on a GPU: replayed from CUDA graphs, or all from Python if one cannot be captured."""
    graphs = [_captured(row, device) for row in rows]
    launches: list[Call] = [graph.replay for graph in graphs if graph is not None]
    launched = "graph"
    if len(launches) < len(rows):
        launches, launched = [_one_by_one(row) for row in rows], "eager"
    found = []
    for launch, row in zip(launches, rows, strict=True):
        for _ in range(3):
            launch()
        taken = [_between_events(launch) / len(row) for _ in range(REPLAYS)]
        found.append(Times.of(taken, launched))
    return found


def cold_call(call: Call, device: torch.device) -> float:
    """Return the median of single calls from Python on a GPU, with launching, on a cold L2 cache."""
    flush = torch.empty(256 * 2**20, dtype=torch.uint8, device=device)
    for _ in range(3):
        call()
    taken = []
    for _ in range(ROUNDS):
        flush.zero_()
        taken.append(_between_events(call))
    return round(statistics.median(taken), 5)


def copy_bandwidth(device: torch.device) -> float:
    """Return bytes read and written a second, copying a block that no cache holds."""
    size = 2**30 if device.type == "cuda" else 2**28
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> object:
        return target.copy_(source)

    milliseconds = cold_call(copy, device) if device.type == "cuda" else turns([copy], device)[0].median
    return 2 * size / (milliseconds / 1e3)


def _captured(row: Sequence[Call], device: torch.device) -> torch.cuda.CUDAGraph | None:
    """Capture a row of calls, each with results of its own; None if one of them cannot be captured."""
    graph = torch.cuda.CUDAGraph()
    try:
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(3):  # Compiling and autotuning are over before anything is captured.
                row[0]()
        torch.cuda.current_stream(device).wait_stream(aside)
        torch.cuda.synchronize(device)
        with torch.cuda.graph(graph):
            results = [call() for call in row]
        del results  # Only now: each call had to write where no other did.
        graph.replay()
        torch.cuda.synchronize(device)
    except RuntimeError:
        torch.cuda.synchronize(device)
        return None
    return graph


def _one_by_one(row: Sequence[Call]) -> Call:
    return lambda: [call() for call in row]


def _between_events(launch: Call) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    launch()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def _clock(call: Call, device: torch.device) -> float:
    begun = time.perf_counter()
    call()
    if device.type == "mps":
        torch.mps.synchronize()
    return (time.perf_counter() - begun) * 1e3


def _settle() -> None:
    """Free a large block once, as a network's first layers do before its scans.

    Until then glibc gives memory back to the system after every call, and half of a call's time may be page faults.
    """
    torch.ones(2**25 - 2**16, dtype=torch.uint8)
