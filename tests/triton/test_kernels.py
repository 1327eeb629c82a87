"""The Triton kernels without a GPU: run by Triton's interpreter, in a pytest of their own (`make test-triton`).

The interpreter computes in float32 only; bfloat16 is tested on a GPU.
"""

from __future__ import annotations

import math
import os

import pytest
import torch

from mambaseg.scan.chunked import scan_chunked
from mambaseg.scan.ways import run_torch

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1 before triton is loaded", allow_module_level=True)
pytest.importorskip("triton", reason="triton is not installed here")
scan_triton = pytest.importorskip("mambaseg.scan.triton_scan").scan_triton

# Pairwise over length, batch, heads, state, dim, ways and the span of time steps.
CASES = [
    (1, 1, 1, 4, 8, (False,), (1e-4, 1e-2)),
    (7, 2, 2, 16, 16, (True,), (1e-2, 10.0)),
    (31, 3, 1, 64, 8, (False, True), (1e-4, 10.0)),
    (32, 1, 2, 4, 64, (False, True), (1.0, 10.0)),
    (33, 2, 1, 16, 16, (True, False), (1e-4, 10.0)),
    (300, 1, 2, 16, 16, (False, True), (1e-4, 10.0)),
    (1000, 1, 1, 4, 8, (False,), (1e-4, 1.0)),
]


def inputs(length, batch, heads, state, dim, ways, span, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    low, high = (math.log(bound) for bound in span)
    dt = torch.exp(low + (high - low) * torch.rand(batch, length, ways, heads, generator=generator).double())
    decay = -torch.rand(batch, ways, heads, generator=generator).double() * 8 - 0.1
    return [normal(batch, length, heads, dim), dt, decay, normal(batch, length, state), normal(batch, length, state)]


def apart(one, other):
    return ((one.double() - other.double()).norm() / other.double().norm().clamp(min=1e-30)).item()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_agree_with_float64(case):
    length, batch, heads, state, dim, backwards, span = case
    exact = [t.requires_grad_() for t in inputs(length, batch, heads, state, dim, len(backwards), span)]
    wanted = run_torch(*exact, backwards)
    weights = torch.sin(torch.arange(wanted.numel(), dtype=torch.float64)).view_as(wanted)
    gradients = torch.autograd.grad((wanted * weights).sum(), exact)
    low = [t.detach().float().requires_grad_() for t in exact]
    found = scan_triton(*low, backwards)
    assert apart(found, wanted) < 1e-4
    for name, one, other in zip(
        ("x", "dt", "A", "B", "C"), torch.autograd.grad((found * weights.float()).sum(), low), gradients, strict=True
    ):
        assert apart(one, other) < 1e-4, name


def test_views_into_one_tensor_of_tokens_are_read_where_they_lie():
    x, dt, decay, b, c = (t.float() for t in inputs(70, 2, 2, 4, 8, 1, (1e-3, 1.0)))
    tokens = torch.cat([x.flatten(2), b, c], dim=-1)
    views = tokens.split([16, 4, 4], dim=-1)
    found = scan_triton(views[0].unflatten(-1, (2, 8)), dt, decay, views[1], views[2])
    assert apart(found, scan_chunked(x, dt[:, :, 0], decay[:, 0], b, c)) < 1e-5


def test_reversed_and_strided_inputs_are_read_in_their_own_order():
    exact = [t.float() for t in inputs(50, 1, 1, 4, 8, 1, (1e-3, 1.0))]
    strided = [torch.stack([t, -t], dim=-1)[..., 0] for t in exact]
    assert apart(scan_triton(*strided), scan_triton(*exact)) < 1e-7


@pytest.mark.parametrize("sub", [1, 2, 4])
def test_spans_of_any_length_give_the_same(sub, monkeypatch):
    monkeypatch.setattr("mambaseg.scan.triton_scan._ALONE", 0)
    monkeypatch.setattr("mambaseg.scan.triton_scan._ENOUGH", 6 // sub)
    x, dt, decay, b, c = (t.float() for t in inputs(170, 1, 1, 4, 8, 2, (1e-3, 1.0)))
    wanted = run_torch(x, dt, decay, b, c, (False, True))
    assert apart(scan_triton(x, dt, decay, b, c, (False, True)), wanted) < 1e-5

