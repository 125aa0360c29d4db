"""TensorRT engines, built before they are needed: building one takes minutes, and no image waits for that.

An engine is of one graph, one GPU and one version of everything. So they are no part of a bundle, but lie in
a folder of the box, with a mark for each graph whose engine is whole. ONNX Runtime itself checks an engine
against GPU and TensorRT, and builds it anew where it does not fit, at start and never in a request.
"""

from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import InputContract
from app.inspection.inference.threads import compute_on


@dataclass(frozen=True, slots=True)
class Engines:
    """A folder of engines; while one is being built, one that is not whole yet counts too."""

    folder: Path
    building: bool = False

    def has(self, artifact: Artifact) -> bool:
        """Whether the engine of an artifact was built to the end."""
        return self.building or self._mark(artifact).exists()

    def keep(self, artifact: Artifact) -> None:
        """Mark the engine of an artifact as built to the end; raises OSError."""
        self._place(artifact).mkdir(parents=True, exist_ok=True)
        self._mark(artifact).touch()

    def options(self, artifact: Artifact, contract: InputContract) -> dict[str, str]:
        """ONNX Runtime's options for TensorRT: one engine for batches of any size."""
        most = compute_on(gpu=True).few.max_batch
        tile = f"{contract.tile_height}x{contract.tile_width}x{contract.channels}"
        return {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(self._place(artifact)),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(self.folder),
            "trt_fp16_enable": str(int(artifact.name == "fp16")),
            "trt_profile_min_shapes": f"pixels:1x{tile}",
            "trt_profile_opt_shapes": f"pixels:{most // 2}x{tile}",
            "trt_profile_max_shapes": f"pixels:{most}x{tile}",
        }

    def _place(self, artifact: Artifact) -> Path:
        return self.folder / f"{artifact.sha256[:16]}-{ort.__version__}"

    def _mark(self, artifact: Artifact) -> Path:
        return self._place(artifact) / "whole"
