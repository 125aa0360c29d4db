"""BentoML with ONNX Runtime; a service that batches takes and gives lists."""

from pathlib import Path

import bentoml
import numpy as np

from tests.benchmarks.peers.plain import Told, decode, judge, load, run, setting

BATCH = setting("BATCH")
BATCHING = {"batchable": True, "max_batch_size": BATCH} if BATCH > 1 else {}


@bentoml.service(  # type: ignore[untyped-decorator, unused-ignore]
    workers=setting("WORKERS"), threads=setting("THREADS"), logging={"access": {"enabled": False}}
)
class Inspection:
    """One graph in each worker process."""

    def __init__(self) -> None:
        self.told = Told.from_environment()
        self.session = load(self.told.model)

    @bentoml.api(**BATCHING)  # type: ignore[untyped-decorator, unused-ignore]
    def predict(self, images: list[Path]) -> list[dict[str, str]]:
        """Judge the pictures in the form field `images`; requests bring one each."""
        levels, probabilities = run(
            self.session, np.concatenate([decode(each.read_bytes()) for each in images])
        )
        pairs = zip(levels, probabilities, strict=True)
        return [judge(each, float(probability), self.told) for each, probability in pairs]
