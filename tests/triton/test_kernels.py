"""The Triton kernels without a GPU: run by Triton's interpreter, in a pytest of their own (`make test-triton`).

The interpreter computes in float32 only, and takes seconds for large tiles: bfloat16 and the larger cases are tested
on a GPU, by tests/gpu/test_gpu_scan.py.
"""

from __future__ import annotations

import os

import pytest
import torch
from scan_cases import CASES, Case, apart, errors, inputs

from mambaseg.scan.ways import run_torch

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1 before triton is loaded", allow_module_level=True)
pytest.importorskip("triton", reason="triton is not installed here")
scan_triton = pytest.importorskip("mambaseg.scan.triton_scan").scan_triton

FEW = 3072
"""Values in all tiles of a case that the interpreter can be asked to run."""


def tiles(case: Case) -> int:
    return -(-case.length // 32) * case.batch * case.heads * max(16, case.state) * max(16, case.dim)


SMALL = [case for case in CASES if tiles(case) <= FEW]
LONG = [case for case in CASES if case.length == 1000 and case.state == 4]


@pytest.mark.parametrize("case", SMALL + LONG, ids=str)
def test_values_and_gradients_agree_with_the_reference(case):
    for name, error in errors(scan_triton, case, torch.float32).items():
        assert error < 1e-4, name


@pytest.mark.parametrize("sub", [1, 2, 4])
def test_spans_of_any_length_give_the_same(sub, monkeypatch):
    monkeypatch.setattr("mambaseg.scan.triton_scan._ALONE", 0)
    monkeypatch.setattr("mambaseg.scan.triton_scan._ENOUGH", 6 // sub)
    tensors = [tensor.float() for tensor in inputs(Case(170, "dense", "fb", 1, 4, 8, "mixed", 1))]
    assert apart(scan_triton(*tensors, (False, True)), run_torch(*tensors, (False, True))) < 1e-5
