"""LitServe with ONNX Runtime: what waits is run as one batch, and no picture waits for a batch to fill."""

from typing import Any

import litserve
import numpy as np
from fastapi import UploadFile
from numpy.typing import NDArray

from tests.benchmarks.peers.plain import Told, decode, judge, load, run, setting

Answer = tuple[NDArray[np.uint8], np.float32]


class Inspection(litserve.LitAPI):  # type: ignore[misc]  # LitServe has no types here
    """One graph in each worker process."""

    def setup(self, device: str) -> None:
        """Load the graph."""
        self.told = Told.from_environment()
        self.session = load(self.told.model)

    def decode_request(self, request: UploadFile) -> NDArray[np.uint8]:
        """The pixels of the form field `request`, uint8 [1, h, w, 1]."""
        return decode(request.file.read())

    def batch(self, inputs: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """All pictures of a batch as one array."""
        return np.concatenate(inputs)

    def predict(self, pixels: NDArray[np.uint8]) -> list[Answer]:
        """Levels and image probability of each picture."""
        return list(zip(*run(self.session, pixels), strict=True))

    def unbatch(self, output: list[Answer]) -> list[list[Answer]]:
        """What `predict` would have given of each picture alone."""
        return [[each] for each in output]

    def encode_response(self, output: list[Answer]) -> dict[str, str]:
        """Verdict and mask."""
        ((levels, probability),) = output
        return judge(levels, float(probability), self.told)


def server() -> Any:
    """The server with the settings it was told."""
    inspection = Inspection(max_batch_size=setting("BATCH"))
    return litserve.LitServer(inspection, accelerator="cpu", workers_per_device=setting("WORKERS"))


if __name__ == "__main__":
    server().run(
        host="127.0.0.1",
        port=setting("PORT"),
        log_level="warning",
        generate_client_file=False,
        num_api_servers=1,
    )
