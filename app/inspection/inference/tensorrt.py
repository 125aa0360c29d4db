"""TensorRT engines, built in advance: building one takes minutes, and no image should wait for that.

An engine is valid for one graph, one GPU model and one set of versions. So engines are not part of a
bundle. They are kept in a folder of the machine, with a marker file for each graph whose engine is
complete. ONNX Runtime checks an engine against GPU and TensorRT version, and rebuilds it if it does not
fit: at start, never in a request.
"""

from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import InputContract
from app.inspection.inference.threads import compute_on


@dataclass(frozen=True, slots=True)
class Engines:
    """A folder of engines; with `building`, an incomplete engine counts as present."""

    folder: Path
    building: bool = False

    def has(self, artifact: Artifact) -> bool:
        """Whether the engine of an artifact is complete."""
        return self.building or self._mark(artifact).exists()

    def keep(self, artifact: Artifact) -> None:
        """Mark the engine of an artifact as complete; raises OSError."""
        self._place(artifact).mkdir(parents=True, exist_ok=True)
        self._mark(artifact).touch()

    def options(self, artifact: Artifact, contract: InputContract) -> dict[str, str]:
        """ONNX Runtime's TensorRT options: one engine for all batch sizes."""
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
