"""The bundle: a directory with ONNX graphs and, in `bundle.json`, everything needed to use them honestly.

Graph contract, checked when a session is made: input `pixels` uint8 [batch, tile_height, tile_width, C];
outputs `mask_probability` uint8 [batch, K, tile_height, tile_width] (255 is certain) and `image_probability`
float32 [batch].
"""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from app.inspection.errors import BundleCorrupt, BundleInvalid, RecipeError
from app.inspection.recipe import Recipe, check_classes, describe, parse_recipe
from app.inspection.results import Verdict

MANIFEST = "bundle.json"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]  # 0 would call every pixel a defect
Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Part(BaseModel):
    """Base of everything in `bundle.json`: frozen, and a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DefectClass(Part):
    """A kind of defect the model tells apart; its place in the list, from 1, is its value in label maps."""

    name: Name
    severity: Literal["minor", "major", "critical"]


class InputContract(Part):
    """How a picture must be laid before the graph: tiles of one shape at the trained pixel scale."""

    tile_height: Annotated[int, Field(ge=8, le=4096)]
    tile_width: Annotated[int, Field(ge=8, le=4096)]
    overlap: Annotated[int, Field(ge=0)]
    colour: Literal["gray", "rgb"]
    pixel_scale: Annotated[float, Field(gt=0, le=16)] = 1.0
    padding: Literal["reflect"] = "reflect"
    min_side_px: Annotated[int, Field(ge=1)]

    @property
    def channels(self) -> int:
        """Colour channels of the graph's input."""
        return 1 if self.colour == "gray" else 3

    @model_validator(mode="after")
    def _overlap_leaves_a_step(self) -> "InputContract":
        if self.overlap * 2 > min(self.tile_height, self.tile_width):
            raise ValueError("overlap must be at most half of the tile's shorter side")
        return self


class ExpectedRates(Part):
    """Escape and overkill rates measured at an operating point, with their intervals (low, high)."""

    split: str
    confidence: Share
    defective: Annotated[int, Field(ge=0)]
    good: Annotated[int, Field(ge=0)]
    escape_rate: Share
    escape_interval: tuple[Share, Share]
    overkill_rate: Share
    overkill_interval: tuple[Share, Share]


class OperatingPoint(Part):
    """The thresholds in force for one artifact; `expected` is None only while a bundle is being made."""

    image_threshold: Threshold
    pixel_threshold: Threshold
    min_area_px: Annotated[int, Field(ge=0)]
    expected: ExpectedRates | None = None


class Artifact(Part):
    """One ONNX graph, the execution providers (ONNX Runtime's names) it is meant for, its thresholds."""

    name: Literal["fp32", "fp16", "int8"]
    file: str
    sha256: Sha256
    providers: Annotated[tuple[str, ...], Field(min_length=1)]
    operating_point: OperatingPoint


class Curve(Part):
    """How the probabilities of one output are bent so that they mean frequencies.

    By a temperature, p' = sigmoid(logit(p) / T), or, where there are `levels`, along the straight lines
    between these (level, probability) points, and flat beyond them.
    """

    temperature: Temperature = 1.0
    levels: tuple[Annotated[int, Field(ge=0, le=255)], ...] = ()
    probabilities: tuple[Share, ...] = ()

    @model_validator(mode="after")
    def _rises(self) -> "Curve":
        if len(self.levels) != len(self.probabilities):
            raise ValueError("levels and probabilities must be equally many")
        if any(low >= high for low, high in pairwise(self.levels)):
            raise ValueError("levels must rise")
        if any(low > high for low, high in pairwise(self.probabilities)):
            raise ValueError("probabilities must not fall, or calibration would change the order of pixels")
        return self

    def table(self) -> NDArray[np.float32]:
        """The calibrated probability of each of the 256 levels, float32 [256]."""
        if self.levels:
            return np.interp(np.arange(256), self.levels, self.probabilities).astype(np.float32)
        level = np.arange(256) / 255.0
        with np.errstate(divide="ignore"):  # levels 0 and 255 are minus and plus infinity, and stay 0 and 1
            logit = np.log(level) - np.log1p(-level)
            return np.asarray(1.0 / (1.0 + np.exp(-logit / self.temperature)), dtype=np.float32)


