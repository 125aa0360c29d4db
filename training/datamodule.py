"""Pictures in memory, training tiles drawn half defective, validation tiles cut as the service cuts them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from app.inspection.bundle import InputContract
from app.inspection.preprocess import cut
from training.augment import Augmentation
from training.config import Config, StageConfig
from training.datasets.generated import generated_tiles
from training.datasets.sample import Sample

Pixels = NDArray[np.uint8]
Batch = dict[str, torch.Tensor]

GOOD = -1
TRAINING_SEEDS = 10**9  # where the seeds of generated training pictures start


@dataclass(frozen=True)
class Picture:
    """A decoded sample at the trained pixel scale; `label_map` is None where pixels are unlabelled."""

    pixels: Pixels
    label_map: Pixels | None
    defective: bool


def load_pictures(samples: Iterable[Sample], pixel_scale: float) -> list[Picture]:
    """Decode samples into memory, resized to the trained pixel scale."""
    return [_scaled(_decoded(sample), pixel_scale) for sample in samples]


def generated_pictures(count: int, seed: int, pixel_scale: float) -> list[Picture]:
    """Make `count` generated tiles, half of them defective, unlike those of `generate` with the same seed."""
    return [
        _scaled(Picture(pixels, label_map, bool(label_map.any())), pixel_scale)
        for pixels, label_map in generated_tiles(count, TRAINING_SEEDS + seed)
    ]


def input_contract(config: Config) -> InputContract:
    """The contract of the bundle that this configuration trains."""
    model = config.model
    return InputContract(
        tile_height=model.tile,
        tile_width=model.tile,
        overlap=model.overlap,
        colour="gray",
        pixel_scale=model.pixel_scale,
        padding="reflect",
        min_side_px=64,
    )


class TrainingTiles(Dataset[Batch]):
    """Augmented tiles; the tile's own pixels decide whether it is defective."""

    def __init__(self, pictures: list[Picture], tile: int, seed: int) -> None:
        self._pictures = pictures
        self._augment = Augmentation(tile, seed)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Batch:
        picture = self._pictures[index]
        known = picture.label_map is not None
        label_map = picture.label_map if picture.label_map is not None else np.zeros_like(picture.pixels)
        pixels, label_map = self._augment(picture.pixels, label_map)
        defective = bool(label_map.any()) if known else picture.defective
        return _tensors(pixels, label_map, known, defective)


class ValidationTiles(Dataset[Batch]):
    """Every tile of every picture, with the number of the picture it belongs to."""

    def __init__(self, pictures: list[Picture], contract: InputContract) -> None:
        native = contract.model_copy(update={"pixel_scale": 1.0})  # pictures are already at the trained scale
        self._items: list[tuple[Pixels, Pixels, bool, bool, int]] = []
        for number, picture in enumerate(pictures):
            known = picture.label_map is not None
            label_map = picture.label_map if picture.label_map is not None else np.zeros_like(picture.pixels)
            tiles, _ = cut(picture.pixels, native)
            labels, _ = cut(label_map, native)
            self._items += [
                (tile[..., 0], label[..., 0], known, picture.defective, number)
                for tile, label in zip(tiles, labels, strict=True)
            ]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Batch:
        pixels, label_map, known, defective, number = self._items[index]
        return _tensors(pixels, label_map, known, defective) | {"picture": torch.tensor(number)}


class SurfaceDataModule(L.LightningDataModule):
    """Loaders of one stage; an epoch is `validate_every` batches, seeded by its number so that it resumes."""

    def __init__(
        self, train: list[Picture], validation: list[Picture], config: Config, stage: StageConfig
    ) -> None:
        super().__init__()
        self._train = train
        self._config = config
        self._stage = stage
        self._validation = ValidationTiles(validation, input_contract(config))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Tiles drawn with replacement, `defective_share` of them from defective pictures, classes alike."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        seed = self._config.seed * 100_003 + epoch
        torch.manual_seed(seed)  # dropout: a resumed fit must draw in this epoch what the whole one drew
        weights = _weights(self._train, self._stage.defective_share)
        sampler = WeightedRandomSampler(
            weights,
            num_samples=self._stage.validate_every * self._stage.batch_size,
            generator=torch.Generator().manual_seed(seed),
        )
        tiles = TrainingTiles(self._train, self._config.model.tile, seed)
        return DataLoader(tiles, batch_size=self._stage.batch_size, sampler=sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation tiles in picture order."""
        return DataLoader(self._validation, batch_size=self._stage.batch_size)


def _weights(pictures: list[Picture], defective_share: float) -> list[float]:
    """How often to draw each picture, so that a rare class is drawn as often as a common one."""
    strata = [_stratum(picture) for picture in pictures]
    counts = Counter(strata)
    classes = len(counts) - (GOOD in counts)
    shares = dict.fromkeys(counts, defective_share / classes) | {GOOD: 1 - defective_share}
    return [shares[each] / counts[each] for each in strata]


def _stratum(picture: Picture) -> int:
    """GOOD, the highest class number that a defective picture shows, or 0 where its pixels are unlabelled."""
    if not picture.defective:
        return GOOD
    return 0 if picture.label_map is None else int(picture.label_map.max())


def _decoded(sample: Sample) -> Picture:
    pixels = sample.pixels()
    return Picture(pixels, sample.label_map(pixels.shape), sample.defective)


def _scaled(picture: Picture, pixel_scale: float) -> Picture:
    if pixel_scale == 1:
        return picture
    size = [max(1, round(side * pixel_scale)) for side in picture.pixels.shape[::-1]]
    interpolation = cv2.INTER_AREA if pixel_scale < 1 else cv2.INTER_LINEAR
    pixels = cv2.resize(picture.pixels, size, interpolation=interpolation)
    label_map = picture.label_map
    if label_map is not None:
        label_map = np.asarray(cv2.resize(label_map, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return Picture(np.asarray(pixels, np.uint8), label_map, picture.defective)


def _tensors(pixels: Pixels, label_map: Pixels, known: bool, defective: bool) -> Batch:
    return {
        "pixels": torch.from_numpy(np.ascontiguousarray(pixels)),
        "label_map": torch.from_numpy(np.ascontiguousarray(label_map)),
        "mask_known": torch.tensor(known),
        "defective": torch.tensor(float(defective)),
    }
