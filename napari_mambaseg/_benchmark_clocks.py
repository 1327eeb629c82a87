"""Clocks of `mambaseg benchmark paint`: how long the window's thread is held, and by whom."""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

from qtpy.QtCore import QEventLoop, Qt, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Span: TypeAlias = "tuple[float, float]"
TICK_MS = 10
_LOOK_MS = 20


@dataclass(eq=False)
class _Call:
    """One call on its way."""

    name: str
    begun: float
    elsewhere: float = 0.0
    """Seconds of it that others' code took."""
    computed_elsewhere: float = 0.0


@dataclass(eq=False)
class Ledger:
    """Counts what our own methods take in the window's thread, without the making of layers, which is napari's."""

    own: list[tuple[float, str, float, float]] = field(default_factory=list)
    """Seconds, name, begin and seconds of computing of each call that came from Qt or napari."""
    creations: list[Span] = field(default_factory=list)
    _stack: list[_Call | None] = field(default_factory=list)

    def watch(self, owner: type, *names: str) -> None:
        """Time methods of a class; to be called before there is an instance."""
        for name in names:
            setattr(owner, name, self._timed(getattr(owner, name), f"{owner.__name__}.{name}"))

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            entry, computing = _Call(name, time.perf_counter()), time.thread_time()
            self._stack.append(entry)
            try:
                return function(*arguments, **options)
            finally:
                self._stack.pop()
                caller = self._stack[-1] if self._stack else None
                if caller is None:
                    # Where others use the processor too, a call takes longer than it computes.
                    computed = time.thread_time() - computing - entry.computed_elsewhere
                    self.own.append((time.perf_counter() - entry.begun - entry.elsewhere, name, entry.begun, computed))
                else:
                    caller.elsewhere += entry.elsewhere
                    caller.computed_elsewhere += entry.computed_elsewhere

        return call

    def creating(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that makes layers, with its time on napari's account."""

        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            begun, computing = time.perf_counter(), time.thread_time()
            self._stack.append(None)
            try:
                return function(*arguments, **options)
            finally:
                self._stack.pop()
                ended = time.perf_counter()
                self.creations.append((begun, ended))
                if self._stack and (caller := self._stack[-1]) is not None:
                    caller.elsewhere += ended - begun
                    caller.computed_elsewhere += time.thread_time() - computing

        return call

    def longest(self, count: int = 3) -> list[dict[str, Any]]:
        """Return the longest of our own calls."""
        last = sorted(self.own)[: -count - 1 : -1]
        return [
            {"ms": round(1e3 * seconds, 1), "computing_ms": round(1e3 * computed, 1), "call": name}
            for seconds, name, _, computed in last
        ]

    def during(self, span: Span) -> list[str]:
        """Return which of our own calls lie in a span, with the ms of each."""
        inside = [one for one in self.own if one[2] < span[1] and one[2] + one[0] > span[0]]
        return [f"{name} {1e3 * seconds:.0f} ms" for seconds, name, *_ in inside]


class Ticks:
    """A timer of 10 ms in the window's thread: when it comes late, the window was held."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(lambda: self._times.append(time.perf_counter()))

    def __enter__(self) -> Ticks:
        self._times = [time.perf_counter()]
        self._timer.start(TICK_MS)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def spans(self, left_out: Sequence[Span] = ()) -> list[Span]:
        """Return the times between two ticks, without those in which one of some spans lies."""
        pairs = zip(self._times, self._times[1:], strict=False)
        return [
            (earlier, later)
            for earlier, later in pairs
            if not any(begun < later and ended > earlier for begun, ended in left_out)
        ]

    def worst(self, spans: Sequence[Span], ledger: Ledger, count: int = 3) -> list[dict[str, Any]]:
        """Return the longest of some times between two ticks: when since the start, and what of ours lay in it."""
        longest = sorted(spans, key=lambda span: span[0] - span[1])[:count]
        return [
            {
                "ms": round(milliseconds(span), 1),
                "at_s": round(span[0] - self._times[0], 2),
                "ours": ledger.during(span),
            }
            for span in longest
        ]


def milliseconds(span: Span) -> float:
    """Return how long a span is."""
    return 1e3 * (span[1] - span[0])


def summary(name: str, values: Sequence[float]) -> dict[str, float | int]:
    """Return median, 95th percentile and largest of some times in ms, and how many there are."""
    ordered = sorted(values)
    if not ordered:
        return {f"{name}_count": 0}
    return {
        f"{name}_median": round(statistics.median(ordered), 2),
        f"{name}_p95": round(ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))], 2),
        f"{name}_max": round(ordered[-1], 2),
        f"{name}_count": len(ordered),
    }


@contextlib.contextmanager
def draws_timed(canvas: Any, draws: list[Span]) -> Iterator[None]:
    """Note when the canvas begins and ends each picture."""
    native = canvas.native
    plain = native.paintGL

    def draw() -> None:
        start = time.perf_counter()
        plain()
        draws.append((start, time.perf_counter()))

    native.paintGL = draw
    try:
        yield
    finally:
        native.paintGL = plain


def wait_until(done: Callable[[], bool], seconds: float = 300.0) -> float:
    """Let Qt's own event loop run until something is so; return the seconds that it took.

    Raises
    ------
    TimeoutError
        If it takes too long.
    """
    begun = time.perf_counter()
    loop, timer = QEventLoop(), QTimer()

    def look() -> None:
        if done() or time.perf_counter() - begun > seconds:
            loop.quit()

    timer.timeout.connect(look)
    timer.start(_LOOK_MS)
    loop.exec()
    timer.stop()
    if not done():
        raise TimeoutError(f"nothing came of it within {seconds:.0f} s")
    return time.perf_counter() - begun


def settle(seconds: float = 0.5) -> None:
    """Let Qt do what is left to do."""
    until = time.perf_counter() + seconds
    wait_until(lambda: time.perf_counter() > until)
