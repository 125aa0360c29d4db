"""Faster fits on a CPU: the same numbers, in other precision or memory."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from training.model.cpu_speed import computed_precision, depthwise_in_float32, keep_freed_memory
from training.model.losses import softplus


def test_softplus_is_torchs() -> None:
    logits = torch.cat([torch.linspace(-60, 60, 2001), torch.tensor([0.0, -0.0, 1e-7])]).requires_grad_()
    ours, theirs = softplus(logits), F.softplus(logits, threshold=100)
    torch.testing.assert_close(ours, theirs, atol=2e-7, rtol=2e-6)
    (gradient,) = torch.autograd.grad(ours.sum(), logits)
    away_from_zero = logits.detach().abs() > 1e-6  # at 0 itself clamp and abs have their own conventions
    torch.testing.assert_close(gradient[away_from_zero], logits.detach().sigmoid()[away_from_zero])


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.pointwise = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        between = self.depthwise(x)
        return between, self.pointwise(between)


def test_depthwise_layers_alone_leave_autocast() -> None:
    torch.manual_seed(0)
    network, pixels = _Network(), torch.randn(2, 4, 8, 8)
    expected = network(pixels)
    depthwise_in_float32(network)
    for found, wanted in zip(network(pixels), expected, strict=True):  # without autocast nothing changes
        torch.testing.assert_close(found, wanted, atol=0, rtol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        between, after = network(pixels)
        assert torch.is_autocast_enabled("cpu")
    assert (between.dtype, after.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(between, expected[0], atol=0, rtol=0)
    after.float().sum().backward()
    assert network.depthwise.weight.grad is not None


def test_a_layer_that_fails_gives_autocast_back() -> None:
    network = _Network()
    depthwise_in_float32(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(RuntimeError):
            network.depthwise(torch.randn(2, 3, 8, 8))
        assert torch.is_autocast_enabled("cpu")


def test_freed_memory_may_be_kept_more_than_once() -> None:
    keep_freed_memory()
    keep_freed_memory()
    assert torch.zeros(1 << 20).sum() == 0


def test_what_needs_no_bfloat16_is_left_alone() -> None:
    assert computed_precision("32-true") == "32-true"
