"""`mambaseg benchmark case` and `growth`: rows from fresh processes, on heads that take no time."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from mambaseg import benchmark, benchmark_row, benchmark_volume
from mambaseg import benchmark_growth as growth
from mambaseg.benchmark_case import benchmark_case, table
from mambaseg.cli import main
from mambaseg.errors import MambaSegError
from mambaseg.jobs import Job

SMALL = (40, 36, 16)
KEYS = {"model", "device", "backend", "voxels", "seconds", "network_seconds", "peak_bytes", "parameters",
        "numbers_in_all_tensors", "runs", "threads", "warnings"}  # fmt: skip


@pytest.fixture
def processes(monkeypatch):
    """The processes that were started; they run."""
    started, real = [], subprocess.run

    def run(words, **options):
        started.append(words)
        return real(words, **options)

    monkeypatch.setattr(subprocess, "run", run)
    return started


@pytest.fixture
def no_process(monkeypatch):
    """A row as a process would print it."""
    row = {"model": "unet", "device": "cpu", "backend": None, "seconds": 2.0, "network_seconds": 1.0, "peak_bytes": 1,
           "parameters": 7}  # fmt: skip

    def measure(model, device, file):
        with np.load(file) as kept:
            return {**row, "model": model, "voxels": kept["data"].size, "dtype": str(kept["data"].dtype)}

    monkeypatch.setattr("mambaseg.benchmark_case.measure_apart", measure)
    monkeypatch.setattr("mambaseg.benchmark_growth.measure_apart", measure)


def refusal(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    return printed.err


def test_both_networks_are_measured_each_in_a_fresh_process(processes):
    found = Job(lambda: benchmark_case("cpu", shape=SMALL)).run()
    json.dumps(found)
    measured = [words for words in processes if "mambaseg.benchmark_row" in words]
    assert [words[:4] for words in measured] == [
        [sys.executable, "-m", "mambaseg.benchmark_row", model] for model in ("brain-tumour", "unet")
    ]
    assert {"machine", "versions", "date", "command", "commit", "protocol", "volume"} <= set(found)
    assert {"cpu", "cores", "threads", "gpu"} == set(found["machine"])
    assert (found["volume"]["shape"], found["volume"]["spacing_mm"]) == ([40, 36, 16], [1, 1, 1])
    ours, unet = found["rows"]
    for row in (ours, unet):
        assert set(row) >= KEYS
        assert (row["device"], row["voxels"]) == ("cpu", 40 * 36 * 16)
        assert 0 < row["network_seconds"] <= row["seconds"]
        assert 50e6 < row["peak_bytes"] < 5e9
    assert (ours["model"], ours["backend"], ours["numbers_in_all_tensors"]) == ("brain-tumour", "torch", 452_289)
    assert ours["parameters"] < 452_289
    assert (unet["model"], unet["backend"], unet["parameters"]) == ("unet", None, 7_763_041)
    assert unet["numbers_in_all_tensors"] > 7_763_041
    assert [line.split()[0] for line in table(found).splitlines()[2:]] == ["brain-tumour", "unet"]


def test_a_process_that_fails_is_one_sentence(tmp_path):
    with pytest.raises(MambaSegError, match=r"measuring unet on cpu ended with code 1: FileNotFoundError"):
        benchmark_row.measure_apart("unet", "cpu", tmp_path / "missing.npz")


def test_the_peak_of_a_process_is_its_own_and_in_bytes():
    much = np.ones(200 * 2**20, np.uint8)  # what starts a process is larger than it
    code = "from mambaseg.benchmark_row import peak_resident_bytes as peak; print(peak())"
    peak = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert benchmark_row.peak_resident_bytes() >= much.nbytes
    if sys.platform == "linux":
        assert 5e6 < int(peak) < much.nbytes


@pytest.mark.parametrize(
    "name",
    ["brats2015/case1/flair.nii.gz", "brats2015/imagesTr/case1_0000.nii.gz", "imagesTr/a_0000.nii.gz", "flair.nii"],
)
def test_real_data_is_found_in_a_folder_of_sets_in_a_set_and_in_a_case(tmp_path, no_process, name, capsys):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((9, 8, 7), np.int16), np.diag([1.0, 1, 2, 1])), file)
    with pytest.raises(SystemExit) as stop:
        main(["benchmark", "case", "--device", "cpu", "--data", str(tmp_path), "--json"])
    printed = capsys.readouterr().out
    found = json.loads(printed)
    assert stop.value.code == 0
    assert found["volume"]["source"] == name
    assert (found["volume"]["shape"], found["volume"]["spacing_mm"]) == ([9, 8, 7], [1, 1, 2])
    assert found["command"] == "mambaseg benchmark case --device cpu --data DIR --json"
    assert str(tmp_path) not in printed


def test_without_real_data_the_head_is_synthetic_and_the_result_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark_volume, "DATA", tmp_path)
    monkeypatch.setattr(benchmark_volume, "SHAPE", SMALL)
    volume, facts = benchmark_volume.case_volume()
    assert volume.channels == ("flair",)
    assert volume.shape == SMALL
    assert facts["source"].startswith("synthetic head, seed 0")


def test_a_folder_without_a_flair_volume_is_refused(tmp_path, no_process, capsys):
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "notes.txt", tmp_path / "missing"):
        said = refusal(["benchmark", "case", "--device", "cpu", "--data", folder], capsys)
        assert "has no FLAIR volume; give --data a folder with brats2015" in said


def test_growth_is_measured_at_one_two_four_and_eight_times_the_slices(no_process):
    found = Job(lambda: growth.benchmark_growth("cpu", shape=SMALL)).run()
    assert [row["times"] for row in found["rows"]] == [1, 2, 4, 8]
    assert [row["voxels"] for row in found["rows"]] == [40 * 36 * 16 * times for times in (1, 2, 4, 8)]
    assert len(growth.table(found).splitlines()) == 5


def test_a_large_volume_of_int16_is_measured_on_demand(no_process, monkeypatch, capsys):
    monkeypatch.setattr(growth, "SHAPE", SMALL)
    monkeypatch.setattr(growth, "LARGE", (48, 44, 50))
    found = Job(lambda: growth.benchmark_growth("cpu", large=True, shape=SMALL)).run()
    assert (found["rows"][-1]["voxels"], found["rows"][-1]["dtype"]) == (48 * 44 * 50, "int16")
    assert found["command"] == "mambaseg benchmark growth --device cpu --large --json"


def test_without_the_command_lines_packages_it_runs_as_a_module(no_process, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark_volume, "DATA", tmp_path)
    monkeypatch.setattr(benchmark_volume, "SHAPE", SMALL)
    benchmark.main(["case", "--device", "cpu"])
    found = json.loads(capsys.readouterr().out)
    assert found["benchmark"] == "case"
    assert [row["model"] for row in found["rows"]] == ["brain-tumour", "unet"]


def test_a_tiled_head_goes_on_with_its_mirror_image(volume):
    tiled = benchmark_volume.tiled_volume(volume, 15).data[0]
    head = volume.data[0]
    assert np.array_equal(tiled[..., :6], head)
    assert np.array_equal(tiled[..., 6:12], head[..., ::-1])
    assert np.array_equal(tiled[..., 12:], head[..., :3])
