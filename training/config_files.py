"""Reads configurations, and adds what a stage inherits from the one that it starts from."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from app.inspection.rules.plain_yaml import PlainLoader
from training.config import Config, ConfigError, FitConfig, ModelConfig, RunConfig, StageName
from training.labels import LabelsConfig

# Model settings that may differ from those of the weights to start from; a different kind of decoder is
# initialised from scratch.
ADAPTABLE = frozenset({"decoder", "decoder_channels", "dropout", "tile", "overlap", "pixel_scale", "flips"})


class LabelsFile(BaseModel):
    """A file with only the key `labels`."""

    model_config = ConfigDict(extra="forbid")
    labels: LabelsConfig


AnyConfig = TypeVar("AnyConfig", Config, RunConfig, LabelsFile)


def load_config(path: Path) -> Config:
    """Read a YAML configuration; raises ConfigError with the file, the field and its allowed values."""
    return _load(path, Config)


def labels_of(path: Path | None) -> LabelsConfig:
    """The `labels` of a configuration's last stage, or of a file with nothing else; the default for None."""
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
    """Read the configuration that a stage was run with; raises ConfigError like `load_config`."""
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
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: for example a 13th month
        raise ConfigError(f"{path} is not YAML: {error}") from error


def _validated(kind: type[AnyConfig], values: Any, where: str) -> AnyConfig:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(lines)) from error


def settle(config: Config, stage: StageName, name: str, start: RunConfig | None) -> RunConfig:
    """Return the complete configuration of a stage; unset values come from `start`, if given.

    Inherited are the model and the settings of the fit; `inherited` lists them.
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
    """The model of `start` with the allowed changes; raises ConfigError for one that its weights forbid."""
    model = start.model.model_dump()
    for key in wanted.keys() - ADAPTABLE:
        if _is_other(key, wanted[key], start.model):
            raise ConfigError(
                f"model.{key} is {wanted[key]}, but {start.name} {start.version}, whose weights this stage "
                f"starts from, has {model[key]}; leave it out, or start from another bundle"
            )
    return model | {key: wanted[key] for key in wanted.keys() & ADAPTABLE}


def _is_other(key: str, value: Any, model: ModelConfig) -> bool:
    """Whether a setting differs from the model's; a bundle records only the name of a weights file."""
    if key == "weights":
        return Path(value).name != Path(model.weights).name
    return bool(value != getattr(model, key))


def _continued(before: FitConfig, own: dict[str, Any]) -> dict[str, Any]:
    """The settings of a fit: those of `before`, replaced by its own; so are the settings of the loss.

    The strategy `scratch` is not inherited, because it would discard the weights that the stage starts from.
    """
    fit = before.model_dump()
    if before.strategy == "scratch":
        fit["strategy"] = FitConfig().strategy
    return fit | own | {"loss": fit["loss"] | own.get("loss", {})}


def inherited(config: Config, run: RunConfig, start: RunConfig) -> str:
    """One line with the settings that a stage inherited, and those that it sets itself."""
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
