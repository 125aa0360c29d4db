"""The exported graph in half precision, and in 8-bit integers except for the layers that lose too much."""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from training.bundle.artifacts.layout import for_integer_kernels

# Operators with weights. Those after the last of them cost almost nothing and stay in float.
WEIGHED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
OUTSIDE = ""  # the layer of the nodes before the first weight


def write_fp16(source: Path, path: Path) -> None:
    """Write a graph with weights and layers in float16; its inputs and outputs keep their types."""
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)


class Quantiser:
    """Writes a graph in 8-bit integers, with ranges measured once on quantisation samples.

    Quantisation is static and per channel, as QuantizeLinear and DequantizeLinear pairs. Weights use 7 of 8
    bits: a processor without VNNI adds two products in 16 bits, which would overflow with 8.
    """

    def __init__(self, source: Path, samples: Sequence[NDArray[np.uint8]], directory: Path) -> None:
        """Prepare a graph; samples are tiles uint8 [h, w, C]; intermediate files replace `directory`."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self._prepared, self._ranges = directory / "prepared.onnx", directory / "ranges.json"
        laid_out = directory / "laid-out.onnx"
        model = onnx.load(source)
        for_integer_kernels(model)
        onnx.save(model, laid_out)
        # The exporter has already folded and fused; another pass would rename the layers.
        quant_pre_process(laid_out, self._prepared, skip_optimization=True, skip_symbolic_shape=True)
        self._samples = samples
        self._layer_of = layers_of(onnx.load(self._prepared))

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that can be quantised, from input to outputs."""
        return tuple(dict.fromkeys(each for each in self._layer_of.values() if each != OUTSIDE))

    def write(self, path: Path, floating: Collection[str] = ()) -> None:
        """Write the graph with all layers quantised except those in `floating`."""
        kept = {OUTSIDE, *floating}
        quantize_static(
            self._prepared,
            path,
            None if self._ranges.exists() else _Tiles(self._samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[name for name, layer in self._layer_of.items() if layer in kept],
            calibration_cache_path=self._ranges,
        )


def layers_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return the layer of each node, by name.

    A layer is a block of the network, named by its weights, such as `unet.decoder.blocks.4`. A node without
    weights belongs to the layer before it; before the first and after the last weights, it is OUTSIDE.
    """
    weights = {each.name for each in model.graph.initializer if len(each.dims) > 1}
    layer_of_value: dict[str, str] = {}
    layers: dict[str, str] = {}
    for node in model.graph.node:
        own = next((each for each in node.input[1:] if each in weights), None)
        if node.op_type in WEIGHED and own is not None:
            layer = _layer(own)
        else:
            before = (layer_of_value[each] for each in node.input if each in layer_of_value)
            layer = next(before, OUTSIDE)
        layers[node.name] = layer
        layer_of_value |= dict.fromkeys(node.output, layer)
    return layers | dict.fromkeys(_after_the_last_weights(model, weights), OUTSIDE)


def _after_the_last_weights(model: onnx.ModelProto, weights: set[str]) -> list[str]:
    """The nodes with no weights after them."""
    reaching: set[str] = set()
    after = []
    for node in reversed(model.graph.node):
        weighed = node.op_type in WEIGHED and any(each in weights for each in node.input)
        if weighed or any(each in reaching for each in node.output):
            reaching |= set(node.input)
        else:
            after.append(node.name)
    return [name for name in after if name]


def _layer(weight: str) -> str:
    """The block of a tensor: its name up to the first number or, without one, up to the last part."""
    parts = weight.removeprefix("segmenter.").split(".")
    number = next((place for place, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: len(parts) - 1 if number is None else number + 1])


class _Tiles(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime ships no types
    """Feeds tiles one by one."""

    def __init__(self, tiles: Sequence[NDArray[np.uint8]]) -> None:
        self._left = iter(tiles)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next input; None at the end."""
        tile = next(self._left, None)
        return None if tile is None else {"pixels": tile[None]}
