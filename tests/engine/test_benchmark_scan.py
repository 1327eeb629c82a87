"""`mambaseg benchmark scan`: its rows, on a length that takes no time."""

import json

import pytest
import torch

from mambaseg import benchmark_scan as under_test
from mambaseg.cli import main
from mambaseg.scan.reference import scan_sequential

KEYS = {"backend", "device", "dtype", "batch", "channels", "length", "state", "headdim", "ms_forward", "ms_backward",
        "floor_ms", "max_error"}  # fmt: skip


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(under_test, "CPU_SHAPES", ((2, 64, 70),))
    monkeypatch.setattr(under_test, "_REPEATS", 2)
    monkeypatch.setattr(under_test, "_copy_bandwidth", lambda device: 1e10)


def test_every_back_end_of_the_cpu_has_a_row(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["benchmark", "scan", "--device", "cpu", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert stop.value.code in (0, None)
    assert found["command"] == "mambaseg benchmark scan --device cpu --json"
    assert [row["backend"] for row in found["rows"]] == ["torch", "mamba1_reference"]
    for row in found["rows"]:
        assert set(row) >= KEYS
        assert (row["batch"], row["channels"], row["length"], row["state"], row["headdim"]) == (2, 64, 70, 16, 32)
    assert found["rows"][0]["max_error"] < 1e-4


def test_in_words_it_is_a_table(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "scan", "--device", "cpu"])
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "torch"


def test_mamba_1s_loop_is_its_recurrence():
    x, dt, A, B, C = under_test._inputs(2, 64, 33, 32, torch.float64, torch.device("cpu"))
    # With the same decay for all states of a head Mamba-1 and Mamba-2 are one.
    wanted = scan_sequential(x, dt[:, :, 0], A[:, 0], B, C)
    torch.testing.assert_close(under_test._mamba1_loop(x, dt, A, B, C), wanted)
