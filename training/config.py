"""The configuration of a training run; frozen, unknown keys are refused.

A configuration file describes one or two stages: `large`, and `small`, which starts from it. `RunConfig` is
the configuration of one stage after defaults and inheritance.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.inspection.results import Severity
from app.inspection.rules.trade_off import By, Mode
from training.encoders import canonical, check_licence
from training.labels import LabelsConfig

NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
StageName = Literal["large", "small"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
ArtifactName = Literal["fp32", "fp16", "int8"]
StrategyName = Literal["full", "decoder", "gradual", "layerwise", "scratch", "svm"]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the field and its allowed values."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitConfig(_Frozen):
    """Shares of the four splits, to which groups are assigned by hash.

    With `by: picture`, images of one part are in several splits; it is for comparison only.

    With `test: published`, the images outside the published training split are the test split, and other
    images of their groups are in no split.
    """

    by: Literal["group", "picture"] = "group"
    seed: int = Field(default=1, ge=0)
    train: float = Field(default=0.55, gt=0, lt=1)
    train_share: float = Field(
        default=1.0, gt=0, le=1, description="share of training groups of each class, for learning curves"
    )
    validation: float = Field(default=0.10, gt=0, lt=1)
    calibration: float = Field(default=0.15, gt=0, lt=1)
    test: Annotated[float, Field(gt=0, lt=1)] | Literal["published"] = 0.20
    folds: int | None = Field(
        default=None,
        ge=3,
        le=20,
        description="cross-fitting: train on all images; thresholds and figures come from this number of "
        "folds instead of the four shares",
    )

    @model_validator(mode="after")
    def _holds_all_images_once(self) -> Self:
        if self.folds is not None and self.test == "published":
            raise ValueError("folds use all images, but a published test split is left out: set only one")
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"{' + '.join(self.shares)} must be 1")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Share of images by split name, without `test` if that is published."""
        shares = {"train": self.train, "validation": self.validation, "calibration": self.calibration}
        return shares if self.test == "published" else shares | {"test": self.test}


class ModelConfig(_Frozen):
    """The UNet: any encoder of segmentation-models-pytorch or timm, or one of `encoders.ALIASES`."""

    encoder: str = "tu-tf_efficientnet_lite0"
    weights: str = Field(default="imagenet", min_length=1, description="imagenet, none, or a file's path")
    allow_noncommercial_weights: bool = False
    decoder_channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(256, 128, 64, 32, 16), min_length=1, max_length=5
    )
    decoder: Literal["full", "separable"] = Field(default="full", description="kind of convolutions")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    tile: int = Field(default=384, ge=64, multiple_of=32)
    overlap: int = Field(default=96, ge=0)
    pixel_scale: float = Field(default=1.0, gt=0, le=4)
    flips: Literal[1, 2, 4] = Field(default=1, description="flips of a tile that the graph averages over")

    @field_validator("encoder")
    @classmethod
    def _encoder_is_known(cls, name: str) -> str:
        return canonical(name)

    @model_validator(mode="after")
    def _weights_may_be_used(self) -> Self:
        if self.weights == "imagenet" and not self.allow_noncommercial_weights:
            check_licence(self.encoder)
        return self

    @model_validator(mode="after")
    def _overlap_leaves_a_step(self) -> Self:
        if self.overlap * 2 > self.tile:
            raise ValueError("overlap must be at most half of tile")
        return self


class LossConfig(_Frozen):
    """The loss of pixels and regions by name, and optional additions; a kind uses only its own weights."""

    kind: Literal["bce-dice", "focal", "tversky", "focal-tversky", "boundary"] = "bce-dice"
    focal_gamma: float = Field(default=2.0, ge=1, description="focal: exponent; down-weights easy pixels")
    focal_alpha: float = Field(default=0.25, gt=0, lt=1, description="focal: weight of defect pixels")
    tversky_alpha: float = Field(default=0.3, gt=0, description="tversky kinds: weight of false positives")
    tversky_beta: float = Field(default=0.7, gt=0, description="tversky kinds: weight of false negatives")
    tversky_gamma: float = Field(default=4 / 3, ge=1, le=3, description="focal-tversky: exponent 1 / gamma")
    boundary_weight: float = Field(default=1.0, ge=0, description="boundary: weight of the boundary loss")
    head_smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="smoothing of the head's labels")
    agreement: float = Field(default=0.0, ge=0, description="weight of the agreement of head and mask")


