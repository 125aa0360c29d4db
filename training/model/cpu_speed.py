"""Speeds up a fit on a CPU without changing its result."""

import ctypes
import sys
from typing import Any

import torch
from torch import nn

from training.config import Precision

# glibc's mallopt parameters, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEPT_BYTES = 2**31 - 1  # mallopt takes an int


def computed_precision(wanted: Precision) -> Precision:
    """The precision to compute in: `wanted`, or float32 instead of bfloat16 on a CPU that only emulates it.

    Emulation, on CPUs without AVX-512, takes ten times as long.
    """
    emulated = not torch.cuda.is_available() and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if wanted != "bf16-mixed" or not emulated:
        return wanted
    print("this CPU does not compute in bfloat16: fitting in float32 (32-true)", flush=True)
    return "32-true"


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step instead of returning it to the kernel.

    The tensors of a step are tens of megabytes each. By default, each is mapped, zeroed page by page, and
    unmapped again. Does nothing with another C library.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_TOP_PAD, 500_000_000)


def depthwise_in_float32(network: nn.Module) -> None:
    """Compute depthwise convolutions in float32 under bfloat16 autocast on a CPU.

    In oneDNN, the gradients take about three times as long in bfloat16 as in float32 (measured on AVX-512
    without AMX). On a GPU, or without autocast, nothing changes.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.register_forward_pre_hook(_leave_autocast)
            module.register_forward_hook(_return_to_autocast, always_call=True)


def _leave_autocast(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
    if not torch.is_autocast_enabled("cpu") or inputs[0].is_cuda:
        return None
    torch.set_autocast_enabled("cpu", False)
    module._left_autocast = True  # type: ignore[assignment]
    return tuple(each.float() for each in inputs)


def _return_to_autocast(module: nn.Module, _: Any, __: Any) -> None:
    if getattr(module, "_left_autocast", False):
        module._left_autocast = False  # type: ignore[assignment]
        torch.set_autocast_enabled("cpu", True)
