"""Which back end of the scan is taken: what is missing is said, what fails its trial is never used."""

import pytest
import torch

from mambaseg.errors import DeviceError
from mambaseg.scan import BACK_ENDS, back_ends, choose_back_end, explain_back_ends
from mambaseg.scan.back_ends import BackEnd

BOTH = frozenset({torch.float32})


@pytest.fixture(autouse=True)
def nothing_tried_before():
    caches = (back_ends._trial, back_ends._warn_once)
    for one in caches:
        one.cache_clear()
    yield
    for one in caches:
        one.cache_clear()


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of today with triton installed, as far as asking tells."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(back_ends.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(back_ends, "_disagreement", lambda *of: 1e-7)


def test_an_unknown_back_end_is_refused_with_those_that_exist():
    known = "auto, reference, torch, triton, mamba_ssm"
    with pytest.raises(DeviceError, match=f"no scan back end 'magic'; choose from {known}"):
        choose_back_end("magic")


def test_the_environment_variable_forces_a_back_end(monkeypatch):
    monkeypatch.setenv("MAMBASEG_BACKEND", "reference")
    assert choose_back_end() == "reference"
    assert choose_back_end("torch") == "torch"
    monkeypatch.setenv("MAMBASEG_BACKEND", "magic")
    with pytest.raises(DeviceError, match="no scan back end 'magic'"):
        choose_back_end()


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


def test_a_gpu_takes_triton_without_a_word(gpu, caplog):
    assert choose_back_end("auto", "cuda") == "triton"
    assert caplog.records == []


def old(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    return "the GPU is of compute capability 6.1; 7.5 or newer is needed"


def without_triton(monkeypatch):
    monkeypatch.setattr(back_ends.importlib.util, "find_spec", lambda name: None)
    return "the package triton is not installed"


def fails(fault):
    def trial(monkeypatch):
        def broken(*of):
            raise fault

        monkeypatch.setattr(back_ends, "_disagreement", broken)
        return f"its trial failed ({type(fault).__name__}: {str(fault).splitlines()[0]})"

    return trial


def wrong(monkeypatch):
    monkeypatch.setattr(back_ends, "_disagreement", lambda *of: 0.25)
    return "its trial is off by 2.5e-01"


def not_a_number(monkeypatch):
    monkeypatch.setattr(back_ends, "_disagreement", lambda *of: float("nan"))
    return "its trial is off by nan"


UNFIT = {
    "an old GPU": old,
    "no triton": without_triton,
    "no C compiler": fails(RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")),
    "a driver that fails": fails(OSError("libcuda.so.1: cannot open shared object file\nmore of it")),
    "a kernel that fails": fails(RuntimeError("CUDA error: no kernel image is available for execution")),
    "wrong values": wrong,
    "NaN": not_a_number,
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
def test_a_gpu_that_does_not_fit_falls_back_with_one_warning(unfit, gpu, monkeypatch, caplog):
    reason = unfit(monkeypatch)
    for _ in range(3):
        assert choose_back_end("auto", "cuda") == "torch"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].endswith(f"triton is not used, as {reason}")
    assert explain_back_ends("cuda")["triton"] == reason
    with pytest.raises(DeviceError) as refused:
        choose_back_end("triton", "cuda")
    assert str(refused.value) == f"the scan back end triton cannot be used here: {reason}; use auto or torch"


def test_a_trial_without_memory_is_tried_again_later(gpu, monkeypatch, caplog):
    def full(*of):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as now:
        now.setattr(back_ends, "_disagreement", full)
        assert choose_back_end("auto", "cuda") == "torch"
        assert "no memory left on cuda for its trial" in caplog.text
    assert choose_back_end("auto", "cuda") == "triton"


def test_gradients_are_tried_only_for_who_wants_them(gpu, monkeypatch, caplog):
    tried = []

    def no_gradients(name, device, dtype, gradients):
        tried.append(gradients)
        return 0.5 if gradients else 1e-7

    monkeypatch.setattr(back_ends, "_disagreement", no_gradients)
    assert choose_back_end("auto", "cuda") == "triton"
    assert tried and not any(tried)
    assert choose_back_end("auto", "cuda", gradients=True) == "torch"
    assert "triton is not used, as its trial is off by 5.0e-01" in caplog.text
    assert choose_back_end("auto", "cuda") == "triton"
    with pytest.raises(DeviceError, match="triton cannot be used here: its trial is off by"):
        choose_back_end("triton", "cuda", gradients=True)


def test_a_gpu_that_knows_bfloat16_is_tried_in_it_too(gpu, monkeypatch):
    tried = []
    monkeypatch.setattr(back_ends, "_disagreement", lambda name, device, dtype, gradients: tried.append(dtype) or 1e-2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert choose_back_end("auto", "cuda") == "torch"  # 1e-2 is too much for float32 …
    assert tried == [torch.float32]
    back_ends._trial.cache_clear()
    errors = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
    monkeypatch.setattr(back_ends, "_disagreement", lambda name, device, dtype, gradients: errors[dtype])
    assert choose_back_end("auto", "cuda") == "triton"  # … but not for bfloat16.


def test_the_trial_compares_values_and_gradients_with_the_torch_form(monkeypatch):
    def off(*inputs):
        return BACK_ENDS["torch"].run(*inputs) * 1.01

    def broken(*inputs):
        raise OSError("cannot find gcc")

    def same(*inputs):
        return BACK_ENDS["reference"].run(*inputs)

    nothing = BACK_ENDS["torch"].missing
    for name, run in {"triton": off, "mamba_ssm": broken, "other": same}.items():
        monkeypatch.setitem(BACK_ENDS, name, BackEnd(run, BOTH, nothing))
    assert back_ends._why_not("other", torch.device("cpu"), gradients=True) is None
    found = explain_back_ends()
    assert found.pop("triton").startswith("its trial is off by ")
    assert found == {
        "reference": "works",
        "torch": "works",
        "mamba_ssm": "its trial failed (OSError: cannot find gcc)",
        "other": "works",
    }
