"""The networks that this project's seed compared: their sizes, what they see and refuse, training, segmenting."""

import json

import pytest
import torch
from torch import nn

from mambaseg.cli import main
from mambaseg.config import NETWORKS, SeedMambaUNetConfig, SeedUNetConfig, TrainConfig
from mambaseg.errors import VolumeError
from mambaseg.jobs import Job, JobCancelled
from mambaseg.network import build, parameter_count
from mambaseg.network.deploy import _to_bfloat16, deploy
from mambaseg.network.seed_mambaunet import MambaMixer
from mambaseg.train import train

TINY = SeedMambaUNetConfig(side=48, width=16, depth=2, state=4)
TINY_UNET = SeedUNetConfig(widths=(4, 8, 8))


def learnable(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_seeds_mamba_network_has_3_166_049_learnable_parameters():
    network = build(SeedMambaUNetConfig())
    assert learnable(network) == 3_166_049
    assert learnable(network.blocks[0].body[1]) == 437_760
    assert parameter_count(network) > 3_166_049  # the running statistics of its norms count too


def test_the_seeds_unet_has_7_702_977_learnable_parameters():
    network = build(SeedUNetConfig())
    assert learnable(network) == 7_702_977
    assert network.multiple == 8


@pytest.mark.parametrize("config", [TINY, TINY_UNET], ids=["seed-mambaunet", "seed-unet"])
def test_slices_give_logits_of_their_size_while_training_too_and_every_parameter_learns(config):
    torch.manual_seed(0)
    network = build(config)
    for mode in (network.eval(), network.train()):
        logits = mode(torch.randn(2, 3, 32, 48), torch.ones(2, 3))
        assert [tuple(one.shape) for one in logits] == [(2, 1, 32, 48)]
    logits[0].square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_norm_of_the_seeds_unet_stands_behind_the_relu_of_a_convolution_with_bias():
    kinds = [type(module) for module in build(TINY_UNET).contract[0]]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d] * 2
    assert build(TINY_UNET).contract[0][0].bias is not None


def test_smaller_slices_are_laid_in_the_middle_where_the_positions_of_heads_are():
    torch.manual_seed(0)
    network, small, present = build(TINY).eval(), torch.rand(2, 3, 16, 32), torch.ones(2, 3)
    middle = torch.zeros(2, 3, 48, 48)
    middle[:, :, 16:32, 8:40] = small
    with torch.no_grad():
        found, whole = network(small, present)[0], network(middle, present)[0]
    assert found.shape == (2, 1, 16, 32)
    assert torch.equal(found, whole[:, :, 16:32, 8:40])


@pytest.mark.parametrize(("rows", "columns"), [(272, 256), (256, 512)])
def test_larger_slices_are_refused(rows, columns):
    network = build(SeedMambaUNetConfig(width=16, depth=1))
    with pytest.raises(VolumeError, match=rf"of up to 256 x 256 pixels, and these have {rows} x {columns}; resample"):
        network(torch.zeros(1, 3, rows, columns), torch.ones(1, 3))


def test_a_token_sees_itself_and_those_before_it_and_none_behind_it():
    torch.manual_seed(0)
    mixer = MambaMixer(16, 4)
    tokens = torch.randn(1, 12, 16, requires_grad=True)
    mixer(tokens)[0, 7].sum().backward()
    seen = tokens.grad[0].abs().sum(1)
    assert (seen[:8] > 0).all() and not seen[8:].any()


def test_time_steps_and_decay_rates_start_as_in_mamba():
    mixer = MambaMixer(32, 16)
    steps = nn.functional.softplus(mixer.step.bias)
    assert 0.99e-3 < steps.min() < 0.01 < steps.max() < 0.101
    torch.testing.assert_close(torch.exp(mixer.log_rate[5]), torch.arange(1.0, 17))


def test_the_scans_back_end_is_chosen_by_name_and_one_without_a_selective_scan_means_auto():
    network, slices, present = build(TINY).eval(), torch.randn(2, 3, 48, 48), torch.ones(2, 3)
    found = {}
    with torch.no_grad():
        for name in ("auto", "torch", "reference", "triton"):
            network.use_back_end(name)
            found[name] = network(slices, present)[0]
    assert network.blocks[1].body[1].backend == "auto"
    torch.testing.assert_close(found["torch"], found["reference"], atol=1e-4, rtol=1e-4)
    assert torch.equal(found["triton"], found["auto"])


def test_weights_of_linear_layers_decay_and_positions_and_rates_do_not():
    network = build(TINY)
    decaying = {id(parameter) for parameter in network.decaying()}
    mixer = network.blocks[0].body[1]
    assert {id(mixer.enter.weight), id(mixer.local.weight), id(network.head.weight)} <= decaying
    assert not decaying & {id(mixer.log_rate), id(mixer.direct), id(mixer.step.bias), id(network.position.weight)}


def test_a_deployed_mamba_network_may_compute_in_bfloat16():
    torch.manual_seed(0)
    network, slices, present = build(TINY).eval(), torch.rand(2, 3, 48, 48), torch.ones(2, 3)
    ready = deploy(network, torch.device("cpu"), present[0])
    _to_bfloat16(ready)
    assert ready.dtype == torch.bfloat16
    with torch.no_grad():
        rough, exact = ready(slices.bfloat16(), present)[0].float(), network(slices, present)[0]
    assert (rough - exact).norm() < 0.05 * exact.norm()


def test_a_run_with_dropout_that_was_interrupted_and_resumed_is_the_same_run(data_set, tmp_path):
    config = TrainConfig(steps=6, batch=2, checkpoint_every=2, validate_every=6)

    def run(out, stop_after=None, resume=False):
        job = Job(lambda: train(data_set, out, TINY, config, device="cpu", resume=resume))
        if stop_after is not None:
            job.events.progressed.connect(lambda event: job.cancel() if event.step == stop_after else None)
        return job.run()

    straight = run(tmp_path / "straight")
    with pytest.raises(JobCancelled):
        run(tmp_path / "broken", stop_after=5)
    torch.rand(7)  # Others draw from torch's generator too.
    assert run(tmp_path / "broken", resume=True).card.sha256 == straight.card.sha256


@pytest.mark.parametrize(("name", "tiny"), [("seed-mambaunet", TINY), ("seed-unet", TINY_UNET)])
def test_they_are_trained_by_name_and_segment(data_set, nifti, tmp_path, capsys, monkeypatch, name, tiny):
    monkeypatch.setitem(NETWORKS, name, lambda: tiny)
    out = tmp_path / "run"
    for arguments in (
        ["train", data_set, "--network", name, "--out", out, "--steps", 2, "--batch", 2, "--json"],
        ["segment", nifti(), "-o", tmp_path / "mask.nii.gz", "--model", out, "--json"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([str(each) for each in arguments])
        printed = capsys.readouterr()
        assert stop.value.code == 0, printed.err
        report = json.loads(printed.out)
        assert report.get("network", {"name": name})["name"] == name
    assert report["model"] == "model"
