"""On a machine with a CUDA GPU: networks made ready for it, and learning as a CUDA graph."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.losses import DiceCELoss

from mambaseg.config import (
    MambaSeg2dConfig,
    SeedMambaUNetConfig,
    SeedUNetConfig,
    TrainConfig,
    Twin2dConfig,
    UNetConfig,
)
from mambaseg.learning import Learner
from mambaseg.network import build
from mambaseg.network.deploy import deploy
from mambaseg.registry import load_model
from mambaseg.training_run import start_run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU = torch.device("cuda")


def apart(one, other):
    return ((one.float() - other.float()).norm() / other.float().norm()).item()


FRESH = (UNetConfig, Twin2dConfig, SeedUNetConfig, SeedMambaUNetConfig)


@pytest.mark.parametrize("config", [None, *FRESH])
def test_a_network_made_ready_for_the_gpu_says_what_it_said(config):
    torch.manual_seed(0)
    network = (build(config()).eval() if config else load_model().network()).to(GPU)
    slices = torch.randn(3, network.config.channels * (2 * network.config.neighbours + 1), 80, 96, device=GPU)
    present = torch.tensor([[1.0, 0.0, 1.0]] * 3, device=GPU)
    with torch.inference_mode():
        wanted = network(slices, present)[0]
        for assumed in (None, present[0]):
            ready = deploy(network, GPU, assumed)
            found = ready(slices.to(ready.dtype).contiguous(memory_format=torch.channels_last), present)[0]
            assert ready.dtype == torch.bfloat16
            assert apart(found, wanted) < 2e-2


def batches(count):
    generator = torch.Generator(GPU).manual_seed(0)
    for _ in range(count):
        slices = torch.rand(4, 9, 32, 48, generator=generator, device=GPU)
        labels = (slices[:, 1:2] > 0.7).to(torch.uint8)
        yield slices, labels, torch.ones(4, 3, device=GPU)


def learned(graphs, steps=40):
    config = MambaSeg2dConfig(widths=(8, 16, 16, 16, 16), depths=(1, 1, 1, 1, 1), state=4)
    run = start_run(config, TrainConfig(steps=steps, batch=4, learning_rate=3e-3), GPU)
    learner = Learner(run, DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True), graphs)
    losses = []
    for batch in batches(steps):
        losses.append(learner.learn(batch))
        run.step += 1
    return run, learner, torch.stack(losses).cpu()


def test_a_step_replayed_from_a_graph_is_the_step():
    ordinary, _, wanted = learned(graphs=False)
    replayed, learner, found = learned(graphs=True)
    assert learner.is_graph
    assert wanted[-1] < wanted[0]
    # The same sums in another order: steps drift apart slowly, never by much.
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0.05)
    for name in ("stem.0.weight", "encoder.2.0.mixer.log_rate"):
        one, other = (dict(run.network.named_parameters())[name] for run in (replayed, ordinary))
        assert apart(one, other) < 0.1


def test_the_average_follows_in_a_graph_too():
    ordinary, replayed = (learned(graphs, steps=12)[0] for graphs in (False, True))
    wanted, found, now = (m.state_dict() for m in (ordinary.averaged, replayed.averaged, replayed.network))
    moved = [name for name in now if now[name].is_floating_point() and not torch.equal(now[name], found[name])]
    assert len(moved) > len(now) / 2
    assert all(apart(found[name], wanted[name]) < 0.1 for name in moved if wanted[name].norm() > 0.1)


def test_the_rate_that_a_graph_sees_is_the_schedules():
    run, _, _ = learned(graphs=True, steps=12)
    assert all(isinstance(group["lr"], torch.Tensor) for group in run.optimiser.param_groups)
    run.step = 6
    run.set_rate()
    assert run.optimiser.param_groups[0]["lr"].item() == pytest.approx(run.rate)


def test_a_step_that_cannot_be_recorded_is_an_ordinary_step(monkeypatch, caplog):
    def refuse(*arguments, **options):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    _, learner, losses = learned(graphs=True, steps=8)
    assert not learner.is_graph
    assert torch.isfinite(losses).all()
    assert [record.message for record in caplog.records if "without CUDA graphs" in record.message] == [
        "training goes on without CUDA graphs: operation not permitted when stream is capturing"
    ]


def test_a_state_saved_on_the_gpu_is_restored(tmp_path):
    from mambaseg.training_run import resume_run, save_run

    run, _, _ = learned(graphs=True, steps=8)
    save_run(run, tmp_path)
    again = start_run(run.network.config, run.config, GPU)
    resume_run(again, tmp_path)
    assert again.step == run.step
    before = copy.deepcopy(run.network.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in again.network.state_dict().items())
    Learner(again, DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)).learn(
        next(batches(1))
    )
