"""The scan in torch against the sequential float64 reference."""

import itertools
import math

import pytest
import torch
from scan_cases import CASES, FACTORS, LONG, Case, apart, errors, inputs, rounded, step_by_step

from mambaseg.scan import BACK_ENDS, scan, scan_ways
from mambaseg.scan.chunked import scan_chunked
from mambaseg.scan.ways import run_reference, run_torch

PLAIN = Case(64, "dense", "f", 2, 4, 8, "mixed", 3)


def one_way(case=PLAIN, dtype=torch.float64):
    """Inputs as `scan` takes them."""
    x, dt, A, B, C = (tensor.to(dtype) for tensor in inputs(case))
    return [x, dt[:, :, 0], A[:, 0], B, C]


def sequential(x, dt, A, B, C):
    return run_reference(x.double(), dt.double()[:, :, None], A.double()[:, None], B.double(), C.double(), (False,))


def test_every_pair_of_values_of_two_factors_is_in_a_case():
    for one, other in itertools.combinations(FACTORS, 2):
        wanted = set(itertools.product(FACTORS[one], FACTORS[other]))
        assert {(getattr(case, one), getattr(case, other)) for case in CASES} == wanted


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_agree_with_the_reference_in_float32(case):
    for name, error in errors(run_torch, case, torch.float32).items():
        assert error < 1e-4, name


@pytest.mark.parametrize("case", [case for case in CASES if case.length < 1000], ids=str)
def test_in_float64_they_are_the_same(case):
    for name, error in errors(run_torch, case, torch.float64).items():
        assert error < 1e-10, name


def test_a_whole_slice_of_256_by_256_agrees_too():
    exact = rounded(LONG, torch.float32)
    assert apart(run_torch(*(tensor.float() for tensor in exact), (False,)), step_by_step(exact)) < 1e-4


def test_the_recurrence_in_numpy_is_the_reference():
    exact = inputs(PLAIN)
    assert apart(step_by_step(exact), run_reference(*exact, (False,))) < 1e-12


@pytest.mark.parametrize("backwards", [(False,), (True,), (False, True), (True, False), (True, True)])
def test_gradcheck_passes_over_groups_of_groups_of_chunks(backwards, monkeypatch):
    monkeypatch.setattr("mambaseg.scan.chunks.GROUP", 2)
    case = Case(11, "dense", "fb"[: len(backwards)], 1, 3, 2, "mixed", 1)
    leaves = [tensor.requires_grad_() for tensor in inputs(case)]
    assert torch.autograd.gradcheck(lambda *tensors: scan_chunked(*tensors, backwards, chunk=2), leaves)


def test_more_chunks_than_one_group_carry_across_groups():
    exact = inputs(Case(4 * 600 + 3, "dense", "fb", 1, 4, 8, "mixed", 1))
    assert apart(scan_chunked(*exact, (False, True), chunk=4), run_reference(*exact, (False, True))) < 1e-10


def test_slow_steps_after_fast_ones_keep_their_digits():
    exact = [tensor.float().double() for tensor in inputs(Case(1000, "dense", "fb", 1, 16, 16, "slow", 2))]
    exact[1][:, :500] = 10.0
    results = []
    for run, dtype in ((run_reference, torch.float64), (run_torch, torch.float32)):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in exact]
        y = run(*leaves, (False, True))
        results.append([y.detach(), *torch.autograd.grad(y, leaves, torch.ones_like(y))])
    for wanted, found in zip(*results, strict=True):
        assert apart(found, wanted) < 1e-4


def test_extreme_time_steps_give_neither_nan_nor_infinity():
    x, dt, A, B, C = (tensor.float() for tensor in inputs(Case(200, "dense", "fb", 2, 4, 8, "mixed", 3)))
    coin = torch.rand(dt.shape, generator=torch.Generator().manual_seed(1))
    leaves = [tensor.requires_grad_() for tensor in (x, torch.where(coin < 0.5, 1e4, 1e-8), A, B, C)]
    y = scan_ways(*leaves)
    for tensor in (y, *torch.autograd.grad(y.sum(), leaves)):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_in_its_own_dtype_but_is_computed_in_float32(dtype):
    low = one_way(dtype=dtype)
    y = scan(*low)
    assert y.dtype == dtype
    assert apart(y, sequential(*low)) < (2e-3 if dtype == torch.float16 else 2e-2)


def test_autocast_touches_neither_values_nor_gradients():
    leaves = [tensor.requires_grad_() for tensor in one_way(dtype=torch.float32)]
    results = []
    for on in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            y = scan(*leaves)
            results.append([y, *torch.autograd.grad(y, leaves, torch.ones_like(y))])
    for plain, cast in zip(*results, strict=True):
        assert torch.equal(plain, cast)


def test_one_decay_for_all_of_a_batch_is_the_same_as_one_each():
    x, dt, A, B, C = one_way()
    assert torch.equal(scan(x, dt, A[0], B, C), scan(x, dt, A[0].expand(2, -1), B, C))


