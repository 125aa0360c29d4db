"""Settings: one class, read from environment variables that start with `PASSLINE_`."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from app.access_settings import AccessSettings
from app.inspection.inference.tensorrt import Engines
from app.keeping_settings import KeepingSettings
from app.setting_types import MIB, Hosts, Origins, Positive, Priorities

PREFIX = "PASSLINE_"
# Read by the tests, to find real images: the same shell may also run the service.
NOT_OURS = frozenset({"PASSLINE_DATA"})

# Settings of earlier versions: the error says where they have gone.
MOVED = frozenset(PREFIX + name for name in ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "RATE_LIMIT_PER_MINUTE"))
FRONT = "docs/deployment.md (A front for the network) shows how to set it up"


class UnknownSetting(ValueError):
    """The environment has a variable with our prefix that is not a setting."""


class PackageMissing(ValueError):
    """A setting needs a package that is not installed."""


class Settings(AccessSettings, KeepingSettings):
    """Every setting of the service; the table of `docs/settings.md` is generated from this class."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    bundle_dir: Path = Field(
        default=Path("models/magnetic-tile/6"),
        description="Folder of the bundle to serve, the one with `bundle.json`.",
    )
    bundles_dir: Path | None = Field(
        default=None,
        description="Folder of bundles, as NAME/VERSION below it, that can be swapped over HTTP while"
        " the service runs; unset: bundles cannot be swapped. After a restart the bundle last promoted is"
        " served, whatever `PASSLINE_BUNDLE_DIR` says.",
    )
    candidate_timeout_s: Positive = Field(
        default=120,
        description="Time for the trial of a candidate: to be loaded, and to inspect all its golden samples,"
        " in a process of its own. After it the process is killed.",
    )
    recipes_dir: Path | None = Field(
        default=None,
        description="Folder of recipes (`*.yaml`, `*.yml`, `*.json`) in addition to the bundle's own."
        " All are read at start; an invalid file prevents the service from becoming ready, and so"
        " does a recipe in force that does not fit the bundle."
        " Every version is stored in the database.",
    )
    default_recipe: str | None = Field(
        default=None,
        description="Name of the recipe for requests that name none; unset: the bundle's own recipe.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="`auto`: the best execution provider that loads; `cpu`; `cuda`: TensorRT or CUDA,"
        " and not ready without one of them.",
    )
    engines_dir: Path | None = Field(
        default=None,
        description="Folder for TensorRT's engines, kept between restarts; unset: TensorRT is not used."
        " A missing engine is built in the background, while the service runs on CUDA, and used from the"
        " next start on; `passline build-engine` builds it in advance.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; `0.0.0.0` for every IPv4 network of the machine, `::` for every"
        " IPv6 and IPv4 network.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8000, description="TCP port to listen on; 0 picks a free one, which the start message names."
    )
    socket: Path | None = Field(
        default=None,
        description="Unix socket to listen on instead of host and port, for a reverse proxy on this machine.",
    )
    auth: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether API keys are required: `on`; `off`; `auto`: unless `PASSLINE_HOST` is a loopback"
        " address, which only this machine reaches, and `PASSLINE_SOCKET` is unset.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="File of API keys, which `passline keys` writes; read again when it changes."
        " If it is unset, missing or unreadable while keys are required, every key is refused.",
    )
    allowed_origins: Origins = Field(
        default=None,
        description="Origins whose pages may call the service from a browser (CORS), separated by commas,"
        " such as `http://hmi.plant:3000,https://mes.plant`; unset: only the service's own.",
    )
    allowed_hosts: Hosts = Field(
        default=None,
        description="Host names, separated by commas, that `Host` may contain besides `localhost` and"
        " loopback addresses if no keys are required.",
    )
    threads: Positive | None = Field(
        default=None,
        description="CPU threads that model runs share; unset: the number of cores of the machine, or of the"
        " container's quota.",
    )
    workers: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None,
        description="Images processed at the same time; unset: as many as there are threads for model runs,"
        " and two more whose decoding and encoding overlap with model runs.",
    )
    camera_priorities: Priorities = Field(
        default={},
        description="Priorities of cameras, as JSON by `camera_id`, such as"
        ' `{"press-2": 10}`; other cameras have 0. Images of higher priority are inspected first. If the'
        " queue is full, one takes the place of the waiting single inspection of the lowest priority, if"
        " that is lower; the other is refused with `overloaded`. Running inspections keep their place: if"
        " priorities are set, keep `PASSLINE_QUEUE_SIZE` above `PASSLINE_WORKERS`.",
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
        description="Largest body of one inspection: the image and, if sent, its reference mask.",
    )
    max_batch_bytes: Positive = Field(default=128 * MIB, description="Largest body of one batch.")
    max_batch_images: Positive = Field(default=64, description="Most images in one batch.")
    upload_memory_bytes: Positive = Field(
        default=512 * MIB,
        description="Memory for all request bodies and for answers not received yet, together. One caller"
        " (key or address) gets at most as much as is still free; more is refused with `overloaded`.",
    )
    max_pixels: Positive = Field(
        default=64_000_000,
        description="Most pixels (width x height) of an image, checked before any is decoded.",
    )
    max_connections: Positive = Field(
        default=256,
        description="Connections open at once; one address gets at most as many as are still free. A few more"
        " are accepted and answered with `overloaded`, probes as usual; all others are closed.",
    )
    header_timeout_s: Positive = Field(
        default=10,
        description="Time for a request's header to arrive, from the connection or its first byte on, and"
        " for the client to receive each 16 KiB of an answer; slower connections are closed.",
    )
    keep_alive_s: Positive = Field(
        default=75, description="Time an idle connection is kept open for the next request."
    )
    shutdown_grace_s: Positive = Field(
        default=30,
        description="Time that requests in progress have to finish when the service is told to stop.",
    )
    max_cameras: Annotated[int, Field(ge=0)] = Field(
        default=32,
        description="Cameras (`camera_id`) with a label of their own in the metrics; images of further ones"
        " count together as `other`.",
    )
    drift_window: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=500,
        description="Images in the drift window of each camera; drift has no value until the window is full.",
    )
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")] | None = Field(
        default=None,
        description="Address of an OpenTelemetry collector that takes OTLP over HTTP, such as"
        " `http://127.0.0.1:4318`, for traces; unset: no traces.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least severe log lines written; probes and metrics are logged at `debug`.",
    )

    @model_validator(mode="after")
    def _bodies_fit_in_memory(self) -> Self:
        if self.upload_memory_bytes < 2 * max(self.max_upload_bytes, self.max_batch_bytes):
            raise ValueError(
                "upload_memory_bytes must be at least twice max_upload_bytes and max_batch_bytes:"
                " one caller gets half of it, and their largest bodies could never be accepted"
            )
        return self

    @property
    def engines(self) -> Engines | None:
        """The store of TensorRT engines; None if TensorRT is not used."""
        return None if self.engines_dir is None else Engines(self.engines_dir)

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment; raises UnknownSetting (a misspelt variable) or ValidationError (a value)."""
        refuse_unknown(os.environ)
        return cls()


def variable(field: str) -> str:
    """The environment variable that sets a field of Settings."""
    return PREFIX + field.upper()


def what_is_wrong(error: ValidationError) -> list[str]:
    """One line per invalid value: its variable, the key within it if any, and what is valid."""
    lines = []
    for each in error.errors():
        field, *keys = each["loc"] or ("",)
        name = variable(str(field)) if field else "settings"
        place = ", ".join([name, *(f"key {key}" for key in keys)])
        lines.append(f"{place}: {each['msg'].removeprefix('Value error, ')}")
    return lines


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Raise UnknownSetting if a variable has our prefix but is no setting.

    A misspelt one that is only ignored can serve the wrong device or recipes without anyone noticing.
    """
    known = {variable(field) for field in Settings.model_fields}
    ours = {name for name in environment if name.upper().startswith(PREFIX)} - NOT_OURS
    unknown = sorted(name for name in ours if name.upper() not in known)
    if not unknown:
        return
    if PREFIX + "STATE_DIR" in unknown:
        raise UnknownSetting(
            f"{PREFIX}STATE_DIR is now {PREFIX}DATA_DIR: its database holds the promotions; those of an "
            "earlier release, in the subfolder `bundles`, are taken over at the first start"
        )
    if moved := [name for name in unknown if name.upper() in MOVED]:
        raise UnknownSetting(f"{', '.join(moved)}: TLS and rate limits are the reverse proxy's; {FRONT}")
    near = difflib.get_close_matches(unknown[0].upper(), known, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists the settings."
    raise UnknownSetting(f"no setting is called {', '.join(unknown)}; {hint}")
