"""A network made ready to segment says the same as the one that was trained."""

import pytest
import torch
from torch import nn

from mambaseg.config import MambaSeg2dConfig, SeedMambaUNetConfig, SeedUNetConfig, Twin2dConfig, UNetConfig
from mambaseg.network import build
from mambaseg.network.deploy import deploy

TINY = MambaSeg2dConfig(widths=(4, 8, 8, 8, 8), depths=(1, 1, 1, 2, 1), head_dim=4, state=4)
SMALL = {
    "mambaseg-2d": TINY,
    "twin-2d": Twin2dConfig(widths=(4, 8, 8, 8, 8), depths=(1, 1, 1, 2, 1)),
    "unet": UNetConfig(widths=(4, 8, 8)),
    "seed-unet": SeedUNetConfig(widths=(4, 8, 8)),
    "seed-mambaunet": SeedMambaUNetConfig(side=48, width=16, depth=2, state=4),
}
LEFT = {"mambaseg-2d": 3, "twin-2d": 3, "unet": 0, "seed-unet": 10, "seed-mambaunet": 0}
"""Norms before a padded convolution have to stay: those of 7x7 blocks, and all of a U-Net's that follow the ReLU."""
CPU = torch.device("cpu")


def trained(config):
    """A network whose norms have statistics and weights of their own."""
    torch.manual_seed(0)
    network = build(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network.eval()


def inputs(config, slices=2):
    generator = torch.Generator().manual_seed(1)
    seen = config.channels * (2 * config.neighbours + 1)
    return torch.rand(slices, seen, 32, 48, generator=generator), torch.tensor([[1.0, 0.0, 1.0]] * slices)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("assumed", [True, False])
def test_a_deployed_network_gives_the_same_logits_without_its_norms(name, assumed):
    network, (slices, present) = trained(SMALL[name]), inputs(SMALL[name])
    ready = deploy(network, CPU, present[0] if assumed else None)
    with torch.no_grad():
        torch.testing.assert_close(ready(slices, present)[0], network(slices, present)[0], atol=1e-4, rtol=1e-4)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in ready.modules()) == LEFT[name]


def test_deploying_leaves_the_network_as_it_was():
    network, (_, present) = trained(TINY), inputs(TINY)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ready = deploy(network, CPU, present[0])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in ready.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_what_is_assumed_of_channels_is_no_longer_asked():
    network, (slices, present) = trained(TINY), inputs(TINY)
    ready = deploy(network, CPU, present[0])
    with torch.no_grad():
        assert torch.equal(ready(slices, present)[0], ready(slices, 1 - present)[0])
        assert not torch.allclose(network(slices, present)[0], network(slices, 1 - present)[0])


def test_channels_are_assumed_once_and_after_folding():
    with pytest.raises(TypeError, match="norms must be folded first, and channels can be assumed once"):
        trained(TINY).assume(torch.ones(3))


def test_enlarging_and_adding_is_nearest_neighbour():
    from mambaseg.network.mambaseg_2d import _add_enlarged

    fine, coarse = torch.rand(2, 3, 8, 10), torch.rand(2, 3, 4, 5)
    wanted = fine + nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    assert torch.equal(_add_enlarged(fine, coarse), wanted)


def test_a_scan_by_columns_is_a_scan_by_rows_of_the_turned_slice():
    torch.manual_seed(0)
    network = build(TINY)
    block = network.encoder[2][1].mixer
    assert block.by_columns
    u = torch.rand(2, 8, 5, 6)
    with torch.no_grad():
        turned = block(u)
        block.by_columns = False
        wanted = block(u.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(turned, wanted)
