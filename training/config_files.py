"""Reads configurations, and settles what a stage takes over from the one that it starts from."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from app.inspection.rules.plain_yaml import PlainLoader
from training.config import Config, ConfigError, FitConfig, ModelConfig, RunConfig, StageName
from training.labels import LabelsConfig

# What a model may change and still start from another's weights; another kind of decoder begins anew.
ADAPTABLE = frozenset({"decoder", "decoder_channels", "dropout", "tile", "overlap", "pixel_scale", "flips"})


class LabelsFile(BaseModel):
    """A file that says how labels are read, and nothing else."""

    model_config = ConfigDict(extra="forbid")
    labels: LabelsConfig


AnyConfig = TypeVar("AnyConfig", Config, RunConfig, LabelsFile)


def load_config(path: Path) -> Config:
    """Read a YAML configuration; raises ConfigError naming the file, the field and what it may be."""
    return _load(path, Config)


def labels_of(path: Path | None) -> LabelsConfig:
    """How a configuration says that the labels of its last stage's set are read; none says nothing.

    The file may also hold nothing but `labels`.
    """
    if path is None:
        return LabelsConfig()
    values = _read(path)
    if isinstance(values, dict) and values.keys() == {"labels"}:
        return _validated(LabelsFile, values, str(path)).labels
    config = _validated(Config, values, str(path))
    stage = config.small or config.large
    assert stage is not None
    return stage.labels


def load_run_config(path: Path) -> RunConfig:
    """Read what a stage was made with; raises ConfigError as `load_config` does."""
    return _load(path, RunConfig)


def _load(path: Path, kind: type[AnyConfig]) -> AnyConfig:
    return _validated(kind, _read(path), str(path))


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), PlainLoader)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: such as a 13th month
        raise ConfigError(f"{path} is not YAML: {error}") from error


def _validated(kind: type[AnyConfig], values: Any, where: str) -> AnyConfig:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(lines)) from error


def settle(config: Config, stage: StageName, name: str, start: RunConfig | None) -> RunConfig:
    """Return what a stage is made with; what it leaves unset it takes from `start`, if it starts from one.

    Taken over are the model and the settings of the fit; `inherited` says which.
    """
    own = config.large if stage == "large" else config.small
    assert own is not None
    shared = config.model_dump(exclude={"large", "small"}, exclude_unset=True)
    values = own.model_dump(exclude_unset=True) | shared | {"stage": stage, "name": own.name or name}
    if start is not None:
        values["model"] = _adapted(start, values.get("model", {}))
        values["fit"] = _continued(start.fit, values.get("fit", {}))
    taken = "" if start is None else f", with what it takes from {start.name} {start.version}"
    return _validated(RunConfig, values, f"stage {stage}{taken}")


def _adapted(start: RunConfig, wanted: dict[str, Any]) -> dict[str, Any]:
    """The model of `start` with what of it may be changed; raises ConfigError for what its weights forbid."""
    model = start.model.model_dump()
    for key in wanted.keys() - ADAPTABLE:
        if _is_other(key, wanted[key], start.model):
            raise ConfigError(
                f"model.{key} is {wanted[key]}, but {start.name} {start.version}, whose weights this stage "
                f"starts from, has {model[key]}; leave it out, or start from another bundle"
            )
    return model | {key: wanted[key] for key in wanted.keys() & ADAPTABLE}


def _is_other(key: str, value: Any, model: ModelConfig) -> bool:
    """Whether a setting is another than the model's; a bundle knows a file of weights by its name alone."""
    if key == "weights":
        return Path(value).name != Path(model.weights).name
    return bool(value != getattr(model, key))


def _continued(before: FitConfig, own: dict[str, Any]) -> dict[str, Any]:
    """The settings of a fit that goes on from another: its own, then those of the loss, then the other's.

    From scratch is never inherited: it would throw away the weights that the stage starts from.
    """
    fit = before.model_dump()
    if before.strategy == "scratch":
        fit["strategy"] = FitConfig().strategy
    return fit | own | {"loss": fit["loss"] | own.get("loss", {})}


def inherited(config: Config, run: RunConfig, start: RunConfig) -> str:
    """Say in one line which settings a stage took from where it starts, and which it set itself."""
    own = config.large if run.stage == "large" else config.small
    assert own is not None
    fit = run.fit.model_dump()
    taken = ", ".join(f"{key} {value}" for key, value in fit.items() if key not in own.fit.model_fields_set)
    mine = ", ".join(f"{key} {fit[key]}" for key in sorted(own.fit.model_fields_set))
    return (
        f"stage {run.stage} takes from {start.name} {start.version}: encoder {run.model.encoder}, "
        f"{run.model.decoder} decoder of {', '.join(map(str, run.model.decoder_channels))} channels, "
        f"tile {run.model.tile}, overlap {run.model.overlap}, pixel_scale {run.model.pixel_scale}, "
        f"{taken or 'no more'}; sets itself: {mine or 'nothing'}"
    )
