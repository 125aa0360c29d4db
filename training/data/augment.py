"""Augmentation of training tiles; the only module that uses albumentations."""

import math
import os
from dataclasses import dataclass
from typing import Any, Literal

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # prevents a network request on import

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.sample import Bits, Pixels, defects

StrengthName = Literal["light", "standard", "strong"]

ON_DEFECT = 0.75  # share of tiles of defective images that are placed on a defect
SURFACE_LEVELS = (25.0, 225.0)  # limits of the exposed surface's median, so that defects do not clip


@dataclass(frozen=True)
class Strength:
    """Strength of the augmentation.

    All values are maxima: rotation and shear in degrees; scale, gain and gamma as a factor, up or down;
    offset in grey levels; light as the depth of uneven illumination; blur as sigma in px; noise as a
    share of the full range. `jpeg` is the lowest quality. `turned` is the share of tiles that are
    rotated, scaled and sheared, `exposed` the share with changed exposure.
    """

    turned: float
    rotation: float
    shear: float
    scale: float
    exposed: float
    gain: float
    gamma: float
    offset: float
    light: float
    blur: float
    noise: float
    jpeg: int


# Six exposures of one magnetic tile differ by a factor of 2.3 in mean level (median of the tiles).
STRENGTHS: dict[StrengthName, Strength] = {
    "light": Strength(0.25, 5, 2, 1.05, 0.5, 1.25, 1.2, 4, 0.05, 0.4, 0.02, 85),
    "standard": Strength(0.5, 10, 4, 1.1, 0.8, 2.0, 1.5, 10, 0.15, 0.6, 0.05, 70),
    "strong": Strength(0.75, 20, 6, 1.25, 0.9, 2.5, 2.0, 15, 0.3, 0.9, 0.06, 50),
}


class Augmentation:
    """Cuts one training tile of `tile` x `tile` px out of an image and augments it.

    Flips and transposes are valid for a surface without a preferred direction. Rotation, scale and blur
    stay small so that a defect of 3 px remains visible. Exposure, uneven light, noise and JPEG
    compression simulate lighting and camera.
    """

    def __init__(self, tile: int, seed: int, strength: StrengthName = "standard") -> None:
        s = STRENGTHS[strength]
        self._seed = seed
        self._compose = A.Compose(
            [
                _CutTile(tile, s),
                _Exposure(s, p=s.exposed),
                A.GaussianBlur(sigma_limit=(0.2, s.blur), blur_limit=0, p=0.15),
                A.GaussNoise(std_range=(0.01, s.noise), p=0.3),
                A.ImageCompression(quality_range=(s.jpeg, 95), p=0.15),
            ],
            seed=seed,
        )

    def __call__(self, pixels: Pixels, bits: Bits, draw: int | None = None) -> tuple[Pixels, Bits]:
        """Return the augmented tile, uint8 [tile, tile], and its class bits, uint16 [tile, tile].

        With the number `draw`, the result does not depend on earlier draws or on the worker process.
        """
        if draw is not None:
            seed = np.random.SeedSequence([self._seed, draw]).generate_state(1)[0]
            self._compose.set_random_seed(int(seed))
        varied = self._compose(image=pixels[..., None], mask=bits)
        return np.asarray(varied["image"], np.uint8)[..., 0], np.asarray(varied["mask"], np.uint16)


