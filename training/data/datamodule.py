"""Training tiles with a set share of defective images; validation tiles cut as in the service."""

from collections import Counter
from collections.abc import Sequence

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from app.inspection.bundle.bundle import InputContract
from app.inspection.inference.tiling import cut
from training.config import ModelConfig, RunConfig
from training.data.augment import Augmentation
from training.data.pictures import GOOD, Picture, Pictures, Pixels
from training.data.sample import Bits, defects

Batch = dict[str, torch.Tensor]


def input_contract(model: ModelConfig) -> InputContract:
    """The input contract of a bundle with this model."""
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
    """One augmented tile per drawn image; a tile is defective if its own pixels show a defect.

    The augmentation is seeded by the number of the draw, so a tile does not depend on the worker
    process.
    """

    def __init__(self, pictures: Pictures, drawn: Sequence[int], augment: Augmentation) -> None:
        self._pictures = pictures
        self._drawn = drawn
        self._augment = augment

    def __len__(self) -> int:
        return len(self._drawn)

    def __getitem__(self, draw: int) -> Batch:
        picture = self._pictures[self._drawn[draw]]
        pixels, bits = self._augment(picture.pixels, _bits(picture), draw)
        defective = bool(defects(bits).any()) if picture.known else True
        return _tensors(pixels, bits, picture.known, defective)


class ValidationTiles(Dataset[Batch]):
    """Every tile of every image, with the number of its image."""

    def __init__(self, pictures: Sequence[Picture], contract: InputContract) -> None:
        native = contract.model_copy(update={"pixel_scale": 1.0})  # images are already resized
        self._items: list[tuple[Pixels, Bits, bool, bool, int]] = []
        for number, picture in enumerate(pictures):
            tiles, _ = cut(picture.pixels, native)
            self._items += [
                (tile[..., 0], bits, picture.known, picture.defective, number)
                for tile, bits in zip(tiles, _cut_bits(_bits(picture), native), strict=True)
            ]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Batch:
        pixels, bits, known, defective, number = self._items[index]
        return _tensors(pixels, bits, known, defective) | {"picture": torch.tensor(number)}


class SurfaceDataModule(L.LightningDataModule):
    """Data loaders of one stage; an epoch has `validate_every` batches and is seeded by its number."""

    def __init__(self, train: Pictures, validation: Sequence[Picture], config: RunConfig) -> None:
        super().__init__()
        self._train = train
        self._config = config
        self._weights = torch.tensor(draw_weights(train.strata, config))
        self._validation = ValidationTiles(validation, input_contract(config.model))

    @property
    def validates(self) -> bool:
        """Whether there are validation tiles; there are none if the run trains on all images."""
        return len(self._validation) > 0

    def train_dataloader(self) -> DataLoader[Batch]:
        """Tiles drawn with replacement, `defective_share` of them defective, classes balanced.

        With several devices, all make the same draw, and each takes its part of every batch.
        """
        epoch = self.trainer.current_epoch if self.trainer else 0
        rank, devices = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        seed = self._config.seed * 100_003 + epoch
        torch.manual_seed(seed)  # dropout: a resumed run must repeat the random numbers of this epoch
        fit = self._config.fit
        drawn = torch.multinomial(
            self._weights,
            fit.validate_every * fit.batch_size,
            replacement=True,
            generator=torch.Generator().manual_seed(seed),
        )
        augment = Augmentation(self._config.model.tile, seed, fit.augmentation)
        return DataLoader(
            TrainingTiles(self._train, drawn.tolist(), augment),
            batch_size=fit.batch_size // devices,
            sampler=range(rank, len(drawn), devices),
            num_workers=self._config.workers,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation tiles in image order."""
        return DataLoader(self._validation, batch_size=self._config.fit.batch_size)


def draw_weights(strata: list[int], config: RunConfig) -> list[float]:
    """Sampling weight of each image; generated images, which come last, get their configured share."""
    share, generated = config.fit.defective_share, config.generated
    if generated is None or generated.drawn_share is None or not generated.pictures:
        return _weights(strata, share)
    real, made = strata[: -generated.pictures], strata[-generated.pictures :]
    parts = ((1 - generated.drawn_share, real), (generated.drawn_share, made))
    return [part * weight for part, each in parts for weight in _weights(each, share)]


def _weights(strata: list[int], defective_share: float) -> list[float]:
    """Sampling weight of each image, so that rare and common classes are drawn equally often."""
    counts = Counter(strata)
    classes = len(counts) - (GOOD in counts)
    shares = dict.fromkeys(counts, defective_share / max(1, classes)) | {GOOD: 1 - defective_share}
    return [shares[each] / counts[each] for each in strata]


def _bits(picture: Picture) -> Bits:
    return np.zeros(picture.pixels.shape, np.uint16) if picture.bits is None else picture.bits


def _cut_bits(bits: Bits, contract: InputContract) -> Bits:
    """Class bits cut into tiles, uint16 [N, H, W]; low and high byte are cut like pixels."""
    low, high = (cut(half.astype(np.uint8), contract)[0][..., 0] for half in (bits & 255, bits >> 8))
    return np.asarray(low.astype(np.uint16) | high.astype(np.uint16) << 8, np.uint16)


def _tensors(pixels: Pixels, bits: Bits, known: bool, defective: bool) -> Batch:
    return {
        "pixels": torch.from_numpy(np.ascontiguousarray(pixels)),
        "class_bits": torch.from_numpy(bits.astype(np.int32)),  # torch supports few operations on uint16
        "mask_known": torch.tensor(known),
        "defective": torch.tensor(float(defective)),
    }
