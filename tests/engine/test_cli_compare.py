"""`mambaseg compare` on the command line: what is printed, and one line where it cannot be done."""

import json

import pytest

from mambaseg import compare as module
from mambaseg.checkpoint import save_checkpoint
from mambaseg.cli import main
from mambaseg.registry import user_models


@pytest.fixture(autouse=True)
def _a_model_and_no_processes(small_model, monkeypatch):
    save_checkpoint(small_model, user_models() / "tiny" / "1.0")
    monkeypatch.setattr(module, "peak_apart", lambda *_: {"peak_bytes": 1000, "device": "cpu"})


def ends(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return stop.value.code, capsys.readouterr()


def test_compare_prints_a_line_for_each_model_and_where_the_rest_is(data_set, tmp_path, capsys):
    out = tmp_path / "out"
    code, printed = ends(["compare", data_set, "--models", "brain-tumour, tiny", "--out", out], capsys)
    assert code == 0
    first, second, rest = printed.out.splitlines()
    assert first.startswith("brain-tumour 1.0: Dice tumour 0.")
    assert second.startswith("tiny 1.0: Dice tumour 0.") and ", p " in second
    assert rest == f"{out / 'table.md'} has the rest"


def test_compare_prints_what_compare_json_says(data_set, tmp_path, capsys):
    out = tmp_path / "out"
    _, printed = ends(["compare", data_set, "--models", "tiny", "--out", out, "--json"], capsys)
    assert json.loads(printed.out) == json.loads((out / "compare.json").read_text())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--models", "tiny,nothing"], "there is no model 'nothing'"),
        (["--models", ","], "no model was named"),
        (["--models", "tiny", "--split", "test"], "has no cases under 'test'; choose from train, val"),
        (["--models", "tiny", "--channels", "few"], "--channels is 'few'; choose from all, required"),
        ([], "--models"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(data_set, tmp_path, capsys, more, said):
    code, printed = ends(["compare", data_set, "--out", tmp_path / "out", *more], capsys)
    assert (code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert printed.err.startswith("mambaseg: ") and said in printed.err
    assert not (tmp_path / "out").exists()
