"""`mambaseg benchmark scan`: its rows, on a length that takes no time."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from mambaseg import benchmark_scan as under_test
from mambaseg import benchmark_scan_times as times
from mambaseg.benchmark_scan import Shape, inputs
from mambaseg.benchmark_scan_contenders import contenders
from mambaseg.cli import main
from mambaseg.scan import BACK_ENDS, back_ends
from mambaseg.scan.selective import selective_scan

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
KEYS = {"backend", "device", "dtype", "batch", "channels", "length", "state", "headdim", "ms_forward", "ms_backward",
        "floor_ms", "max_error", "ways", "launched"}  # fmt: skip


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(under_test, "CPU_SHAPES", (Shape(2, 64, 70, 32), Shape(1, 48, 33, 16, ways=2)))
    monkeypatch.setattr(times, "ROUNDS", 2)
    monkeypatch.setattr(under_test, "copy_bandwidth", lambda device: 1e10)


def test_every_back_end_of_the_cpu_has_a_row(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["benchmark", "scan", "--device", "cpu", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert stop.value.code in (0, None)
    assert found["command"] == "mambaseg benchmark scan --device cpu --json"
    assert found["machine"]["device"].startswith("CPU")
    assert [row["backend"] for row in found["rows"]] == ["torch", "mamba1_reference", "torch"]
    sizes = ("batch", "channels", "length", "state", "headdim", "ways", "dtype", "device", "launched")
    for row, wanted in zip(found["rows"], [(2, 64, 70, 16, 32, 1)] * 2 + [(1, 48, 33, 16, 16, 2)], strict=True):
        assert set(row) >= KEYS
        assert tuple(row[name] for name in sizes) == (*wanted, "float32", "cpu", "eager")
        assert row["max_error"] < 1e-5
        assert 0 < row["ms_least"] <= row["ms_forward"]
    ours, loop = found["rows"][:2]
    assert ours["ms_backward"] == pytest.approx(ours["ms_forward_and_backward"] - ours["ms_forward"], abs=1e-4)
    assert loop["ms_backward"] is loop["ms_forward_and_backward"] is None
    assert ours["floor_ms"] == pytest.approx(
        4e-10 * (2 * 2 * 70 * 64 + 2 * 70 * 2 + 2 * 2 + 2 * 2 * 70 * 16) * 1e3, 1e-2
    )


def test_in_words_it_is_a_table(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "scan", "--device", "cpu"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "torch",
        "mamba1_reference",
        "torch",
    ]


def test_mamba_1s_loop_is_its_recurrence():
    u, delta, A, B, C = (
        torch.rand(shape).double() for shape in ((2, 6, 33), (2, 6, 33), (6, 4), (2, 4, 33), (2, 4, 33))
    )
    loop = contenders(CPU, (False,))[-1]
    assert loop.name == "mamba1_reference"
    found = loop.call(u, delta, -A, B, C)
    torch.testing.assert_close(found, selective_scan(u, delta, -A, B, C, backend="reference"))


@pytest.fixture
def mamba_ssm(monkeypatch):
    """mamba-ssm's two scans as its documentation has them, computed by ours."""

    def chunk_scan(x, dt, A, B, C, chunk_size):
        assert (dt.shape, A.shape, B.shape) == (x.shape[:3], x.shape[2:3], (*x.shape[:2], 1, 16))
        assert all(tensor.is_contiguous() for tensor in (x, dt, A, B, C))
        rates = A.expand(len(x), 1, -1)
        return BACK_ENDS["torch"].run(
            x.float(), dt[:, :, None], rates, B[:, :, 0].float(), C[:, :, 0].float(), (False,)
        )

    def selective(u, delta, A, B, C):
        assert u.dtype == delta.dtype == B.dtype == C.dtype
        assert all(tensor.is_contiguous() for tensor in (u, delta, A, B, C))
        return selective_scan(u, delta, A, B, C)

    for name, content in {
        "mamba_ssm": {}, "mamba_ssm.ops": {}, "mamba_ssm.ops.triton": {},
        "mamba_ssm.ops.triton.ssd_combined": {"mamba_chunk_scan_combined": chunk_scan},
        "mamba_ssm.ops.selective_scan_interface": {"selective_scan_fn": selective},
    }.items():  # fmt: skip
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(back_ends, "_why_not", lambda name, *of: "absent" if name == "triton" else None)


@pytest.mark.parametrize("name", ["mamba_ssm", "mamba1_selective"])
def test_the_published_kernels_get_the_same_scan_in_their_own_layout(name, mamba_ssm):
    plain = inputs(Shape(2, 64, 33, 32), torch.bfloat16, CPU)
    wanted = BACK_ENDS["torch"].run(*(tensor.double() for tensor in plain), (False,))
    named = {one.name: one for one in contenders(CUDA, (False,))}
    assert list(named) == ["torch", "mamba_ssm", "mamba1_selective"]
    one = named[name]
    found = one.restore(one.call(*one.prepare(plain)), plain[0])
    assert (found - wanted).norm() / wanted.norm() < 1e-2


def test_two_ways_are_run_as_networks_run_them(mamba_ssm):
    assert [one.name for one in contenders(CUDA, (False, True))] == ["torch", "mamba_ssm"]


def test_a_row_of_calls_is_longer_than_the_cache(monkeypatch):
    cache = SimpleNamespace(L2_cache_size=50 * 2**20)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: cache)
    assert times.copies(2**20, CPU) == 1
    assert times.copies(2**30, CUDA) == 4
    assert times.copies(10 * 2**20, CUDA) == 20
    assert times.copies(2**20, CUDA) == 64


def test_on_a_gpu_every_call_of_a_row_has_inputs_of_its_own(monkeypatch):
    seen = []

    def rows_of_calls(rows, device):
        for row in rows:
            seen.append({call.args[0][0].data_ptr() for call in row})
            for call in row:
                call()
        return [times.Times(1.0, 0.9, "graph"), times.Times(3.5, 3.0, "graph")]

    monkeypatch.setattr(under_test, "copies", lambda size, device: 3)
    monkeypatch.setattr(under_test, "rows_of_calls", rows_of_calls)
    monkeypatch.setattr(under_test, "cold_call", lambda call, device: 5.0)
    plain = inputs(Shape(2, 64, 33, 32, ways=2), torch.float32, CPU)
    ready = (under_test._calls(one, plain, CPU) for one in contenders(CPU, (False, True)))
    [(calls, figures)] = under_test._on_gpu(ready, CPU)
    assert calls.contender.name == "torch"
    assert list(map(len, seen)) == [3, 3]
    assert figures == {
        "launched": "graph", "ms_forward": 1.0, "ms_least": 0.9, "ms_backward": 2.5, "ms_forward_and_backward": 3.5,
        "ms_forward_eager": 5.0, "ms_forward_and_backward_eager": 5.0,
    }  # fmt: skip
