"""The network: size, shapes, missing channels, both scan directions."""

import pytest
import torch
from pydantic import ValidationError

from mambaseg.config import MambaSeg2dConfig
from mambaseg.network import build, parameter_count
from mambaseg.network.mambaseg_2d import ScanMixer

TINY = MambaSeg2dConfig(widths=(4, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1), head_dim=4, state=4)


def test_the_default_network_has_at_most_473953_parameters_over_every_tensor():
    network = build(MambaSeg2dConfig())
    by_hand = sum(t.numel() for t in network.state_dict().values() if t.is_floating_point())
    assert parameter_count(network) == by_hand
    assert by_hand <= 473_953


@pytest.mark.parametrize(("rows", "columns"), [(16, 32), (48, 80)])
def test_any_slice_of_whole_sixteens_gives_logits_of_its_size(rows, columns):
    network = build(TINY).eval()
    logits = network(torch.randn(2, 9, rows, columns), torch.ones(2, 3))
    assert [tuple(one.shape) for one in logits] == [(2, 1, rows, columns)]


def test_training_gives_logits_at_three_strides_for_deep_supervision():
    logits = build(TINY).train()(torch.randn(2, 9, 32, 48), torch.ones(2, 3))
    assert [tuple(one.shape[2:]) for one in logits] == [(32, 48), (16, 24), (8, 12)]


def test_every_parameter_learns():
    network = build(TINY).train()
    sum(one.square().mean() for one in network(torch.randn(2, 9, 32, 48), torch.ones(2, 3))).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_a_missing_channel_is_not_the_same_as_a_channel_of_zeros():
    torch.manual_seed(0)
    network = build(TINY).eval()
    slices = torch.randn(1, 9, 32, 48)
    slices[:, 3:] = 0
    with torch.no_grad():
        there = network(slices, torch.tensor([[1.0, 1, 1]]))[0]
        missing = network(slices, torch.tensor([[1.0, 0, 0]]))[0]
    assert not torch.allclose(there, missing)


@pytest.mark.parametrize("by_columns", [False, True])
def test_a_token_sees_those_before_and_after_it(by_columns):
    torch.manual_seed(0)
    mixer = ScanMixer(8, TINY, by_columns).eval()
    u = torch.randn(1, 8, 12, 10, requires_grad=True)
    mixer(u)[0, :, 6, 5].sum().backward()
    seen = u.grad[0].abs().sum(0)
    assert (seen[0, 0] > 0) and (seen[11, 9] > 0)


def test_the_reference_back_end_gives_the_same_logits():
    torch.manual_seed(0)
    network = build(TINY).eval()
    slices, present = torch.randn(1, 9, 32, 48), torch.ones(1, 3)
    with torch.no_grad():
        usual = network(slices, present)[0]
        network.use_back_end("reference")
        assert torch.allclose(network(slices, present)[0], usual, atol=1e-4)


def test_widths_that_do_not_hold_whole_heads_are_refused():
    with pytest.raises(ValidationError, match=r"widths \[10\]; give multiples of head_dim 4"):
        MambaSeg2dConfig(widths=(4, 8, 8, 10, 8), depths=(1, 1, 1, 1, 1), head_dim=4)
