"""Mamba-1's selective scan against its sequential form in float64."""

import math

import pytest
import torch

from mambaseg.errors import DeviceError
from mambaseg.scan import selective
from mambaseg.scan.selective import selective_scan


def inputs(length, batch=2, channels=3, state=4, low=1e-4, high=10.0):
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    spread = torch.rand(batch, channels, length, generator=generator, dtype=torch.float64)
    delta = torch.exp(math.log(low) + (math.log(high) - math.log(low)) * spread)
    decay = -torch.rand(channels, state, generator=generator, dtype=torch.float64) * 8 - 0.1
    return [normal(batch, channels, length), delta, decay, normal(batch, state, length), normal(batch, state, length)]


def apart(one, other):
    return ((one.double() - other.double()).norm() / other.double().norm().clamp(min=1e-30)).item()


@pytest.mark.parametrize("length", [1, 7, 31, 32, 33, 64, 65, 1000])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_values_agree_with_the_sequential_form(length, dtype, bound):
    exact = inputs(length)
    found = selective_scan(*(tensor.to(dtype) for tensor in exact))
    assert found.dtype == dtype
    assert apart(found, selective_scan(*exact, backend="reference")) < bound


@pytest.mark.parametrize("length", [1, 33, 130])
@pytest.mark.parametrize(("low", "high"), [(1e-4, 1e-3), (1.0, 10.0), (1e-4, 10.0)])
def test_gradients_agree_with_the_sequential_form(length, low, high):
    results = []
    for backend in ("torch", "reference"):
        leaves = [tensor.requires_grad_() for tensor in inputs(length, low=low, high=high)]
        y = selective_scan(*leaves, backend=backend)
        weights = torch.sin(torch.arange(y.numel(), dtype=torch.float64)).view_as(y)
        results.append(torch.autograd.grad((y * weights).sum(), leaves))
    for found, wanted in zip(*results, strict=True):
        assert torch.isfinite(found).all()
        assert apart(found, wanted) < 1e-8


def test_all_options_mean_what_they_say():
    u, delta, A, B, C = inputs(20)
    passes, bias = torch.rand(3).double(), torch.rand(3).double()
    gate = torch.rand(2, 3, 20).double()
    plain = selective_scan(u, torch.nn.functional.softplus(delta + bias[:, None]), A, B, C)
    wanted = (plain + passes[:, None] * u) * torch.nn.functional.silu(gate)
    torch.testing.assert_close(selective_scan(u, delta, A, B, C, passes, gate, bias, True), wanted)


def test_a_forced_back_end_that_is_missing_says_so():
    tensors = inputs(8)
    with pytest.raises(DeviceError, match="no selective scan back end 'fast'; choose from auto, torch, mamba_ssm"):
        selective_scan(*tensors, backend="fast")
    missing = r"mamba_ssm cannot be used here: the package mamba-ssm is not installed \(pip install .*use auto or torch"
    with pytest.raises(DeviceError, match=missing):
        selective_scan(*tensors, backend="mamba_ssm")


def test_mamba_ssm_without_its_kernel_says_so(monkeypatch):
    monkeypatch.setattr(selective.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(DeviceError, match="mamba-ssm runs on CUDA GPUs; the device is cpu"):
        selective_scan(*inputs(8), backend="mamba_ssm")
    missing = selective._missing_for_mamba_ssm(torch.device("cuda"))
    assert missing == "mamba-ssm was installed without its CUDA kernel (No module named 'selective_scan_cuda')"


def test_what_does_not_fit_is_named():
    u, delta, A, B, C = inputs(8)
    with pytest.raises(ValueError, match=r"u has the shape \(2, 3, 0\); give \(batch, channel, length\)"):
        selective_scan(u[..., :0], delta, A, B, C)
    with pytest.raises(ValueError, match=r"A has the shape \(3, 0\); give \(channel, state\), none of them 0"):
        selective_scan(u, delta, A[:, :0], B[:, :0], C[:, :0])
    with pytest.raises(ValueError, match=r"B has the shape \(2, 4, 7\); with u of \(2, 3, 8\).* give \(2, 4, 8\)"):
        selective_scan(u, delta, A, B[..., :7], C)
    with pytest.raises(ValueError, match=r"D has the shape \(1,\); .* give \(3,\)"):
        selective_scan(u, delta, A, B, C, D=torch.ones(1))
    with pytest.raises(ValueError, match=r"z has the shape \(2, 3, 1\); .* give \(2, 3, 8\)"):
        selective_scan(u, delta, A, B, C, z=u[..., :1])
    with pytest.raises(ValueError, match=r"delta_bias has the shape \(3, 1\); .* give \(3,\)"):
        selective_scan(u, delta, A, B, C, delta_bias=torch.ones(3, 1))


def test_dtypes_devices_and_values_that_cannot_be_used_are_named():
    u, delta, A, B, C = inputs(8)
    with pytest.raises(ValueError, match=r"delta is torch\.int64; give one of torch\.float16"):
        selective_scan(u, delta.long(), A, B, C)
    with pytest.raises(ValueError, match="D is on meta and u on cpu; give all on one device"):
        selective_scan(u, delta, A, B, C, D=torch.ones(3, device="meta"))
    u[0, 1, 2] = math.nan
    with pytest.raises(ValueError, match="u has values that are NaN or infinite"):
        selective_scan(u, delta, A, B, C)
    spread = selective_scan(u, delta, A, B, C, look_for_nan=False)[0]  # as networks call it
    assert spread[1, 2:].isnan().all() and not spread[0].isnan().any()
