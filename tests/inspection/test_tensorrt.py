"""TensorRT's engines: used only where they were built to the end, whatever is installed."""

from pathlib import Path

import pytest

from app.bundles.tensorrt import build_engine, lacks_engine
from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import DeviceUnavailable
from app.inspection.inference.runtime import TENSORRT
from app.inspection.inference.session import OnnxSession
from app.inspection.inference.tensorrt import Engines
from app.inspection.inspector import Inspector
from tests.inspection.test_session import HAS_CUDA


@pytest.fixture
def for_tensorrt(bundle_dir: Path) -> Bundle:
    bundle = Bundle.load(bundle_dir)
    meant = bundle.artifacts[0].model_copy(update={"providers": (TENSORRT, "CPUExecutionProvider")})
    return bundle.model_copy(update={"artifacts": (meant,)})


def test_an_engine_counts_once_it_is_whole(for_tensorrt: Bundle, tmp_path: Path) -> None:
    engines, artifact = Engines(tmp_path / "engines"), for_tensorrt.artifacts[0]
    assert not engines.has(artifact)
    engines.keep(artifact)
    assert engines.has(artifact)
    assert not engines.has(artifact.model_copy(update={"sha256": "0" * 64}))  # another graph
    assert build_engine(for_tensorrt, engines.folder).endswith("already")


def test_an_engine_is_for_every_batch_there_can_be(for_tensorrt: Bundle, tmp_path: Path) -> None:
    options = Engines(tmp_path).options(for_tensorrt.artifacts[0], for_tensorrt.input)
    shapes = [options[f"trt_profile_{which}_shapes"] for which in ("min", "opt", "max")]
    assert shapes == ["pixels:1x64x64x1", "pixels:16x64x64x1", "pixels:32x64x64x1"]


@pytest.mark.skipif(HAS_CUDA, reason="this machine may have TensorRT")
def test_without_tensorrt_nothing_is_built_and_the_reason_is_told(
    for_tensorrt: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(DeviceUnavailable, match="TensorrtExecutionProvider is not in this build"):
        build_engine(for_tensorrt, tmp_path)
    assert not list(tmp_path.rglob("whole"))
    session = OnnxSession(for_tensorrt, "auto", engines=Engines(tmp_path, building=True))
    assert session.execution_provider == "CPUExecutionProvider"


def test_a_service_on_the_cpu_lacks_no_engine(for_tensorrt: Bundle, tmp_path: Path) -> None:
    inspector = Inspector(for_tensorrt, OnnxSession(for_tensorrt, "cpu"))
    assert not lacks_engine(inspector, tmp_path)
    assert not lacks_engine(inspector, None)
