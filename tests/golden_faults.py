"""How much the self-test sees: single wrong weights in a bundle's graph, all hashes right.

`python -m tests.golden_faults BUNDLE` gives golden answers to a copy of the bundle, corrupts one weight at a
time in layers drawn at random, and counts what the self-test notices.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from app.inspection.bundle.bundle import MANIFEST, Bundle
from app.inspection.errors import SelfTestFailed
from app.inspection.inspector import Inspector
from tests.tiny_bundle import sha256
from training.bundle.golden import answered
from training.files import write_manifest

Weights = NDArray[np.float32]
EXPONENT_BIT = np.uint32(1 << 30)  # the highest: a small weight becomes a huge one


def _exponent(value: Weights) -> Weights:
    return (value.view(np.uint32) ^ EXPONENT_BIT).view(np.float32)


CHANGES: dict[str, Callable[[Weights], Weights]] = {
    "NaN": lambda value: value * np.float32(np.nan),
    "highest bit of the exponent": _exponent,
    "times 100": lambda value: value * np.float32(100),
    "sign": lambda value: -value,
}


def weights_of(graph: Path) -> list[str]:
    """The names of a graph's weights: kernels and matrices, not biases."""
    return [
        each.name
        for each in onnx.load(graph).graph.initializer
        if each.data_type == onnx.TensorProto.FLOAT and len(each.dims) > 1
    ]


def corrupt(graph: Path, name: str, place: int, change: Callable[[Weights], Weights]) -> None:
    """Change one weight of a graph in its file."""
    model = onnx.load(graph)
    tensor = next(each for each in model.graph.initializer if each.name == name)
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[place : place + 1] = change(values.reshape(-1)[place : place + 1])
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, graph)


def rehash(directory: Path) -> None:
    """State the hashes of the graphs as they are, so that only the self-test can tell that they changed."""
    manifest = json.loads((directory / MANIFEST).read_text())
    for artifact in manifest["artifacts"]:
        artifact["sha256"] = sha256(directory / artifact["file"])
    (directory / MANIFEST).write_text(json.dumps(manifest))


def found_by_the_self_test(directory: Path) -> str | None:
    """What the self-test says of a bundle, None where it passes."""
    try:
        Inspector.load(directory, device="cpu").self_test()
    except SelfTestFailed as error:
        return str(error)
    return None


def with_fp32_alone(directory: Path) -> Bundle:
    """Make fp32 what the CPU runs: its weights are numbers that can be changed one by one."""
    bundle = Bundle.load(directory)
    fp32 = next(each for each in bundle.artifacts if each.name == "fp32")
    alone = fp32.model_copy(update={"providers": ("CPUExecutionProvider",)})
    write_manifest(directory, bundle.model_copy(update={"artifacts": (alone,)}))
    return Bundle.load(directory)


def _trials(directory: Path, layers: int, seed: int) -> Iterator[tuple[str, str, bool]]:
    """Kind of change, which weight of the layer, and whether it was noticed."""
    rng = np.random.default_rng(seed)
    graph = directory / with_fp32_alone(directory).artifacts[0].file
    whole = graph.read_bytes()
    values = {each.name: numpy_helper.to_array(each) for each in onnx.load(graph).graph.initializer}
    for name in rng.permutation(weights_of(graph))[:layers]:
        places = {"any": rng.integers(values[name].size), "largest": np.abs(values[name]).argmax()}
        for which, place in places.items():
            for kind, change in CHANGES.items():
                corrupt(graph, name, int(place), change)
                rehash(directory)
                yield kind, which, found_by_the_self_test(directory) is not None
                graph.write_bytes(whole)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden_faults", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(options.bundle, Path(folder) / "bundle"))
        write_manifest(copy, answered(Bundle.load(copy)))
        if (wrong := found_by_the_self_test(copy)) is not None:
            print(wrong, file=sys.stderr)
            return 1
        seen: dict[tuple[str, str], list[bool]] = {}
        for kind, which, noticed in _trials(copy, options.layers, options.seed):
            seen.setdefault((kind, which), []).append(noticed)
    print("| one weight of a layer | changed by | noticed |\n|---|---|---|")
    for (kind, which), noticed_of in seen.items():
        print(f"| {which} | {kind} | {sum(noticed_of)} of {len(noticed_of)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