class FitConfig(_Frozen):
    """One fit: AdamW with a one-cycle learning rate over `steps` batches."""

    strategy: StrategyName = "full"
    layer_decay: float = Field(
        default=0.7, gt=0, le=1, description="layerwise: learning rate relative to the next deeper level"
    )
    unfreeze_share: float = Field(
        default=0.5, gt=0, le=1, description="gradual: share of the steps until the whole encoder is trained"
    )
    steps: int = Field(default=2500, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_share: float = Field(default=0.3, gt=0, lt=1, description="share of the steps before the peak")
    weight_decay: float = Field(default=1e-2, ge=0)
    image_loss_weight: float = Field(default=0.5, ge=0)
    loss: LossConfig = LossConfig()
    augmentation: Literal["light", "standard", "strong"] = "standard"
    defective_share: float = Field(default=0.5, gt=0, lt=1)
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    validate_every: int = Field(default=100, ge=1)
    patience: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _validated_at_least_once(self) -> Self:
        if self.validate_every > self.steps:
            raise ValueError("validate_every must be at most steps, or no checkpoint can be chosen")
        return self


class CostConfig(_Frozen):
    """Costs of errors, in any currency; `defective_share` is that of the line, by default of the split."""

    escape: float = Field(gt=0, description="cost of an escape")
    overkill: float = Field(gt=0, description="cost of an overkill")
    defective_share: float | None = Field(default=None, gt=0, lt=1)


class OperatingPointConfig(_Frozen):
    """How thresholds are chosen on the calibration split.

    At most one of `max_escape`, `max_overkill` and `cost` determines the image threshold. Without any, it is
    the threshold with the best F-beta by image.
    """

    beta: float = Field(default=1.0, gt=0, description="beta of the F-beta by image")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_area_px: int = Field(
        default=9, ge=1, description="least area of a defect; about 3 px across, as resolved by the optics"
    )
    max_escape: float | None = Field(default=None, gt=0, lt=1, description="escape rate to prove")
    max_overkill: float | None = Field(default=None, gt=0, lt=1, description="overkill rate to prove")
    cost: CostConfig | None = None
    by: By = Field(default="group", description="unit of escapes and overkills; F-beta always uses images")

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        asked = [name for name in ("max_escape", "max_overkill", "cost") if getattr(self, name) is not None]
        asked += ["beta"] if self.beta != 1 else []
        if len(asked) > 1:
            raise ValueError(f"{' and '.join(asked)} are set; set only one of them")
        return self

    @property
    def mode(self) -> Mode:
        """How the image threshold is chosen."""
        if self.max_escape is not None:
            return "max-escape"
        if self.max_overkill is not None:
            return "max-overkill"
        return "max-f1" if self.cost is None else "cost"


class GeneratedConfig(_Frozen):
    """Generated images besides the real ones: for training, for golden samples, and as a separate test set.

    `classes` maps generated classes to classes of the data set. A class without an entry keeps its name, and
    is added to the classes of the data set if it is new.
    """

    kind: Literal["tiles", "surfaces"]
    pictures: int = Field(default=0, ge=0, description="number in training")
    drawn_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of training tiles that are of generated images; null: by their number",
    )
    defective_share: float = Field(default=0.5, gt=0, lt=1)
    classes: dict[str, str] = {}


class TransplantConfig(_Frozen):
    """Defects of the training split transplanted to its own good images, and their filter."""

    pictures: int = Field(ge=1, description="largest number in training")
    quantile: float | None = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of real defects that may be less plausible than the kept ones; null: no filter",
    )


class GateConfig(_Frozen):
    """How the limits of the input gate are fitted to the training images."""

    false_alarm_rate: float = Field(
        default=0.01, gt=0, le=0.1, description="share of ordinary images that all checks together may stop"
    )
    pictures: int = Field(default=2000, ge=40, description="largest number of training images used")
    size_margin: float = Field(
        default=0.1, ge=0, lt=1, description="relative margin around the image sides seen in training"
    )


class StageConfig(_Frozen):
    """One stage: its images, its fit, and the bundle that it makes.

    `name` is that of the bundle, by default that of the data folder. `layout` is that of the data, by default
    detected. `severity` is by default `major`.
    """

    name: str | None = Field(default=None, pattern=NAME)
    version: str = Field(default="1", pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,63}$")
    description: str = ""
    note: str = Field(default="", description="text about this run in the model card")
    layout: str | None = None
    labels: LabelsConfig = LabelsConfig()
    severity: dict[str, Severity] = {}
    split: SplitConfig = SplitConfig()
    generated: GeneratedConfig | None = None
    transplants: TransplantConfig | None = None
    gate: GateConfig | None = Field(default=GateConfig(), description="null: no input gate")
    fit: FitConfig = FitConfig()
    artifacts: tuple[ArtifactName, ...] = Field(
        default=("fp32",), description="graphs to make: fp32 always; others are kept only within their budget"
    )
    test_parity: bool = Field(
        default=True, description="whether torch and every artifact are compared on the whole test split"
    )
    right_golden: bool = Field(
        default=True,
        description="whether golden samples must be inspected correctly; false only to try the pipeline",
    )


class _Shared(_Frozen):
    seed: int = Field(default=1, ge=0, lt=2**32)
    precision: Precision = "bf16-mixed"
    devices: int = Field(default=1, ge=1, description="GPUs, or CPU processes without a GPU")
    workers: int = Field(default=0, ge=0, description="processes per device that augment images")
    model: ModelConfig = ModelConfig()
    operating_point: OperatingPointConfig = OperatingPointConfig()


class Config(_Shared):
    """A configuration file: shared settings, and the stages."""

    large: StageConfig | None = None
    small: StageConfig | None = None

    @model_validator(mode="after")
    def _has_a_stage(self) -> Self:
        if self.large is None and self.small is None:
            raise ValueError("name at least one stage, large or small")
        return self


class RunConfig(_Shared, StageConfig):
    """The complete configuration of one stage; written to the run's folder and beside published weights."""

    stage: StageName
    name: str = Field(pattern=NAME)

    @model_validator(mode="after")
    def _batch_is_divided_evenly(self) -> Self:
        if (size := self.fit.batch_size) % self.devices:
            raise ValueError(f"fit.batch_size {size} must be a multiple of devices, {self.devices}")
        return self
