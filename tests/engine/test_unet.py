"""The U-Net that others are compared with: its size, shapes, what it ignores, training it by name."""

import json

import pytest
import torch

from mambaseg.card import Card
from mambaseg.cli import main
from mambaseg.config import NETWORKS, MambaSeg2dConfig, PrepareConfig, UNetConfig
from mambaseg.network import SegmentationNetwork, build, parameter_count

TINY = UNetConfig(widths=(4, 8, 8, 8, 8))


def test_the_classic_unet_has_7_763_041_learnable_parameters():
    network = build(UNetConfig())
    assert sum(p.numel() for p in network.parameters()) == 7_763_041
    assert parameter_count(network) > 7_763_041  # the running statistics of its norms count too


@pytest.mark.parametrize(("rows", "columns"), [(16, 32), (48, 80)])
def test_any_slice_of_whole_sixteens_gives_logits_of_its_size_while_training_too(rows, columns):
    network = build(TINY)
    assert network.multiple == 16
    for mode in (network.eval(), network.train()):
        logits = mode(torch.randn(2, 3, rows, columns), torch.ones(2, 3))
        assert [tuple(one.shape) for one in logits] == [(2, 1, rows, columns)]


def test_every_parameter_learns():
    network = build(TINY).train()
    network(torch.randn(2, 3, 32, 48), torch.ones(2, 3))[0].square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_missing_channel_is_the_same_as_a_channel_of_zeros():
    network = build(TINY).eval()
    slices = torch.randn(1, 3, 32, 48)
    slices[:, 1:] = 0
    with torch.no_grad():
        there, missing = (network(slices, torch.tensor([present]))[0] for present in ([1.0, 1, 1], [1.0, 0, 0]))
    assert torch.equal(there, missing)


def test_the_fine_skips_keep_a_single_bright_pixel_where_it_is():
    torch.manual_seed(0)
    network = build(TINY).eval()
    slices = torch.zeros(2, 3, 64, 64)
    slices[1, 0, 37, 21] = 100.0
    with torch.no_grad():
        dark, bright = network(slices, torch.ones(2, 3))[0][:, 0]
    peak = (bright - dark).abs().argmax().item()
    assert abs(peak // 64 - 37) <= 4 and abs(peak % 64 - 21) <= 4


def test_every_network_has_a_name_that_its_settings_and_a_card_remember():
    for name, settings in NETWORKS.items():
        card = Card(
            name="any", version="1.0", network=settings(), prepare=PrepareConfig(), channels=(), labels=(), parameters=0
        )
        again = Card.model_validate_json(card.model_dump_json())
        assert again.network == settings()
        assert again.network.name == name
        assert isinstance(build(again.network), SegmentationNetwork)
    assert not isinstance(build(UNetConfig()), type(build(MambaSeg2dConfig())))


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    printed = capsys.readouterr()
    return stop.value.code, printed


def test_a_unet_is_trained_by_its_name_and_segments(data_set, nifti, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(NETWORKS, "unet", lambda: TINY)
    out = tmp_path / "run"
    code, printed = run(
        ["train", data_set, "--network", "unet", "--out", out, "--steps", 2, "--batch", 2, "--json"], capsys
    )
    assert (code, json.loads(printed.out)["network"]["name"]) == (0, "unet")
    code, printed = run(["segment", nifti(), "-o", tmp_path / "mask.nii.gz", "--model", out, "--json"], capsys)
    assert (code, json.loads(printed.out)["model"]) == (0, "model")


def test_an_unknown_network_is_refused_with_those_that_there_are(data_set, tmp_path, capsys):
    code, printed = run(["train", data_set, "--network", "vnet", "--out", tmp_path / "run"], capsys)
    assert code == 2
    assert printed.err == f"mambaseg: there is no network 'vnet'; choose from {', '.join(NETWORKS)}\n"
