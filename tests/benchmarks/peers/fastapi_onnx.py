"""Plain FastAPI with ONNX Runtime: the endpoint is a plain function, run on a pool of threads."""

from typing import Annotated

import uvicorn
from fastapi import FastAPI, File

from tests.benchmarks.peers.plain import Told, decode, judge, load, run, setting

told = Told.from_environment()
session = load(told.model)
app = FastAPI()


@app.get("/ready")
def ready() -> str:
    """The graph is loaded before the port opens."""
    return "ok"


@app.post("/predict")
def predict(image: Annotated[bytes, File()]) -> dict[str, str]:
    """Judge the picture in the form field `image`."""
    levels, probabilities = run(session, decode(image))
    return judge(levels[0], float(probabilities[0]), told)


if __name__ == "__main__":
    uvicorn.run(app, port=setting("PORT"), log_level="warning")
