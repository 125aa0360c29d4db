"""Plain FastAPI with torch eager: the network that the bundle's graph was exported from, in float32."""

from pathlib import Path
from typing import Annotated

import torch
import uvicorn
from fastapi import FastAPI, File

from tests.benchmarks.networks import network
from tests.benchmarks.peers.plain import Told, decode, judge, setting
from training.model.segmenter import image_probability

told = Told.from_environment()
segmenter = network(Path(told.model))
app = FastAPI()


@app.get("/ready")
def ready() -> str:
    """The network is loaded before the port opens."""
    return "ok"


@app.post("/predict")
def predict(image: Annotated[bytes, File()]) -> dict[str, str]:
    """Judge the picture in the form field `image`."""
    with torch.inference_mode():
        logits = segmenter(torch.from_numpy(decode(image)[..., 0]))
        levels = (logits[0].sigmoid() * 255).round().to(torch.uint8)
        probability = float(image_probability(*logits))
    return judge(levels[0].numpy(), probability, told)


if __name__ == "__main__":
    uvicorn.run(app, port=setting("PORT"), log_level="warning")
