"""On a machine with a CUDA GPU: `make test-gpu`. Every back end of the scan against the float64 reference."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from scan_cases import CASES, LONG, NAMES, Case, apart, errors, inputs, rounded, step_by_step

from mambaseg.scan import BACK_ENDS, choose_back_end, scan_ways

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

BOUNDS = {
    ("torch", torch.float32): 1e-4,
    ("torch", torch.bfloat16): 2e-2,  # Computed in float32; y and the gradients of x, B and C are rounded.
    ("triton", torch.float32): 1e-4,
    ("triton", torch.bfloat16): 2e-2,
    ("mamba_ssm", torch.float32): 2e-2,  # It multiplies float32 as TF32, with ten bits of mantissa.
    ("mamba_ssm", torch.bfloat16): 2e-2,
}
"""Relative norms of differences."""
ONES = list(BOUNDS)
THEIRS = ("y", "x", "B", "C")
"""What is compared of mamba_ssm: in its kernels the gradients of dt and A are differences of rounded sums."""


def needs(backend: str) -> None:
    missing = BACK_ENDS[backend].missing(torch.device("cuda"))
    if missing is not None:
        pytest.skip(missing)


def named(value: object) -> str:
    return str(value).removeprefix("torch.")


def on_gpu(case: Case, dtype: torch.dtype) -> list[Tensor]:
    x, dt, A, B, C = (tensor.float().cuda() for tensor in rounded(case, dtype))
    return [x.to(dtype), dt, A, B.to(dtype), C.to(dtype)]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("backend", "dtype"), ONES, ids=named)
def test_values_and_gradients_agree_with_the_reference(backend: str, dtype: torch.dtype, case: Case):
    needs(backend)
    found = errors(partial(scan_ways, backend=backend), case, dtype, "cuda")
    compared = THEIRS if backend == "mamba_ssm" else ("y", *NAMES)
    bound = BOUNDS[backend, dtype]
    assert {name: found[name] for name in compared if not found[name] < bound} == {}


@pytest.mark.parametrize(("backend", "dtype"), ONES, ids=named)
def test_a_whole_slice_of_256_by_256_agrees_too(backend: str, dtype: torch.dtype):
    needs(backend)
    with torch.no_grad():
        y = scan_ways(*on_gpu(LONG, dtype), LONG.backwards, backend)
    assert apart(y, step_by_step(rounded(LONG, dtype))) < BOUNDS[backend, dtype]


@pytest.mark.parametrize("backend", ["torch", "triton", "mamba_ssm"])
def test_a_forced_back_end_is_the_one_that_runs(backend: str, monkeypatch: pytest.MonkeyPatch):
    needs(backend)
    known, ran = BACK_ENDS[backend], []

    def spy(*tensors: Tensor) -> Tensor:
        ran.append(backend)
        return known.run(*tensors)

    choose_back_end(backend, "cuda")  # Its trial is over before it is watched.
    monkeypatch.setitem(BACK_ENDS, backend, type(known)(spy, known.dtypes, known.missing))
    case = CASES[0]
    scan_ways(*on_gpu(case, torch.float32), case.backwards, backend)
    monkeypatch.setenv("MAMBASEG_BACKEND", backend)
    scan_ways(*on_gpu(case, torch.float32), case.backwards)
    assert ran == [backend, backend]


def test_auto_takes_triton():
    assert choose_back_end("auto", "cuda") == "triton"


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_captured_scan_replays_on_new_values(backend: str):
    case = Case(900, "dense", "fb", 2, 16, 16, "mixed", 4)
    tensors = on_gpu(case, torch.float32)
    run = partial(scan_ways, backwards=case.backwards, backend=backend)
    with torch.no_grad():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run(*tensors)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = run(*tensors)
        tensors[0].mul_(-2)
        graph.replay()
        assert apart(y, run(*tensors)) < 1e-6


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_extreme_time_steps_give_neither_nan_nor_infinity(backend: str):
    x, dt, A, B, C = (tensor.float().cuda() for tensor in inputs(Case(200, "dense", "fb", 2, 16, 16, "mixed", 2)))
    dt = torch.where(torch.rand_like(dt) < 0.5, 1e4, 1e-8)
    leaves = [tensor.requires_grad_() for tensor in (x, dt, A, B, C)]
    y = scan_ways(*leaves, backend=backend)
    for tensor in (y, *torch.autograd.grad(y.sum(), leaves)):
        assert torch.isfinite(tensor).all()
