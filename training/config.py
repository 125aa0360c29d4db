"""What a training run may set; frozen, unknown keys refused."""

from pathlib import Path
from typing import Annotated, Literal, Self

import segmentation_models_pytorch as smp
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the field and what it may be."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitConfig(_Frozen):
    """Shares of the four splits; `by: picture` leaks re-photographed parts and is for comparison only."""

    by: Literal["group", "picture"] = "group"
    seed: int = 1
    train: float = Field(default=0.55, gt=0, lt=1)
    validation: float = Field(default=0.10, gt=0, lt=1)
    calibration: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.20, gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError("train + validation + calibration + test must be 1")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Share of pictures by split name."""
        return {
            "train": self.train,
            "validation": self.validation,
            "calibration": self.calibration,
            "test": self.test,
        }


class ModelConfig(_Frozen):
    """The UNet: any encoder name of segmentation-models-pytorch, ImageNet weights or none."""

    encoder: str = "tu-tf_efficientnet_lite0"
    weights: Literal["imagenet", "none"] = "imagenet"
    decoder_channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(256, 128, 64, 32, 16), min_length=1, max_length=5
    )
    dropout: float = Field(default=0.2, ge=0, lt=1)
    tile: int = Field(default=384, ge=64, multiple_of=32)
    overlap: int = Field(default=96, ge=0)
    pixel_scale: float = Field(default=1.0, gt=0, le=4)

    @field_validator("encoder")
    @classmethod
    def _encoder_is_known(cls, name: str) -> str:
        # Names with tu- are timm's, which only building the encoder can tell.
        if not name.startswith("tu-") and name not in smp.encoders.get_encoder_names():
            raise ValueError(
                f"unknown encoder {name}; use an encoder of segmentation-models-pytorch, "
                "such as tu-tf_efficientnet_lite0 or resnet18"
            )
        return name

    @model_validator(mode="after")
    def _overlap_leaves_a_step(self) -> Self:
        if self.overlap * 2 > self.tile:
            raise ValueError("overlap must be at most half of tile")
        return self


class StageConfig(_Frozen):
    """One fit: AdamW with a one-cycle learning rate over `steps` batches."""

    steps: int = Field(default=2500, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_share: float = Field(default=0.3, gt=0, lt=1, description="of the steps, before the peak rate")
    weight_decay: float = Field(default=1e-2, ge=0)
    image_loss_weight: float = Field(default=0.5, ge=0)
    defective_share: float = Field(default=0.5, gt=0, lt=1)
    generated_pictures: int = Field(default=0, ge=0)
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    validate_every: int = Field(default=100, ge=1)
    patience: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _validated_at_least_once(self) -> Self:
        if self.validate_every > self.steps:
            raise ValueError("validate_every must be at most steps, or no checkpoint is ever chosen")
        return self


class OperatingPointConfig(_Frozen):
    """How thresholds are chosen on the calibration split."""

    beta: float = Field(default=1.0, gt=0, description="F-beta of the picture-level call")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class Config(_Frozen):
    """A whole run: which stages, on what split, into which bundle."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]*$")
    description: str = ""
    note: str = Field(default="", description="what the model card should say of this run")
    seed: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    large: StageConfig | None = None
    small: StageConfig = StageConfig()
    operating_point: OperatingPointConfig = OperatingPointConfig()
    right_golden: bool = Field(
        default=True,
        description="whether golden samples must be judged rightly; false only to try the pipeline",
    )

    @model_validator(mode="after")
    def _generated_pictures_have_the_small_sets_classes(self) -> Self:
        if self.large is not None and self.large.generated_pictures:
            raise ValueError(
                "large.generated_pictures must be 0: generated masks have the small set's classes"
            )
        return self


def load_config(path: Path) -> Config:
    """Read a YAML configuration; raises ConfigError naming the file, the field and what it may be."""
    try:
        return Config.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{path}: " + "; ".join(lines)) from error
