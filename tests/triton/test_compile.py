"""Every kernel compiles for four generations of GPUs; that needs Triton, not a GPU."""

from __future__ import annotations

import os

import pytest

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter compiles nothing", allow_module_level=True)
triton = pytest.importorskip("triton", reason="triton is not installed here")
GPUTarget = pytest.importorskip("triton.backends.compiler").GPUTarget
ASTSource = pytest.importorskip("triton.compiler").ASTSource
kernels = pytest.importorskip("mambaseg.scan.kernels")

SIZES = {"Q": 32, "SUB": 2, "N": 16, "P": 16, "EVEN": False}
WAYS = {"WAYS": 2, "BACK0": False, "BACK1": True}
POINTERS = {
    "x_ptr": "x", "b_ptr": "x", "c_ptr": "x", "y_ptr": "x", "dy_ptr": "x",
}  # fmt: skip
CONSTANTS = {
    "gains": SIZES | {"ADJOINT": False, "BACK0": False, "BACK1": True},
    "carry": {"ADJOINT": False, "SIZE": 256, "SPANS": 16, "PART": 32},
    "outputs": SIZES | WAYS | {"ALONE": False, "TOGETHER": 2},
    "gradients": {"Q": 32, "N": 16, "P": 16, "HEADS": 2} | WAYS,
}


@pytest.mark.parametrize("capability", [75, 80, 90, 120])
@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("low", [False, True])
def test_a_kernel_compiles(name: str, capability: int, low: bool):
    if low and capability < 80:
        pytest.skip("before sm_80 all is float32: there are no products of bfloat16")
    kernel = getattr(kernels, name)
    constants = dict(CONSTANTS[name])
    if name != "carry":
        constants |= {"LOW": low, "PRECISION": "tf32x3" if capability >= 80 else "ieee"}
    signature = {}
    for argument in kernel.arg_names:
        if argument in constants:
            signature[argument] = "constexpr"
        elif argument.endswith("_ptr"):
            signature[argument] = "*bf16" if low and argument in POINTERS else "*fp32"
        else:
            signature[argument] = "i32"
    source = ASTSource(kernel, signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 1})
    assert compiled.asm["ptx"]