class ProbabilityCalibration(Part):
    """What makes probabilities mean frequencies: of each class, of any defect, and of the picture.

    `mask_temperature` is that of any defect where `any_defect` is not given. `classes` is empty or has one
    curve for each class. The image probability counts as the nearest of 256 levels.
    """

    mask_temperature: Temperature = 1.0
    any_defect: Curve | None = None
    classes: tuple[Curve, ...] = ()
    image: Curve = Curve()

    def mask_table(self) -> NDArray[np.float32]:
        """The calibrated any-defect probability of each level of the most probable class, float32 [256]."""
        return (self.any_defect or Curve(temperature=self.mask_temperature)).table()


class GoldenSample(Part):
    """A generated picture with the label map, verdict and image probability the bundle must reproduce."""

    image: str
    image_sha256: Sha256
    mask: str
    mask_sha256: Sha256
    verdict: Verdict
    image_probability: Share


class GoldenTolerance(Part):
    """How far a golden sample may be missed, so that providers and artifacts can round differently."""

    min_mask_iou: Share = 0.95
    max_image_probability_difference: Share = 0.05


class DataSource(Part):
    """One set of training pictures."""

    name: str
    pictures: Annotated[int, Field(ge=0)]
    licence: str
    citation: str


class TrainingSummary(Part):
    """What the model was trained on, and how."""

    data: tuple[DataSource, ...]
    stages: tuple[str, ...]
    seed: int
    note: str


class Bundle(Part):
    """A published model; read it with `Bundle.load`, which checks every file against its hash."""

    schema_version: Literal[1]
    name: Name
    version: Name
    created: AwareDatetime
    description: str
    classes: Annotated[tuple[DefectClass, ...], Field(min_length=1, max_length=254)]
    input: InputContract
    artifacts: Annotated[tuple[Artifact, ...], Field(min_length=1)]
    calibration: ProbabilityCalibration = ProbabilityCalibration()
    recipe: str
    recipe_sha256: Sha256
    golden: tuple[GoldenSample, ...]
    golden_tolerance: GoldenTolerance = GoldenTolerance()
    training: TrainingSummary
    tools: dict[str, str]

    _directory: Path = PrivateAttr()
    _default_recipe: Recipe = PrivateAttr()

    @classmethod
    def load(cls, directory: Path) -> "Bundle":
        """Read and check a bundle; raises BundleInvalid (schema, recipe) or BundleCorrupt (files, hashes)."""
        try:
            text = (directory / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleCorrupt(f"{directory} holds no readable {MANIFEST}: {error}") from error
        try:
            bundle = cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise BundleInvalid(f"{directory / MANIFEST}: {describe(error)}") from error
        bundle._directory = directory
        for file in bundle.hashes:
            bundle.read(file)
        bundle._default_recipe = bundle._read_recipe()
        return bundle

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Bundle":
        artifacts = [each.name for each in self.artifacts]
        for what, names in (("classes", self.class_names), ("artifacts", artifacts)):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} must have different names, not {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _every_class_is_calibrated_or_none(self) -> "Bundle":
        if len(self.calibration.classes) not in (0, len(self.classes)):
            raise ValueError(
                f"calibration.classes must be one curve for each of the {len(self.classes)} classes, or none"
            )
        return self

    @property
    def directory(self) -> Path:
        """Where the bundle was loaded from."""
        return self._directory

    @property
    def class_names(self) -> tuple[str, ...]:
        """The defect classes in label map order: the first is 1."""
        return tuple(each.name for each in self.classes)

    @property
    def default_recipe(self) -> Recipe:
        """The recipe in force where a request names none."""
        return self._default_recipe

    @property
    def hashes(self) -> dict[str, str]:
        """The published SHA-256 of every file of the bundle."""
        files = {each.file: each.sha256 for each in self.artifacts} | {self.recipe: self.recipe_sha256}
        for sample in self.golden:
            files |= {sample.image: sample.image_sha256, sample.mask: sample.mask_sha256}
        return files

    def read(self, file: str) -> bytes:
        """A file's bytes, checked against its hash on the way; raises BundleCorrupt or BundleInvalid."""
        path = (self._directory / file).resolve()
        if not path.is_relative_to(self._directory.resolve()):
            raise BundleInvalid(f"{MANIFEST} names {file}, which is outside of the bundle")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleCorrupt(f"{file} of {self._directory} cannot be read: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.hashes[file]:
            raise BundleCorrupt(f"{path} has SHA-256 {found}, but {self.hashes[file]} was published")
        return content

    def _read_recipe(self) -> Recipe:
        try:
            recipe = parse_recipe(self.read(self.recipe).decode(), self.recipe)
            check_classes(recipe, self.class_names)
        except (RecipeError, UnicodeDecodeError) as error:
            raise BundleInvalid(f"the default recipe of {self._directory}: {error}") from error
        return recipe
