"""A real bundle small enough to make in every test: an ONNX graph of pointwise operators.

Each class answers to one brightness: the first to black, the second to white (then dark and light grey), and
falls off linearly. Middle grey, 128, is background. The head's answer is the highest pixel's.
"""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

BRIGHTNESS = (0, 255, 64, 192)
BACKGROUND = 128
PROVIDERS = ["CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider"]


def write_tiny_bundle(
    directory: Path,
    classes: tuple[str, ...] = ("dark", "bright"),
    tile: int = 64,
    overlap: int = 16,
    colour: str = "gray",
    recipe: str | None = None,
    **changes: Any,
) -> Path:
    """Write a bundle of one to four classes, return its directory; `changes` replace keys of bundle.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "golden").mkdir(exist_ok=True)
    (directory / "model.onnx").write_bytes(tiny_graph(len(classes), tile, 1 if colour == "gray" else 3))
    (directory / "recipe.yaml").write_text(recipe or _default_recipe(classes), encoding="utf-8")
    defective = tiny_picture(96, 80, dark=(20, 30, 12, 9))
    head = (255 - 10 * _slope(len(classes))) / 255
    samples = {"defective": (defective, "fail", head), "good": (tiny_picture(96, 80), "pass", 1 / 255)}
    golden = []
    for name, (picture, verdict, probability) in samples.items():
        picture_file, mask_file = f"golden/{name}.png", f"golden/{name}.mask.png"
        (directory / picture_file).write_bytes(png(picture))
        (directory / mask_file).write_bytes(png((picture == 10).astype(np.uint8)))
        golden.append(
            {
                "image": picture_file,
                "image_sha256": sha256(directory / picture_file),
                "mask": mask_file,
                "mask_sha256": sha256(directory / mask_file),
                "verdict": verdict,
                "image_probability": probability,
            }
        )
    manifest = _manifest(directory, classes, {"tile": tile, "overlap": overlap, "colour": colour}, golden)
    (directory / "bundle.json").write_text(json.dumps(manifest | changes, indent=1), encoding="utf-8")
    return directory


def tiny_picture(height: int, width: int, dark: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    """A middle grey picture, uint8 [height, width], perhaps with a dark rectangle (x, y, width, height)."""
    picture = np.full((height, width), BACKGROUND, dtype=np.uint8)
    if dark is not None:
        x, y, w, h = dark
        picture[y : y + h, x : x + w] = 10
    return picture


def png(picture: NDArray[np.uint8]) -> bytes:
    """The picture as a PNG file."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def sha256(path: Path) -> str:
    """The hash that bundle.json states for a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tiny_graph(n_classes: int, tile: int, channels: int) -> bytes:
    """The graph as an ONNX file: probability = 255 - slope * |brightness - the class's brightness|."""
    middle = np.array(BRIGHTNESS[:n_classes], dtype=np.float32).reshape(1, -1, 1, 1)
    slope = np.array(_slope(n_classes), dtype=np.float32)
    constants: dict[str, NDArray[Any]] = {
        "middle": middle,
        "slope": slope,
        "zero": np.array(0, dtype=np.float32),
        "full": np.array(255, dtype=np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[3], keepdims=0),
        helper.make_node("Round", ["mean"], ["grey"]),
        helper.make_node("Unsqueeze", ["grey", "axis"], ["brightness"]),
        helper.make_node("Sub", ["brightness", "middle"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Mul", ["distance", "slope"], ["loss"]),
        helper.make_node("Sub", ["full", "loss"], ["raw"]),
        helper.make_node("Clip", ["raw", "zero", "full"], ["level"]),
        helper.make_node("Cast", ["level"], ["mask_probability"], to=TensorProto.UINT8),
        helper.make_node("ReduceMax", ["level"], ["highest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Div", ["highest", "full"], ["image_probability"]),
    ]
    of = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [of("pixels", TensorProto.UINT8, ["batch", tile, tile, channels])],
        [
            of("mask_probability", TensorProto.UINT8, ["batch", n_classes, tile, tile]),
            of("image_probability", TensorProto.FLOAT, ["batch"]),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _slope(n_classes: int) -> int:
    return 2 if n_classes <= 2 else 4  # so that no two classes overlap


def _default_recipe(classes: tuple[str, ...]) -> str:
    """No defect of the first class, and only small ones of the others."""
    lines = ["name: tiny", "limits:", f"  {classes[0]}: {{max_count: 0}}"]
    lines += [f"  {name}: {{max_area_px: 50, max_length_px: 20}}" for name in classes[1:]]
    return "\n".join(lines) + "\n"


def _manifest(
    directory: Path, classes: tuple[str, ...], tiling: dict[str, Any], golden: list[dict[str, Any]]
) -> dict[str, Any]:
    rates = {"escape_rate": 0.0, "escape_interval": [0.0, 0.31], "overkill_rate": 0.0}
    expected = {"split": "test", "confidence": 0.95, "defective": 10, "good": 10} | rates
    expected["overkill_interval"] = [0.0, 0.31]
    point = {"image_threshold": 0.5, "pixel_threshold": 0.5, "min_area_px": 4, "expected": expected}
    artifact = {"name": "fp32", "file": "model.onnx", "sha256": sha256(directory / "model.onnx")}
    source = {"name": "none", "pictures": 0, "licence": "Apache-2.0", "citation": "made for tests"}
    return {
        "schema_version": 1,
        "name": "tiny",
        "version": "1",
        "created": "2025-01-01T00:00:00Z",
        "description": "Pointwise operators; for tests.",
        "classes": [{"name": name, "severity": "major"} for name in classes],
        "input": {
            "tile_height": tiling["tile"],
            "tile_width": tiling["tile"],
            "overlap": tiling["overlap"],
            "colour": tiling["colour"],
            "pixel_scale": 1.0,
            "padding": "reflect",
            "min_side_px": 16,
        },
        "artifacts": [artifact | {"providers": PROVIDERS, "operating_point": point}],
        "calibration": {"mask_temperature": 1.0},
        "recipe": "recipe.yaml",
        "recipe_sha256": sha256(directory / "recipe.yaml"),
        "golden": golden,
        "golden_tolerance": {"min_mask_iou": 0.95, "max_image_probability_difference": 0.05},
        "training": {"data": [source], "stages": [], "seed": 0, "note": "not trained"},
        "tools": {"onnx": onnx.__version__},
    }