def test_no_back_end_writes_into_its_inputs():
    tensors = inputs(PLAIN._replace(ways="fb", length=33))
    before = [tensor.clone() for tensor in tensors]
    for name in ("torch", "reference"):
        scan_ways(*tensors, backend=name)
    assert all(map(torch.equal, tensors, before))


@pytest.mark.parametrize("backwards", [(False,), (True,), (False, True), (True, False), (False, False)])
def test_ways_are_scans_of_reversed_tokens_added_up(backwards):
    x, dt, A, B, C = inputs(Case(37, "dense", "fb"[: len(backwards)], 2, 4, 8, "mixed", 3))
    wanted = 0
    for way, back in enumerate(backwards):
        tokens = [tensor.flip(1) if back else tensor for tensor in (x, dt[:, :, way], B, C)]
        one = sequential(tokens[0], tokens[1], A[:, way], tokens[2], tokens[3])
        wanted = wanted + (one.flip(1) if back else one)
    for backend in ("torch", "reference"):
        assert apart(scan_ways(x, dt, A, B, C, backwards, backend), wanted) < 1e-10


def test_wrong_shapes_are_named():
    x, dt, A, B, C = one_way()
    with pytest.raises(ValueError, match=r"x has the shape \(2, 0, 3, 8\).*none of them 0"):
        scan(x[:, :0], dt[:, :0], A, B[:, :0], C[:, :0])
    with pytest.raises(ValueError, match=r"x has the shape \(64, 3, 8\); give \(batch, length, head, dim\)"):
        scan(x[0], dt[0], A[0], B[0], C[0])
    with pytest.raises(ValueError, match=r"dt has the shape \(2, 7, 3\); with x of \(2, 64, 3, 8\) give \(2, 64, 3\)"):
        scan(x, dt[:, :7], A, B, C)
    with pytest.raises(ValueError, match=r"A has the shape \(2,\); .* give \(3,\) or \(2, 3\)"):
        scan(x, dt, A[:, 0], B, C)
    with pytest.raises(ValueError, match=r"B has the shape \(2, 7, 4\); .* give \(2, 64, 4\)"):
        scan(x, dt, A, B[:, :7], C)
    with pytest.raises(ValueError, match=r"B has the shape \(2, 64, 0\); give \(batch, length, state\)"):
        scan(x, dt, A, B[..., :0], C[..., :0])
    with pytest.raises(ValueError, match=r"C has the shape \(2, 64, 3\); .* B of \(2, 64, 4\) give \(2, 64, 4\)"):
        scan(x, dt, A, B, C[..., :3])


def test_ways_that_do_not_fit_are_named():
    x, dt, A, B, C = inputs(PLAIN._replace(ways="fb"))
    with pytest.raises(ValueError, match="3 ways were asked for; one or two can be run"):
        scan_ways(x, dt, A, B, C, (False, True, False))
    with pytest.raises(ValueError, match=r"dt has the shape \(2, 64, 2, 3\); .* give \(2, 64, 1, 3\)"):
        scan_ways(x, dt, A, B, C, (False,))
    with pytest.raises(ValueError, match=r"A has the shape \(2, 1, 3\); .* give \(2, 3\) or \(2, 2, 3\)"):
        scan_ways(x, dt, A[:, :1], B, C)
    with pytest.raises(ValueError, match="x has the shape"):
        scan_ways(x[:, :0], dt[:, :0], A, B[:, :0], C[:, :0])


@pytest.mark.parametrize("name", ["x", "dt", "A", "B", "C"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_other_dtypes_are_named(name, dtype):
    tensors = dict(zip(("x", "dt", "A", "B", "C"), one_way(), strict=True))
    tensors[name] = tensors[name].to(dtype)
    with pytest.raises(
        ValueError, match=rf"{name} is {dtype}; give one of torch.float16, torch.bfloat16, torch.float32"
    ):
        scan(**tensors)


def test_tensors_on_several_devices_are_named():
    x, dt, A, B, C = one_way()
    with pytest.raises(ValueError, match="B is on meta and x on cpu; give all on one device"):
        scan(x, dt, A, B.to("meta"), C)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["x", "dt", "A", "B", "C"])
def test_nan_and_infinity_are_named_before_they_spread(name, value):
    tensors = dict(zip(("x", "dt", "A", "B", "C"), one_way(), strict=True))
    tensors[name].view(-1)[-1] = value
    with pytest.raises(ValueError, match=f"{name} has values that are NaN or infinite"):
        scan(**tensors)


def test_a_forced_back_end_is_the_one_that_runs(monkeypatch):
    ran = []
    for name in ("torch", "reference"):
        known = BACK_ENDS[name]

        def spy(*inputs, name=name, run=known.run):
            ran.append(name)
            return run(*inputs)

        monkeypatch.setitem(BACK_ENDS, name, type(known)(spy, known.dtypes, known.missing))
    for name in ("reference", "torch", "auto"):
        scan(*one_way(), backend=name)
    monkeypatch.setenv("MAMBASEG_BACKEND", "reference")
    scan(*one_way())
    assert ran == ["reference", "torch", "torch", "reference"]
