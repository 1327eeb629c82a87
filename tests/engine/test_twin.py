"""The twin of mambaseg-2d: the same network but for the scan, of almost the same size."""

import json

import pytest
import torch
from pydantic import ValidationError

from mambaseg.cli import main
from mambaseg.config import NETWORKS, MambaSeg2dConfig, Twin2dConfig
from mambaseg.network import build, parameter_count
from mambaseg.network.mambaseg_2d import ScanMixer
from mambaseg.network.twin_2d import ConvolutionMixer

TINY = Twin2dConfig(widths=(4, 8, 8, 8, 8), depths=(1, 1, 1, 2, 1))


def test_it_is_as_large_as_mambaseg_2d_within_five_percent():
    sizes = [parameter_count(build(config)) for config in (MambaSeg2dConfig(), Twin2dConfig())]
    assert abs(sizes[1] - sizes[0]) < 0.05 * sizes[0]


def test_but_for_its_mixers_it_has_the_same_tensors():
    def outside(network):
        mixers = [name for name, m in network.named_modules() if isinstance(m, (ScanMixer, ConvolutionMixer))]
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        return mixers, {name: s for name, s in shapes.items() if not name.startswith(tuple(f"{m}." for m in mixers))}

    scanning, twin = outside(build(MambaSeg2dConfig())), outside(build(Twin2dConfig()))
    assert scanning == twin
    assert len(twin[0]) == 4


def test_it_gives_logits_at_three_strides_while_training_and_every_parameter_learns():
    network = build(TINY).train()
    logits = network(torch.randn(2, 9, 32, 48), torch.ones(2, 3))
    assert [tuple(one.shape[2:]) for one in logits] == [(32, 48), (16, 24), (8, 12)]
    sum(one.square().mean() for one in logits).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_pixel_sees_no_farther_than_its_mixers_convolutions():
    torch.manual_seed(0)
    u = torch.randn(1, 8, 20, 19, requires_grad=True)
    ConvolutionMixer(8, 7)(u)[0, :, 10, 9].sum().backward()
    rows, columns = u.grad[0].abs().sum(0).nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 14, 5, 13)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValidationError, match="kernel 6 has no middle; give an odd one, such as 7"):
        Twin2dConfig(kernel=6)


def test_it_is_trained_by_its_name_and_segments(data_set, nifti, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(NETWORKS, "twin-2d", lambda: TINY)
    out = tmp_path / "run"
    for arguments in (
        ["train", data_set, "--network", "twin-2d", "--out", out, "--steps", 2, "--batch", 2, "--json"],
        ["segment", nifti(), "-o", tmp_path / "mask.nii.gz", "--model", out, "--json"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([str(each) for each in arguments])
        printed = capsys.readouterr()
        assert stop.value.code == 0, printed.err
    assert json.loads((out / "model.json").read_text())["network"]["name"] == "twin-2d"
    assert json.loads(printed.out)["model"] == "model"
