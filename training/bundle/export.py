"""Export: the segmenter as an ONNX graph that takes pixels and gives probabilities, checked against torch."""

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
# Of later opsets ONNX Runtime pools averages, on a CPU, in a way that takes many times as long.
OPSET = 18
# One level of the 8-bit probability, plus what float rounding may tip over its edge.
MAX_LEVEL_DIFFERENCE = 2
MAX_IMAGE_DIFFERENCE = 1e-3
MAX_FEATURE_DIFFERENCE = 1e-2  # of the largest feature
# The encoder's level whose features the input gate takes: at an eighth of the tile's sides they tell surfaces
# apart, while those of deeper levels answer to defects (docs/gate.md has the figures).
GATE_LEVEL = 3
FLIPS = (), (-1,), (-2,), (-2, -1)  # axes of a tile; the first so many as are asked for


class ParityError(RuntimeError):
    """The exported graph does not reproduce the torch model."""


class ServingGraph(nn.Module):
    """The segmenter as the service runs it: uint8 [n, h, w, 1] -> uint8 [n, k, h, w] and float32 [n].

    For a bundle with an input gate also float32 [n, f]. Probabilities are the mean over as many flips of the
    tile as the model's configuration asks for.
    """

    def __init__(self, segmenter: Segmenter, gate: bool = False) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.gate = gate

    @property
    def outputs(self) -> list[str]:
        """The names of what `forward` returns."""
        return ["mask_probability", "image_probability", *(["features"] if self.gate else [])]

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return mask probabilities as levels of 255, image-level probabilities, and the gate's features.

        The features are the means of each channel of one encoder level over the tile.
        """
        tiles, turns = pixels.squeeze(-1), FLIPS[: self.segmenter.flips]
        if len(turns) > 1:
            tiles = torch.cat([tiles.flip(axes) if axes else tiles for axes in turns])
        encoded = self.segmenter.features(tiles)
        mask_logits, image_logits = self.segmenter.answers(encoded)
        mask, image = mask_logits.sigmoid(), image_probability(mask_logits, image_logits)
        level = encoded[min(GATE_LEVEL, len(encoded) - 1)]
        if len(turns) > 1:
            masks = zip(_by_turn(mask, len(turns)), turns, strict=True)
            mask = torch.stack([each.flip(axes) if axes else each for each, axes in masks]).mean(0)
            image, level = _by_turn(image, len(turns)).mean(0), _by_turn(level, len(turns))[0]
        answers = (mask * 255).round().to(torch.uint8), image
        return (*answers, level.mean(dim=(2, 3))) if self.gate else answers


def _by_turn(values: torch.Tensor, turns: int) -> torch.Tensor:
    """Values of a batch that holds each tile `turns` times, [turns * n, ...], as [turns, n, ...]."""
    return values.reshape(turns, -1, *values.shape[1:])


def serving_graph(segmenter: Segmenter, weights: Path, gate: bool = False) -> ServingGraph:
    """Return the torch graph of the weights; with `gate` it gives the features that an input gate needs."""
    segmenter.load_state_dict(read_weights(weights))
    return ServingGraph(segmenter, gate).eval()


def export_graph(
    segmenter: Segmenter, weights: Path, tile: int, path: Path, gate: bool = False
) -> ServingGraph:
    """Write the ONNX graph of the weights; the batch is dynamic, the tile fixed. Returns the torch graph."""
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
    _forget_places(model)
    _resize_by_factors(model)
    onnx.save(model, path)
    return graph


def _forget_places(model: onnx.ModelProto) -> None:
    """Take out of a graph where its nodes were traced: paths of this machine, of no use to anyone else."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


def _resize_by_factors(model: onnx.ModelProto) -> None:
    """Have upsamplings know their factors, where they were traced with sizes found out at each run.

    Computing shapes takes nodes that no GPU runs.
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
    """Return the shape of each tensor by name, as the graph tells them; a dynamic side is 0."""
    told = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    return {each.name: [side.dim_value for side in each.type.tensor_type.shape.dim] for each in told}


def check_parity(graph: ServingGraph, path: Path, tiles: NDArray[np.uint8]) -> dict[str, float]:
    """Compare torch and ONNX on real tiles uint8 [n, h, w, 1]; raises ParityError beyond the tolerance."""
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
            f"and {image_difference:.5f} in the image-level probability (at most {MAX_IMAGE_DIFFERENCE})"
        )
    if feature_difference > MAX_FEATURE_DIFFERENCE:
        raise ParityError(
            f"ONNX differs from torch by {feature_difference:.5f} of the largest of the gate's features "
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
    """Write the manifest and default recipe beside an exported graph, with thresholds yet to be chosen."""
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
