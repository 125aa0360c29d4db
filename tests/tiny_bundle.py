"""A real bundle small enough to make in every test: an ONNX graph of pointwise operators.

Each class answers to one brightness: the first to black, the second to white (then dark and light grey), and
falls off linearly. Middle grey, 128, is background. The head's answer is the highest pixel's, and the region
model looks at a region's highest probability only, and gives one half where that is one half. With an input
gate the features are how much neighbours in a row and in a column differ; it knows grain of GRAIN levels.
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
GRAIN = 16
REGIONS = {"weights": {"peak_probability": 10.0}, "bias": -5.0}
PROVIDERS = ["CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider"]


def write_tiny_bundle(
    directory: Path,
    classes: tuple[str, ...] = ("dark", "bright"),
    tile: int = 64,
    overlap: int = 16,
    colour: str = "gray",
    recipe: str | None = None,
    gate: bool = False,
    **changes: Any,
) -> Path:
    """Write a bundle of one to four classes, return its directory; `changes` replace keys of bundle.json.

    `calibration` is that of its artifact.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "golden").mkdir(exist_ok=True)
    graph = tiny_graph(len(classes), tile, 1 if colour == "gray" else 3, gate)
    (directory / "model.onnx").write_bytes(graph)
    (directory / "recipe.yaml").write_text(recipe or _default_recipe(classes), encoding="utf-8")
    grain = GRAIN if gate else 0
    defective = tiny_picture(96, 80, dark=(20, 30, 12, 9), grain=grain)
    peak = (255 - 10 * _slope(len(classes))) / 255
    samples = {
        "defective": (defective, "fail", region_probability(peak)),
        "good": (tiny_picture(96, 80, grain=grain), "pass", 0.0),
    }
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
    if gate:
        manifest["artifacts"][0]["gate"] = _tiny_gate(directory)
    if "calibration" in changes:
        manifest["artifacts"][0]["calibration"] = changes.pop("calibration")
    (directory / "bundle.json").write_text(json.dumps(manifest | changes, indent=1), encoding="utf-8")
    return directory


def tiny_picture(
    height: int, width: int, dark: tuple[int, int, int, int] | None = None, grain: int = 0
) -> NDArray[np.uint8]:
    """A middle grey image, uint8 [height, width], perhaps with a dark rectangle (x, y, width, height).

    `grain` is by how much a pixel of the background may be brighter or darker.
    """
    noise = np.random.default_rng(height * width).integers(-grain, grain + 1, (height, width))
    picture = (BACKGROUND + noise).astype(np.uint8)
    if dark is not None:
        x, y, w, h = dark
        picture[y : y + h, x : x + w] = 10
    return picture


def region_probability(peak: float) -> float:
    """What the region model gives a region by its highest probability."""
    return float(1 / (1 + np.exp(5 - 10 * peak)))


def peak_of(probability: float) -> float:
    """The highest probability, 0..1, of a region that the region model gives a probability."""
    return float((np.log(probability / (1 - probability)) + 5) / 10)


def png(picture: NDArray[np.uint8]) -> bytes:
    """The image as a PNG file."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def sha256(path: Path) -> str:
    """The hash that bundle.json states for a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tiny_graph(n_classes: int, tile: int, channels: int, gate: bool = False) -> bytes:
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
    outputs = [
        of("mask_probability", TensorProto.UINT8, ["batch", n_classes, tile, tile]),
        of("image_probability", TensorProto.FLOAT, ["batch"]),
    ]
    if gate:
        features, ends = _differences()
        nodes += features
        constants |= ends
        outputs.append(of("features", TensorProto.FLOAT, ["batch", 2]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [of("pixels", TensorProto.UINT8, ["batch", tile, tile, channels])],
        outputs,
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _differences() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """The nodes for the mean difference of neighbours in a row and in a column, and their constants."""
    make = helper.make_node
    constants: dict[str, NDArray[Any]] = {
        "first": np.array([0], dtype=np.int64),
        "second": np.array([1], dtype=np.int64),
        "last": np.array([-1], dtype=np.int64),
        "end": np.array([2**31], dtype=np.int64),
    }
    nodes = []
    for way, axis in (("row", 2), ("column", 1)):
        constants[f"{way}_axis"] = np.array([axis], dtype=np.int64)
        nodes += [
            make("Slice", ["grey", "second", "end", f"{way}_axis"], [f"{way}_next"]),
            make("Slice", ["grey", "first", "last", f"{way}_axis"], [f"{way}_before"]),
            make("Sub", [f"{way}_next", f"{way}_before"], [f"{way}_difference"]),
            make("Abs", [f"{way}_difference"], [f"{way}_step"]),
            make("ReduceMean", [f"{way}_step"], [f"{way}_mean"], axes=[1, 2], keepdims=0),
            make("Unsqueeze", [f"{way}_mean", "axis"], [f"{way}_feature"]),
        ]
    return [*nodes, make("Concat", ["row_feature", "column_feature"], ["features"], axis=1)], constants


def _tiny_gate(directory: Path) -> dict[str, Any]:
    """The gate of images with grain, its file of features written beside."""
    usual = np.full(2, GRAIN * 0.69, dtype=np.float32)  # the mean difference of two such pixels
    np.savez(directory / "gate.npz", mean=usual, whitening=0.2 * np.eye(2, dtype=np.float32))

    def check(score: str, low: float | None, high: float | None, edges: list[float]) -> dict[str, Any]:
        shares = [1 / (len(edges) + 1)] * (len(edges) + 1)
        return {"score": score, "low": low, "high": high, "edges": edges, "shares": shares}

    return {
        "checks": [
            check("sharpness", 0.5, None, [2.0]),
            check("brightness", 90.0, 170.0, [120.0, 128.0, 136.0]),
            check("clipped_share", None, 0.05, [0.0]),
            check("border_contrast", -1.0, 1.0, [0.0]),
            check("grain", None, 2.0 * GRAIN, [float(GRAIN)]),
            check("short_side_px", 40.0, 160.0, [80.0]),
            check("long_side_px", 40.0, 200.0, [96.0]),
            check("feature_distance", None, 3.0, [0.1, 1.0]),
        ],
        "false_alarm_rate": 0.01,
        "pictures": 100,
        "groups": 50,
        "features": "gate.npz",
        "features_sha256": sha256(directory / "gate.npz"),
        "feature_count": 2,
    }


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
    point = {"pixel_threshold": 0.5, "min_area_px": 4, "regions": REGIONS, "expected": expected}
    point |= {"image_threshold": 0.5, "head_threshold": 0.5}
    artifact = {"name": "fp32", "file": "model.onnx", "sha256": sha256(directory / "model.onnx")}
    source = {"name": "none", "pictures": 0, "licence": "Apache-2.0", "citation": "made for tests"}
    return {
        "schema_version": 3,
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
        "recipe": "recipe.yaml",
        "recipe_sha256": sha256(directory / "recipe.yaml"),
        "golden": golden,
        "golden_tolerance": {"min_mask_iou": 0.95, "max_image_probability_difference": 0.05},
        "training": {"data": [source], "stages": [], "seed": 0, "note": "not trained"},
        "tools": {"onnx": onnx.__version__},
    }