class _CutTile(A.DualTransform):  # type: ignore[misc]  # albumentations ships no types
    """Flip, transpose, rotate, scale, shear and crop in one warp; its cost depends only on the tile.

    Most tiles of a defective image are placed so that a random defect pixel lies somewhere in them.
    Beyond the image's edge, pixels are reflected, like the padding in the service.
    """

    def __init__(self, tile: int, strength: Strength) -> None:
        super().__init__(p=1)
        self._tile = tile
        self._strength = strength

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the tile's position: `matrix` [2, 3] maps tile pixels (x, y) to image pixels."""
        rng, bits = self.random_generator, data["mask"]
        linear = self._linear(rng)
        middle = (self._tile - 1) / 2
        seen = _random_defect_pixel(bits, rng) if rng.random() < ON_DEFECT else None
        if seen is None:
            # anywhere inside; a smaller image lies at the tile's top left corner, as in the service
            spare = np.maximum(np.array(bits.shape[::-1]) - self._tile, 0)
            centre = rng.integers(spare + 1) + middle
        else:
            within = rng.integers(0, self._tile, 2)
            centre = seen - linear @ (within - middle)
            centre = np.floor(_inside(centre, bits.shape, middle) - middle) + middle
        matrix = np.column_stack([linear, centre - linear @ np.array([middle, middle])])
        return {"matrix": matrix}

    def apply(self, img: NDArray[Any], matrix: NDArray[np.float64], **_: Any) -> NDArray[Any]:
        """Crop the tile from the image."""
        return self._warp(img, matrix, cv2.INTER_LINEAR)[..., None]

    def apply_to_mask(self, mask: NDArray[Any], matrix: NDArray[np.float64], **_: Any) -> NDArray[Any]:
        """Crop the tile from the class bits, without interpolation."""
        return self._warp(mask, matrix, cv2.INTER_NEAREST)

    def _warp(self, values: NDArray[Any], matrix: NDArray[np.float64], interpolation: int) -> NDArray[Any]:
        size = (self._tile, self._tile)
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(values, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)

    def _linear(self, rng: np.random.Generator) -> NDArray[np.float64]:
        linear = np.diag(rng.choice([-1.0, 1.0], 2))
        if rng.random() < 0.5:
            linear = linear[::-1]
        if rng.random() >= self._strength.turned:
            return linear
        limits = np.radians([self._strength.rotation, self._strength.shear, self._strength.shear])
        turn, *shear = rng.uniform(-limits, limits)
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        shears = np.array([[1, math.tan(shear[0])], [math.tan(shear[1]), 1]])
        return np.asarray(linear @ rotation @ shears / _factor(rng, self._strength.scale))


class _Exposure(A.ImageOnlyTransform):  # type: ignore[misc]
    """Gamma, gain, offset and uneven light; the gain is limited so that the surface does not clip."""

    def __init__(self, strength: Strength, p: float) -> None:
        super().__init__(p=p)
        self._strength = strength

    def apply(self, img: NDArray[np.uint8], **_: Any) -> NDArray[np.uint8]:
        """Change the exposure of grey uint8 [H, W, 1]."""
        rng, s = self.random_generator, self._strength
        levels = 255 * (np.arange(256) / 255) ** _factor(rng, s.gamma)
        corners = rng.uniform(1 - s.light, 1 + s.light, (3, 3)).astype(np.float32)
        light = cv2.resize(corners, img.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        offset = rng.uniform(-s.offset, s.offset)
        median = max(1.0, float(levels[int(np.median(img[::4, ::4]))]))
        low, high = (level - offset for level in SURFACE_LEVELS)
        gain = np.clip(_factor(rng, s.gain), low / median / light.min(), high / median / light.max())
        exposed = (gain * levels).astype(np.float32)[img] * light[..., None] + np.float32(offset)
        return np.asarray(np.clip(np.rint(exposed), 0, 255), np.uint8)


def _factor(rng: np.random.Generator, largest: float) -> float:
    """A log-uniform factor between 1 / largest and largest."""
    return float(largest ** rng.uniform(-1, 1))


def _random_defect_pixel(bits: Bits, rng: np.random.Generator) -> NDArray[np.int64] | None:
    """One pixel (x, y) that shows a defect, or None."""
    marked = np.flatnonzero(defects(bits))  # on booleans, flatnonzero is ten times faster
    if not marked.size:
        return None
    row, column = divmod(int(marked[rng.integers(marked.size)]), bits.shape[1])
    return np.array([column, row])


def _inside(centre: NDArray[np.float64], shape: tuple[int, ...], middle: float) -> NDArray[np.float64]:
    """The centre, moved so that its tile lies inside the image as far as possible."""
    last = np.array(shape[::-1]) - 1 - middle
    return np.asarray(np.clip(centre, middle, np.maximum(last, middle)))
