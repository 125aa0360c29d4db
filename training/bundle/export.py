"""Export: the segmenter as an ONNX graph from pixels to probabilities, compared with torch."""

import hashlib
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxscript.optimizer import remove_unused_nodes
from torch import nn

from app.inspection.bundle.artifact import Artifact, OperatingPoint
from app.inspection.bundle.bundle import Bundle, DefectClass, TrainingSummary
from app.inspection.inference.runtime import CPU, PROVIDERS
from app.inspection.rules.recipe import Limits, Recipe
from training.config import RunConfig
from training.data.datamodule import input_contract
from training.files import read_weights, sha256_of, write_manifest, write_recipe
from training.model.segmenter import Segmenter, image_probability
from training.thresholds.region_fit import UNFITTED

GRAPH = "model.onnx"
# With later opsets, average pooling in ONNX Runtime takes many times as long on a CPU.
OPSET = 18
# One level of the 8-bit probability, plus one for float rounding at its edge.
MAX_LEVEL_DIFFERENCE = 2
MAX_IMAGE_DIFFERENCE = 1e-3
MAX_FEATURE_DIFFERENCE = 1e-2  # of the largest feature
# The encoder level whose features the input gate uses. At an eighth of the tile's sides, features distinguish
# surfaces; those of deeper levels respond to defects (figures in docs/gate.md).
GATE_LEVEL = 3
FLIPS = (), (-1,), (-2,), (-2, -1)  # axes of a tile; a model uses the first one, two or four


class ParityError(RuntimeError):
    """The exported graph does not reproduce the torch model."""


class ServingGraph(nn.Module):
    """The segmenter as the service runs it: uint8 [n, h, w, 1] -> uint8 [n, k, h, w] and float32 [n].

    With an input gate, it also returns features float32 [n, f]. Probabilities are the mean over the
    configured number of flips of the tile.
    """

    def __init__(self, segmenter: Segmenter, gate: bool = False) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.gate = gate

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs of `forward`."""
        return ["mask_probability", "image_probability", *(["features"] if self.gate else [])]

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return mask probabilities in levels of 1/255, head probabilities, and the gate's features.

        A feature is the mean of a channel of one encoder level over the tile.
        """
        tiles, flips = pixels.squeeze(-1), FLIPS[: self.segmenter.flips]
        if len(flips) > 1:
            tiles = torch.cat([tiles.flip(axes) if axes else tiles for axes in flips])
        encoded = self.segmenter.features(tiles)
        mask_logits, image_logits = self.segmenter.answers(encoded)
        mask, image = mask_logits.sigmoid(), image_probability(mask_logits, image_logits)
        level = encoded[min(GATE_LEVEL, len(encoded) - 1)]
        if len(flips) > 1:
            masks = zip(_by_flip(mask, len(flips)), flips, strict=True)
            mask = torch.stack([each.flip(axes) if axes else each for each, axes in masks]).mean(0)
            image, level = _by_flip(image, len(flips)).mean(0), _by_flip(level, len(flips))[0]
        answers = (mask * 255).round().to(torch.uint8), image
        return (*answers, level.mean(dim=(2, 3))) if self.gate else answers


def _by_flip(values: torch.Tensor, flips: int) -> torch.Tensor:
    """Values of a batch with `flips` copies of each tile, [flips * n, ...], as [flips, n, ...]."""
    return values.reshape(flips, -1, *values.shape[1:])


def serving_graph(segmenter: Segmenter, weights: Path, gate: bool = False) -> ServingGraph:
    """Return the torch graph with the weights; with `gate`, it also returns the input gate's features."""
    segmenter.load_state_dict(read_weights(weights))
    return ServingGraph(segmenter, gate).eval()


def export_graph(
    segmenter: Segmenter, weights: Path, tile: int, path: Path, gate: bool = False
) -> ServingGraph:
    """Write the ONNX graph with dynamic batch and fixed tile size; return the torch graph."""
    graph = serving_graph(segmenter, weights, gate)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        graph,
        (torch.zeros(2, tile, tile, 1, dtype=torch.uint8),),
        path,
        input_names=["pixels"],
        output_names=graph.outputs,
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    model = onnx.load(path)
    _remove_traces(model)
    _resize_by_factors(model)
    onnx.save(model, path)
    return graph


