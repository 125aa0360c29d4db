"""Build a bundle's TensorRT engine: in advance by hand, or beside a service that runs on CUDA."""

import asyncio
import logging
import sys
from pathlib import Path

import onnxruntime as ort

from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import DeviceUnavailable
from app.inspection.inference.runtime import CUDA, TENSORRT
from app.inspection.inference.session import OnnxSession
from app.inspection.inference.tensorrt import Engines
from app.inspection.inspector import Inspector

log = logging.getLogger(__name__)


def build_engine(bundle: Bundle, folder: Path) -> str:
    """Build the TensorRT engine of the bundle's graph, and check it on the golden samples.

    Returns a message. Raises DeviceUnavailable if TensorRT cannot be used here, and SelfTestFailed.
    """
    engines = Engines(folder)
    artifact = next((each for each in bundle.artifacts if TENSORRT in each.providers), None)
    if artifact is not None and engines.has(artifact):
        return f"{folder} has the engine of {artifact.file} already"
    session = OnnxSession(bundle, "cuda", engines=Engines(folder, building=True))
    if session.execution_provider != TENSORRT:
        raise DeviceUnavailable(
            f"{TENSORRT} cannot be used here, only {session.execution_provider}; install TensorRT's libraries"
        )
    Inspector(bundle, session).self_test()
    engines.keep(session.artifact)
    return f"the engine of {session.artifact.file} is built in {folder}"


def lacks_engine(inspector: Inspector, folder: Path | None) -> bool:
    """Whether an engine is missing that could be built and used from the next start on."""
    if folder is None or inspector.session.execution_provider != CUDA:
        return False
    meant = [each for each in inspector.bundle.artifacts if TENSORRT in each.providers]
    installed = TENSORRT in ort.get_available_providers()
    return installed and any(not Engines(folder).has(each) for each in meant)


async def build_beside(inspector: Inspector) -> None:
    """Build the engine in another process, at the lowest priority, and log the result.

    In the service's own process, TensorRT would hold the interpreter lock and block the service.
    """
    place = str(inspector.bundle.directory)
    try:
        process = await asyncio.create_subprocess_exec(
            *("nice", "-n", "19", sys.executable, "-m", "app", "build-engine", place),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        log.warning("no engine was built", extra={"reason": str(error)})
        return
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        log.warning("no engine was built", extra={"reason": said.decode(errors="replace")[-1000:]})
    else:
        log.info("an engine was built; it is used from the next start on")
