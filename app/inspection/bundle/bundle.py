"""The bundle: a folder with ONNX graphs and, in `bundle.json`, all that is needed to run them.

Graph contract, checked when a session is made: input `pixels` uint8 [batch, tile_height, tile_width, C];
outputs `mask_probability` uint8 [batch, K, tile_height, tile_width] (255 is probability 1),
`image_probability` float32 [batch] and, where the artifact has an input gate, `features` float32 [batch,
F].
"""

import hashlib
import stat
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, PrivateAttr, ValidationError, model_validator

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.golden import GoldenSample, GoldenSetting, GoldenTolerance, ToleranceAtHome
from app.inspection.bundle.graph import check_graph
from app.inspection.errors import BundleCorrupt, BundleInvalid, RecipeError
from app.inspection.repeats import repeated
from app.inspection.results import Severity
from app.inspection.rules.recipe import Recipe, check_classes, describe, parse_recipe
from app.inspection.types import BundlePart, Name, Sha256

MANIFEST = "bundle.json"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_FILE_BYTES = 1024 * 1024 * 1024


class DefectClass(BundlePart):
    """A defect class of the model; its position in the list, from 1, is its value in label maps."""

    name: Name
    severity: Severity


class InputContract(BundlePart):
    """The graph's input: tiles of one size at the pixel scale used in training."""

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


class DataSource(BundlePart):
    """One set of training images."""

    name: str
    pictures: Annotated[int, Field(ge=0)]
    licence: str
    citation: str


class TrainingSummary(BundlePart):
    """The data and the stages that the model was trained with."""

    data: tuple[DataSource, ...]
    stages: tuple[str, ...]
    seed: int
    note: str


class Bundle(BundlePart):
    """A published model; read it with `Bundle.load`, which checks every file against its hash."""

    schema_version: Literal[3]
    name: Name
    version: Name
    created: AwareDatetime
    description: str
    classes: Annotated[tuple[DefectClass, ...], Field(min_length=1, max_length=254)]
    input: InputContract
    artifacts: Annotated[tuple[Artifact, ...], Field(min_length=1, max_length=3)]
    recipe: str
    recipe_sha256: Sha256
    golden: Annotated[tuple[GoldenSample, ...], Field(max_length=1000)]
    golden_origin: Literal["generated", "own"] = "generated"
    golden_tolerance: GoldenTolerance = GoldenTolerance()
    golden_tolerance_at_home: ToleranceAtHome = ToleranceAtHome()
    golden_settings: tuple[GoldenSetting, ...] = ()
    training: TrainingSummary
    tools: dict[str, str]

    _directory: Path = PrivateAttr()
    _manifest_sha256: str = PrivateAttr()
    _default_recipe: Recipe = PrivateAttr()

    @classmethod
    def load(cls, directory: Path) -> "Bundle":
        """Read and check a bundle.

        Raises BundleInvalid (schema, graphs, recipe) or BundleCorrupt (files, hashes).
        """
        try:
            text = _read_regular(directory / MANIFEST, MAX_MANIFEST_BYTES)
        except OSError as error:
            raise BundleCorrupt(f"{directory} holds no readable {MANIFEST}: {error}") from error
        try:
            bundle = cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise BundleInvalid(f"{directory / MANIFEST}: {describe(error)}") from error
        bundle._directory = directory
        bundle._manifest_sha256 = hashlib.sha256(text).hexdigest()
        graphs = {each.file for each in bundle.artifacts}
        for file in bundle.hashes:
            content = bundle.read(file)
            if file in graphs:
                check_graph(content, file)
        bundle._default_recipe = bundle._read_recipe()
        return bundle

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Bundle":
        artifacts = [each.name for each in self.artifacts]
        for what, names in (("classes", self.class_names), ("artifacts", artifacts)):
            if repeated(names):
                raise ValueError(f"{what} must have different names, not {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _golden_answers_have_every_class(self) -> "Bundle":
        answers = [answer for sample in self.golden for answer in sample.answers]
        if any(len(each.mean_levels) != len(self.classes) for each in answers):
            raise ValueError(f"mean_levels of a golden answer must have all {len(self.classes)} classes")
        return self

    @model_validator(mode="after")
    def _every_class_is_calibrated_or_none(self) -> "Bundle":
        if any(len(each.calibration.classes) not in (0, len(self.classes)) for each in self.artifacts):
            raise ValueError(
                f"calibration.classes must be one curve for each of the {len(self.classes)} classes, or none"
            )
        return self

    @model_validator(mode="after")
    def _all_artifacts_have_a_gate_or_none(self) -> "Bundle":
        without = [each.name for each in self.artifacts if each.gate is None]
        if without and len(without) < len(self.artifacts):
            raise ValueError(f"all artifacts must have an input gate or none: {', '.join(without)} has none")
        return self

    @property
    def directory(self) -> Path:
        """Where the bundle was loaded from."""
        return self._directory

    @property
    def manifest_sha256(self) -> str:
        """Identifies the bundle: the manifest contains the hashes of all other files."""
        return self._manifest_sha256

    @property
    def class_names(self) -> tuple[str, ...]:
        """The defect classes in label map order: the first is 1."""
        return tuple(each.name for each in self.classes)

    @property
    def severities(self) -> dict[str, Severity]:
        """The severity of each defect class."""
        return {each.name: each.severity for each in self.classes}

    @property
    def default_recipe(self) -> Recipe:
        """The recipe in force for a request that names none."""
        return self._default_recipe

    @property
    def hashes(self) -> dict[str, str]:
        """The published SHA-256 of every file of the bundle."""
        files = {each.file: each.sha256 for each in self.artifacts} | {self.recipe: self.recipe_sha256}
        for sample in self.golden:
            files |= {sample.image: sample.image_sha256, sample.mask: sample.mask_sha256}
            files |= {each.mask: each.mask_sha256 for each in sample.answers}
        gates = [each.gate for each in self.artifacts if each.gate is not None]
        return files | {each.features: each.features_sha256 for each in gates}

    def golden_setting(self, artifact: str) -> GoldenSetting | None:
        """The setting of an artifact's golden answers; None if it has none."""
        return next((each for each in self.golden_settings if each.artifact == artifact), None)

    def read(self, file: str) -> bytes:
        """Read a file and check its hash; raises BundleCorrupt or BundleInvalid."""
        try:
            path = (self._directory / file).resolve()
        except (ValueError, RuntimeError) as error:  # a NUL in the name; a loop of symbolic links
            raise BundleInvalid(f"{MANIFEST} names {file!r}, not a file name: {error}") from error
        if not path.is_relative_to(self._directory.resolve()):
            raise BundleInvalid(f"{MANIFEST} names {file}, which is outside the bundle")
        try:
            content = _read_regular(path, MAX_FILE_BYTES)
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


def _read_regular(path: Path, most: int) -> bytes:
    """A file's bytes, at most `most`; raises OSError, also for a pipe or device, which could block."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path} is not a regular file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"{path} has more than {most} bytes")
    return content
