"""Settings: one class, read from environment variables that start with `PASSLINE_`."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "PASSLINE_"
MIB = 1024 * 1024
# Where the tests find real pictures: whoever runs them may serve from the same shell.
NOT_OURS = frozenset({"PASSLINE_DATA"})

Positive = Annotated[int, Field(ge=1)]


class UnknownSetting(ValueError):
    """The environment holds a variable with our prefix that is no setting."""


class Settings(BaseSettings):
    """Every setting of the service; `docs/settings.md` is checked against this class."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    bundle_dir: Path = Field(
        default=Path("models/magnetic-tile/2"),
        description="Folder of the bundle to serve, the one with `bundle.json`.",
    )
    recipes_dir: Path | None = Field(
        default=None,
        description="Folder of recipes (`*.yaml`, `*.yml`, `*.json`) known besides the bundle's own."
        " All are read at start; one invalid recipe keeps the service from becoming ready.",
    )
    default_recipe: str | None = Field(
        default=None,
        description="Name of the recipe for requests that name none; unset: the bundle's own recipe.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="`auto`: the best execution provider that loads; `cpu`; `cuda`: TensorRT or CUDA,"
        " and no readiness without one of them.",
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen on; `0.0.0.0` for every network of the box."
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8000, description="TCP port to listen on; 0 takes a free one, which the start message names."
    )
    threads: Positive | None = Field(
        default=None,
        description="Threads that one model run may use on the CPU; unset: ONNX Runtime decides.",
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=2,
        description="Pictures inspected at the same time; a second one overlaps decoding with the model run.",
    )
    queue_size: Positive = Field(
        default=32,
        description="Inspections waiting or running at once; one more is refused with `overloaded`.",
    )
    deadline_ms: Positive = Field(
        default=30_000,
        description="Time for one inspection from the request's arrival; `X-Deadline-Ms` overrides it.",
    )
    batch_deadline_ms: Positive = Field(
        default=300_000,
        description="Time for one whole batch from the request's arrival; `X-Deadline-Ms` overrides it.",
    )
    upload_timeout_ms: Positive = Field(default=60_000, description="Time for a request's body to arrive.")
    max_upload_bytes: Positive = Field(
        default=32 * MIB,
        description="Largest body of one inspection: the picture and, if sent, its reference mask.",
    )
    max_batch_bytes: Positive = Field(default=128 * MIB, description="Largest body of one batch.")
    max_batch_images: Positive = Field(default=64, description="Most pictures in one batch.")
    upload_memory_bytes: Positive = Field(
        default=512 * MIB,
        description="Memory for the bodies of all requests together; more is refused with `overloaded`.",
    )
    max_pixels: Positive = Field(
        default=64_000_000,
        description="Most pixels (width x height) of a picture, checked before any is decoded.",
    )
    keep_alive_s: Positive = Field(
        default=75, description="Time an idle connection is kept open for the next request."
    )
    shutdown_grace_s: Positive = Field(
        default=30,
        description="Time that requests in progress have to finish when the service is told to stop.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least severe log lines written; probes and metrics are logged at `debug`.",
    )

    @model_validator(mode="after")
    def _bodies_fit_in_memory(self) -> Self:
        if self.upload_memory_bytes < max(self.max_upload_bytes, self.max_batch_bytes):
            raise ValueError(
                "upload_memory_bytes must be at least max_upload_bytes and max_batch_bytes,"
                " or their largest bodies could never be accepted"
            )
        return self

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment; raises UnknownSetting (a misspelt variable) or ValidationError (a value)."""
        refuse_unknown(os.environ)
        return cls()


def variable(field: str) -> str:
    """The environment variable that sets a field of Settings."""
    return PREFIX + field.upper()


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Raise UnknownSetting if a variable has our prefix but is no setting.

    A typo that is merely ignored can serve the wrong device or the wrong recipes without anyone noticing.
    """
    known = {variable(field) for field in Settings.model_fields}
    ours = {name for name in environment if name.upper().startswith(PREFIX)} - NOT_OURS
    unknown = sorted(name for name in ours if name.upper() not in known)
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0].upper(), known, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists the settings."
    raise UnknownSetting(f"no setting is called {', '.join(unknown)}; {hint}")
