"""Sessions and inspectors of one artifact on any provider, also on one that it is not assigned to."""

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from app.inspection.inference.runtime import CPU, GPU_PROVIDERS
from app.inspection.inference.session import OnnxSession
from app.inspection.inspector import Inspector
from training.limits import limits


def session_on(bundle: Bundle, artifact: Artifact, provider: str, threads: int | None = None) -> OnnxSession:
    """A session of this artifact on this provider, also if it is not assigned to it.

    Raises DeviceUnavailable if the provider is not available here, BundleInvalid for an invalid graph.
    """
    alone = bundle.model_copy(update={"artifacts": (artifact.model_copy(update={"providers": (provider,)}),)})
    return OnnxSession(alone, "cuda" if provider in GPU_PROVIDERS else "cpu", threads)


def inspector_of(bundle: Bundle, artifact: Artifact) -> Inspector:
    """An inspector that runs this artifact on the CPU, also if it is not assigned to the CPU."""
    return Inspector(bundle, session_on(bundle, artifact, CPU), limits())
