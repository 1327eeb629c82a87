"""`mambaseg benchmark`: what it says where it cannot run, and what it prints of what the window's program found."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from mambaseg import benchmark
from mambaseg.cli import main

FOUND = {"open_s": 0.5, "targets": {"tick_ms_max": {"below": 100, "is": 42.0, "met": True}}}


@pytest.fixture
def program(monkeypatch):
    """The window's program, without a window; what it was called with."""
    calls = []

    def run(words, **options):
        calls.append(words)
        return SimpleNamespace(stdout=json.dumps(FOUND), stderr="", returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(benchmark, "find_spec", lambda name: object())
    monkeypatch.setenv("DISPLAY", ":0")
    return calls


def ends(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return stop.value.code, capsys.readouterr()


def complaint(arguments, capsys):
    code, printed = ends(arguments, capsys)
    assert code == 2
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_an_unknown_benchmark_is_named_with_those_that_there_are(program, capsys):
    said = complaint(["benchmark", "speed"], capsys)
    assert said == "mambaseg: there is no benchmark 'speed'; choose from case, growth, paint, scan\n"
    assert not program


def test_without_a_name_it_says_that_one_is_missing(program, capsys):
    assert "NAME" in complaint(["benchmark"], capsys).upper()


def test_without_a_screen_and_without_a_virtual_one_it_says_what_to_do(program, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no screen" in complaint(["benchmark", "paint"], capsys)
    assert not program


def test_without_a_screen_it_runs_in_a_virtual_one(program, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    (tmp_path / "xvfb-run").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ends(["benchmark", "paint", "--json"], capsys)[0] == 0
    assert program[0][:4] == ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24"]


def test_without_napari_it_says_how_to_get_it(program, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    assert "pip install" in complaint(["benchmark", "paint"], capsys)
    assert not program


def test_a_folder_without_volumes_is_refused(program, tmp_path, capsys):
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "notes.txt", tmp_path / "missing"):
        assert "--data" in complaint(["benchmark", "paint", "--data", folder], capsys)
    assert not program


def test_what_was_found_is_printed_as_json_with_the_command_but_no_path(program, tmp_path, capsys):
    (tmp_path / "flair.nii.gz").touch()
    code, printed = ends(["benchmark", "paint", "--json", "--data", tmp_path], capsys)
    assert code == 0
    assert json.loads(printed.out) == {
        "benchmark": "paint", "command": "mambaseg benchmark paint --json --data FOLDER", **FOUND
    }  # fmt: skip
    assert program[0][-2:] == ["--data", str(tmp_path)]


def test_in_words_the_targets_come_first(program, capsys):
    _, printed = ends(["benchmark", "paint"], capsys)
    assert printed.out.splitlines()[0] == "tick_ms_max: 42.0 ms, below 100 ms"
    assert "open_s: 0.5" in printed.out


def test_a_program_that_fails_is_one_sentence(program, monkeypatch, capsys):
    failed = SimpleNamespace(stdout="", stderr="Traceback …\nRuntimeError: the mouse did not paint\n", returncode=1)
    monkeypatch.setattr(subprocess, "run", lambda words, **options: failed)
    assert "the mouse did not paint" in complaint(["benchmark", "paint"], capsys)