def _remove_traces(model: onnx.ModelProto) -> None:
    """Remove from the nodes where they were traced: these are local paths of this machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


def _resize_by_factors(model: onnx.ModelProto) -> None:
    """Give each Resize constant factors instead of sizes computed at run time.

    The nodes that compute shapes do not run on a GPU.
    """
    shapes = shapes_of(model)
    for number, node in enumerate(each for each in model.graph.node if each.op_type == "Resize"):
        sides = zip(shapes[node.output[0]][2:], shapes[node.input[0]][2:], strict=True)
        factors = np.array([1, 1, *(after / before for after, before in sides)], np.float32)
        name = f"factors_{number}"
        model.graph.initializer.append(numpy_helper.from_array(factors, name))
        node.input[:] = [node.input[0], "", name]
    remove_unused_nodes(model)


def shapes_of(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shape of each tensor by name, as stored in the graph; a dynamic side is 0."""
    tensors = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    return {each.name: [side.dim_value for side in each.type.tensor_type.shape.dim] for each in tensors}


def check_parity(graph: ServingGraph, path: Path, tiles: NDArray[np.uint8]) -> dict[str, float]:
    """Compare torch and ONNX on real tiles uint8 [n, h, w, 1]; raises ParityError above a tolerance."""
    session = ort.InferenceSession(path, providers=[CPU])
    level_difference, image_difference, feature_difference, differing = 0, 0.0, 0.0, 0
    for tile in tiles:
        levels, image, *features = session.run(graph.outputs, {"pixels": tile[None]})
        with torch.inference_mode():
            wanted = [each.numpy() for each in graph(torch.from_numpy(tile[None].copy()))]
        difference = np.abs(levels.astype(np.int16) - wanted[0].astype(np.int16))
        level_difference = max(level_difference, int(difference.max()))
        differing += int((difference > 0).sum())
        image_difference = max(image_difference, float(np.abs(image - wanted[1]).max()))
        for ours, theirs in zip(features, wanted[2:], strict=True):
            relative = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-6)
            feature_difference = max(feature_difference, float(relative))
    if level_difference > MAX_LEVEL_DIFFERENCE or image_difference > MAX_IMAGE_DIFFERENCE:
        raise ParityError(
            f"ONNX differs from torch by {level_difference} levels of 255 (at most {MAX_LEVEL_DIFFERENCE}) "
            f"and {image_difference:.5f} in the head probability (at most {MAX_IMAGE_DIFFERENCE})"
        )
    if feature_difference > MAX_FEATURE_DIFFERENCE:
        raise ParityError(
            f"ONNX differs from torch by {feature_difference:.5f} of the gate's largest feature "
            f"(at most {MAX_FEATURE_DIFFERENCE})"
        )
    parity: dict[str, float] = {
        "tiles": len(tiles),
        "max_mask_level_difference": level_difference,
        "differing_pixel_share": differing / max(1, tiles.size),
        "max_image_probability_difference": image_difference,
    }
    return parity | ({"max_relative_feature_difference": feature_difference} if graph.gate else {})


def draft_bundle(
    directory: Path, config: RunConfig, classes: tuple[DefectClass, ...], made: TrainingSummary
) -> None:
    """Write the manifest and default recipe beside an exported graph, with placeholder thresholds."""
    recipe = Recipe(
        name="default",
        description="Any defect of any class fails the part.",
        limits={each.name: Limits(max_count=0) for each in classes},
    )
    artifact = Artifact(
        name="fp32",
        file=GRAPH,
        sha256=sha256_of(directory / GRAPH),
        providers=PROVIDERS["auto"],
        operating_point=OperatingPoint(
            pixel_threshold=0.5, min_area_px=1, regions=UNFITTED, image_threshold=0.5, head_threshold=1.0
        ),
    )
    bundle = Bundle(
        schema_version=3,
        name=config.name,
        version=config.version,
        created=datetime.now(UTC).replace(microsecond=0),
        description=config.description,
        classes=classes,
        input=input_contract(config.model),
        artifacts=(artifact,),
        recipe="recipe.yaml",
        recipe_sha256=hashlib.sha256(write_recipe(directory / "recipe.yaml", recipe)).hexdigest(),
        golden=(),
        training=made,
        tools={"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "onnx", "onnxruntime", "segmentation-models-pytorch")},
    )
    write_manifest(directory, bundle)
