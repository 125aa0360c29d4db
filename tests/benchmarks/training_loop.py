"""`python -m tests.benchmarks.training_loop`: what the loop adds to the bare forward and backward."""

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch

from tests.benchmarks.timing import WARM_UP, Times, check_rounds
from tests.benchmarks.ways import machine
from training.config import ConfigError, FitConfig, GeneratedConfig, ModelConfig, RunConfig
from training.data.datamodule import Batch, SurfaceDataModule
from training.data.generators import make_generator
from training.data.pictures import GeneratedPictures, LoadedPictures
from training.data.synthesis.tiles import CLASSES
from training.model.cpu_speed import computed_precision
from training.model.finetune import fit
from training.model.segmenter import Segmenter, build_segmenter

PICTURES = 64


class Alternation(L.Callback):
    """Lets the loop take some steps, then takes as many bare ones on the last batch, and times both.

    The loop's steps have everything: drawing and augmenting the batch, moving it, forward, backward,
    optimiser, schedule, averaging, logging. The bare ones, by a copy of the network, are forward and
    backward alone.
    """

    def __init__(self, segmenter: Segmenter, steps: int) -> None:
        self._segmenter = segmenter
        self._steps = steps
        self._since = time.perf_counter()
        self.loop_ms: list[float] = []
        self.bare_ms: list[float] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Take over after every `steps` steps of the loop."""
        if trainer.global_step % self._steps:
            return
        self.loop_ms.append(_elapsed_ms(self._since))
        self._segmenter.to(pl_module.device).train()
        started = time.perf_counter()
        for _ in range(self._steps):
            self._segmenter.zero_grad()
            with trainer.precision_plugin.forward_context():
                mask_logits, image_logits = self._segmenter(batch["pixels"])
            (mask_logits.float().square().mean() + image_logits.float().square().mean()).backward()
        self.bare_ms.append(_elapsed_ms(started))
        self._since = time.perf_counter()


def _elapsed_ms(since: float) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - since) * 1000


def measure(config: RunConfig, rounds: int, steps: int) -> tuple[Times, Times]:
    """Milliseconds of `steps` steps of the loop and bare, in turns, after a few rounds that do not count."""
    generated = GeneratedConfig(kind="tiles", pictures=PICTURES)
    made = GeneratedPictures(make_generator(CLASSES, generated), generated, config.seed, config.model)
    pictures = LoadedPictures(made[index] for index in range(PICTURES))
    total = (WARM_UP + rounds) * steps
    settings = config.fit.model_copy(update={"steps": total, "validate_every": total})
    config = config.model_copy(update={"fit": settings})
    segmenter = build_segmenter(config.model, len(CLASSES), config.seed)
    bare = copy.deepcopy(segmenter).to(memory_format=torch.channels_last)
    alternation = Alternation(bare, steps)
    with tempfile.TemporaryDirectory() as directory:
        data = SurfaceDataModule(pictures, pictures[:4], config)
        fit(segmenter, data, config, Path(directory), [alternation])
    loop, alone = (tuple(each[WARM_UP:]) for each in (alternation.loop_ms, alternation.bare_ms))
    return Times(loop), Times(alone)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    check_rounds(options.rounds)
    try:
        config = RunConfig(
            stage="small",
            name="loop",
            precision=options.precision,
            workers=options.workers,
            model=ModelConfig(
                encoder=options.encoder, weights="none", tile=options.tile, overlap=options.tile // 4
            ),
            fit=FitConfig(batch_size=options.batch, augmentation=options.augmentation),
        )
    except (ConfigError, ValueError) as error:
        raise SystemExit(str(error)) from error
    loop, bare = measure(config, options.rounds, options.steps)
    precision = computed_precision(config.precision)
    pictures = 1000 * options.batch * options.steps
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else machine()
    print(f"{options.encoder}, batches of {options.batch} at {options.tile} px, {precision}; {name}")
    print(f"loop {pictures / loop.median:.1f} pictures/s, bare {pictures / bare.median:.1f} pictures/s")
    print(f"loop / bare, median of {options.rounds} pairs: {bare.ratio_to(loop):.2f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training_loop", description=__doc__)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--augmentation", default="standard")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2, help="of each way in a round")
    return parser


if __name__ == "__main__":
    main()
