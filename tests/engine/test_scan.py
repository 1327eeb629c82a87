"""The scan's back ends against the sequential float64 reference."""

import math

import pytest
import torch

from mambaseg.errors import DeviceError
from mambaseg.scan import BACK_ENDS, choose_back_end, explain_back_ends, scan, scan_ways
from mambaseg.scan.back_ends import BackEnd, _trial
from mambaseg.scan.chunked import scan_chunked
from mambaseg.scan.reference import scan_sequential

LENGTHS = (1, 7, 31, 32, 33, 100, 1100)


def inputs(length, batch=2, heads=3, dim=5, state=4, dtype=torch.float64, low=1e-4, high=10.0, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    spread = torch.rand(batch, length, heads, generator=generator, dtype=torch.float64)
    dt = torch.exp(math.log(low) + (math.log(high) - math.log(low)) * spread)
    decay = -torch.rand(batch, heads, generator=generator, dtype=torch.float64) * 8 - 0.1
    tensors = (normal(batch, length, heads, dim), dt, decay, normal(batch, length, state), normal(batch, length, state))
    return [t.to(dtype) for t in tensors]


def apart(one, other):
    return ((one.double() - other.double()).norm() / other.double().norm().clamp(min=1e-30)).item()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_the_torch_back_end_agrees_with_the_reference(length, dtype, bound):
    exact = inputs(length)
    assert apart(scan(*(t.to(dtype) for t in exact), backend="torch"), scan_sequential(*exact)) < bound


@pytest.mark.parametrize("length", (1, 33, 100))
@pytest.mark.parametrize(("low", "high"), [(1e-4, 1e-3), (1.0, 10.0), (1e-4, 10.0)])
def test_gradients_agree_at_slow_fast_and_mixed_time_steps(length, low, high):
    results = []
    for run in (scan_chunked, scan_sequential):
        leaves = [t.requires_grad_() for t in inputs(length, low=low, high=high)]
        weights = torch.sin(torch.arange(leaves[0].numel(), dtype=torch.float64)).view_as(leaves[0])
        results.append(torch.autograd.grad((run(*leaves) * weights).sum(), leaves))
    for found, wanted in zip(*results, strict=True):
        assert torch.isfinite(found).all()
        assert apart(found, wanted) < 1e-8


def test_gradcheck_passes_in_float64():
    leaves = [t.requires_grad_() for t in inputs(9, batch=1, heads=2, dim=2, state=3, low=0.01, high=1.0)]
    assert torch.autograd.gradcheck(lambda *args: scan_chunked(*args, chunk=4), leaves)


def test_more_chunks_than_one_group_carry_across_groups():
    exact = inputs(4 * 40 + 3)
    assert apart(scan_chunked(*exact, chunk=4), scan_sequential(*exact)) < 1e-10


def test_extreme_time_steps_give_neither_nan_nor_infinity():
    x, dt, decay, b, c = inputs(64, dtype=torch.float32)
    x.requires_grad_()
    dt = torch.where(torch.rand(dt.shape, generator=torch.Generator().manual_seed(1)) < 0.5, 1e4, 1e-8)
    y = scan(x, dt, decay, b, c)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()


def test_reversed_and_strided_inputs_are_read_in_their_own_order():
    exact = inputs(50)
    strided = [t.flip(1).contiguous().flip(1) if t.ndim > 2 else t for t in exact]
    doubled = [torch.stack([t, -t], dim=-1)[..., 0] for t in strided]
    assert apart(scan(*doubled), scan_sequential(*exact)) < 1e-10


def test_half_precision_comes_back_in_its_own_dtype_but_is_computed_in_float32():
    exact = inputs(100)
    low = scan(*(t.to(torch.bfloat16) for t in exact))
    assert low.dtype == torch.bfloat16
    rounded = [t.to(torch.bfloat16).double() for t in exact]
    assert apart(low, scan_sequential(*rounded)) < 2e-2


def test_one_decay_for_all_of_a_batch_is_the_same_as_one_each():
    x, dt, decay, b, c = inputs(20)
    shared = decay[0]
    assert torch.equal(scan(x, dt, shared, b, c), scan(x, dt, shared.expand(2, -1), b, c))


def test_an_unknown_back_end_is_refused_with_those_that_exist():
    known = "auto, reference, torch, triton, mamba_ssm"
    with pytest.raises(DeviceError, match=f"no scan back end 'magic'; choose from {known}"):
        choose_back_end("magic")


def test_the_environment_variable_forces_a_back_end(monkeypatch):
    monkeypatch.setenv("MAMBASEG_BACKEND", "reference")
    assert choose_back_end() == "reference"
    assert choose_back_end("torch") == "torch"
    assert set(BACK_ENDS) >= {"reference", "torch"}


def test_wrong_shapes_are_named():
    x, dt, decay, b, c = inputs(8)
    with pytest.raises(ValueError, match=r"x has the shape \(2, 0, 3, 5\).*none of them 0"):
        scan(x[:, :0], dt[:, :0], decay, b[:, :0], c[:, :0])
    with pytest.raises(ValueError, match=r"dt has the shape \(2, 7, 3\)"):
        scan(x, dt[:, :7], decay, b, c)
    with pytest.raises(ValueError, match=r"A has the shape \(2,\)"):
        scan(x, dt, decay[:, 0], b, c)
    with pytest.raises(ValueError, match=r"x is torch\.int64"):
        scan(x.long(), dt, decay, b, c)


def test_nan_is_named_before_it_spreads():
    x, dt, decay, b, c = inputs(8)
    b[0, 3, 1] = math.nan
    with pytest.raises(ValueError, match=r"B has values that are NaN or infinite"):
        scan(x, dt, decay, b, c)


@pytest.mark.parametrize("backwards", [(False,), (True,), (False, True), (True, False)])
def test_ways_are_scans_of_reversed_tokens_added_up(backwards):
    x, _, _, b, c = inputs(37)
    ways = [inputs(37, seed=way + 1) for way in range(len(backwards))]
    dt = torch.stack([way[1] for way in ways], dim=2)
    decay = torch.stack([way[2] for way in ways], dim=1)
    wanted = 0
    for way, back in enumerate(backwards):
        tokens = [t.flip(1) if back else t for t in (x, dt[:, :, way], b, c)]
        one = scan_sequential(tokens[0], tokens[1], decay[:, way], tokens[2], tokens[3])
        wanted = wanted + (one.flip(1) if back else one)
    assert apart(scan_ways(x, dt, decay, b, c, backwards), wanted) < 1e-10


def test_three_ways_are_refused():
    x, dt, decay, b, c = inputs(8)
    with pytest.raises(ValueError, match="3 ways were asked for; one or two can be run"):
        scan_ways(x, dt.unsqueeze(2), decay.unsqueeze(1), b, c, (False, True, False))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("triton", "(triton is not installed|run on CUDA GPUs; the device is cpu)"),
        ("mamba_ssm", r"mamba-ssm is not installed \(pip install"),
    ],
)
def test_a_forced_back_end_that_cannot_run_says_what_is_missing(name, reason):
    said = f"the scan back end {name} cannot be used here: .*{reason}.*use auto or torch"
    with pytest.raises(DeviceError, match=said):
        choose_back_end(name)


def test_a_back_end_that_is_wrong_in_its_trial_is_never_used(monkeypatch, caplog):
    def off(x, dt, A, B, C, backwards):
        return BACK_ENDS["torch"].run(x, dt, A, B, C, backwards) * 1.01

    def broken(*inputs):
        raise OSError("cannot find gcc")

    nothing = lambda device: None  # noqa: E731
    monkeypatch.setitem(BACK_ENDS, "triton", BackEnd(off, frozenset({torch.float32}), nothing))
    monkeypatch.setitem(BACK_ENDS, "mamba_ssm", BackEnd(broken, frozenset({torch.float32}), nothing))
    _trial.cache_clear()
    try:
        found = explain_back_ends()
        explain_back_ends()
    finally:
        _trial.cache_clear()
    assert found["torch"] == "works"
    assert found["triton"].startswith("its trial is off by ")
    assert found["mamba_ssm"] == "its trial failed (OSError: cannot find gcc)"
    assert len(caplog.records) == 2  # One warning for each, not one for each use.
