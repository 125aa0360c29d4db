"""Sessions and inspectors of one artifact, whatever providers it is meant for."""

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from app.inspection.inference.runtime import CPU, GPU_PROVIDERS
from app.inspection.inference.session import OnnxSession
from app.inspection.inspector import Inspector


def session_on(bundle: Bundle, artifact: Artifact, provider: str, threads: int | None = None) -> OnnxSession:
    """A session of this artifact on this provider, whatever providers it is meant for.

    Raises DeviceUnavailable where the provider is not to be had here, BundleInvalid for a broken graph.
    """
    alone = bundle.model_copy(update={"artifacts": (artifact.model_copy(update={"providers": (provider,)}),)})
    return OnnxSession(alone, "cuda" if provider in GPU_PROVIDERS else "cpu", threads)


def inspector_of(bundle: Bundle, artifact: Artifact) -> Inspector:
    """An inspector that runs this artifact on the CPU, whatever providers it is meant for."""
    return Inspector(bundle, session_on(bundle, artifact, CPU))
