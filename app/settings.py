"""Settings: one class, read from environment variables that start with `PASSLINE_`."""

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.inspection.inference.tensorrt import Engines

PREFIX = "PASSLINE_"
MIB = 1024 * 1024
# Where the tests find real images: the same shell may run the service too.
NOT_OURS = frozenset({"PASSLINE_DATA"})

# Settings of earlier versions, so that their loss is no riddle.
MOVED = frozenset(PREFIX + name for name in ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "RATE_LIMIT_PER_MINUTE"))
FRONT = "docs/deployment.md (A front for the network) shows how to set it up"

Positive = Annotated[int, Field(ge=1)]


def _of_json(value: object) -> object:
    """A variable's text read as JSON here, where what is wrong with it can be told; else as it is."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError('is no JSON object; right is a whole number by camera_id, such as {"press-2": 10}')
    return found


Priorities = Annotated[dict[str, int], NoDecode, BeforeValidator(_of_json)]
_PORTS = {"http": 80, "https": 443}


def _origin(text: str) -> str:
    """An origin as browsers send it: in lower case, without the port that its scheme has anyway."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:  # such as brackets without an IPv6 address
        parts, host, port = urlsplit(""), None, None
    is_one = host and text.isascii() and not (parts.path + parts.query + parts.fragment) and "@" not in text
    if parts.scheme not in _PORTS or not is_one:
        raise ValueError(f"{text!r} is no origin; right is scheme://host:port, such as http://hmi.plant:3000")
    address = f"[{host}]" if ":" in str(host) else str(host)
    return f"{parts.scheme}://{address}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def _origins(value: object) -> object:
    """A list with commas, read here, where what is wrong with an entry can be told."""
    return frozenset(_origin(each.strip()) for each in value.split(",")) if isinstance(value, str) else value


def _hosts(value: object) -> object:
    """A list with commas."""
    if not isinstance(value, str):
        return value
    return frozenset(each.strip().lower() for each in value.split(",") if each.strip())


Hosts = Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_hosts)]
Origins = Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_origins)]


class UnknownSetting(ValueError):
    """The environment holds a variable with our prefix that is no setting."""


class PackageMissing(ValueError):
    """A setting asks for something whose package is not installed."""


class Settings(BaseSettings):
    """Every setting of the service; the table of `docs/settings.md` is written from this class."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    bundle_dir: Path = Field(
        default=Path("models/magnetic-tile/6"),
        description="Folder of the bundle to serve, the one with `bundle.json`.",
    )
    bundles_dir: Path | None = Field(
        default=None,
        description="Folder of bundles, as NAME/VERSION below it, that can be swapped over HTTP while"
        " the service runs; unset: none can.",
    )
    state_dir: Path | None = Field(
        default=None,
        description="Folder where every swap is kept, in its subfolder `bundles`: the bundle last promoted is"
        " served again after a restart, whatever `PASSLINE_BUNDLE_DIR` says. Unset: nothing can be promoted.",
    )
    recipes_dir: Path | None = Field(
        default=None,
        description="Folder of recipes (`*.yaml`, `*.yml`, `*.json`) known besides the bundle's own."
        " All are read at start; a file that holds no recipe keeps the service from becoming ready, and so"
        " does a recipe in force that does not fit the bundle."
        " Where it can be written, its subfolder `history` keeps every version.",
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
    engines_dir: Path | None = Field(
        default=None,
        description="Folder for TensorRT's engines, to be kept from start to start; unset: TensorRT is not"
        " used. An engine that is missing is built beside the service, on CUDA meanwhile, and used from the"
        " next start on; `passline build-engine` builds it before.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; `0.0.0.0` for every network of the box, `::` for every one with"
        " IPv6 as well as IPv4.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8000, description="TCP port to listen on; 0 takes a free one, which the start message names."
    )
    socket: Path | None = Field(
        default=None,
        description="Unix socket to listen on instead of host and port, for a reverse proxy on this machine.",
    )
    auth: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether API keys are demanded: `on`; `off`; `auto`: unless `PASSLINE_HOST` is a loopback"
        " address, which only this machine reaches, and `PASSLINE_SOCKET` is unset.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="File of API keys, which `passline keys` writes; read again when it changes."
        " Unset, missing or unreadable: where keys are demanded, nobody gets in.",
    )
    allowed_origins: Origins = Field(
        default=None,
        description="Origins whose pages may ask from a browser (CORS), separated by commas, such as"
        " `http://hmi.plant:3000,https://mes.plant`; unset: none but the service's own.",
    )
    allowed_hosts: Hosts = Field(
        default=None,
        description="Names, separated by commas, that `Host` may give besides `localhost` and loopback"
        " addresses where no keys are demanded.",
    )
    threads: Positive | None = Field(
        default=None,
        description="Threads that model runs share on the CPU; unset: as many as the box, or the container's"
        " quota, has cores.",
    )
    workers: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None,
        description="Images worked on at the same time; unset: as many as there are threads for model runs,"
        " and two more whose decoding and encoding overlap with that.",
    )
    camera_priorities: Priorities = Field(
        default={},
        description="How urgent the images of a camera are, as JSON by `camera_id`, such as"
        ' `{"press-2": 10}`; those of the others have 0. The more urgent go first, and get in where all'
        " places are taken: then the least urgent single inspection that waits is refused with `overloaded`."
        " It can only take the place of one that waits: where priorities are set, keep `PASSLINE_QUEUE_SIZE`"
        " above `PASSLINE_WORKERS`.",
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
        description="Memory for the bodies of all requests, and for answers that are not taken, together. One"
        " caller (key or address) gets at most as much as is still free; more is refused with `overloaded`.",
    )
    max_pixels: Positive = Field(
        default=64_000_000,
        description="Most pixels (width x height) of an image, checked before any is decoded.",
    )
    max_connections: Positive = Field(
        default=256,
        description="Connections open at once; one address gets at most as many as are still free. A few more"
        " are told `overloaded` or, if probes, answered, and others are cut off.",
    )
    header_timeout_s: Positive = Field(
        default=10,
        description="Time for a request's header to arrive from its connection or its first byte on, and"
        " for each 16 KiB of an answer to be taken; slower connections are cut off.",
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
        description="Cameras (`camera_id`) that metrics are kept of by name; images of later ones count"
        " together as `other`.",
    )
    drift_window: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=500,
        description="Images in the drift window of each camera; drift has no value until the window is full.",
    )
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")] | None = Field(
        default=None,
        description="Address of an OpenTelemetry collector that takes OTLP over HTTP, such as"
        " `http://127.0.0.1:4318`, for traces; unset: none are made.",
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

    @model_validator(mode="after")
    def _what_was_promoted_can_be_found(self) -> Self:
        if self.state_dir is not None and self.bundles_dir is None:
            raise ValueError("state_dir needs bundles_dir, where the bundle last promoted is looked for")
        return self

    @property
    def engines(self) -> Engines | None:
        """Where TensorRT's engines are."""
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
    """A line for each value that cannot be: its variable, the key within that if any, and what would do."""
    lines = []
    for each in error.errors():
        field, *keys = each["loc"] or ("",)
        name = variable(str(field)) if field else "settings"
        place = ", ".join([name, *(f"key {key}" for key in keys)])
        lines.append(f"{place}: {each['msg'].removeprefix('Value error, ')}")
    return lines


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Raise UnknownSetting if a variable has our prefix but is no setting.

    A typo that is merely ignored can serve the wrong device or the wrong recipes without anyone noticing.
    """
    known = {variable(field) for field in Settings.model_fields}
    ours = {name for name in environment if name.upper().startswith(PREFIX)} - NOT_OURS
    unknown = sorted(name for name in ours if name.upper() not in known)
    if not unknown:
        return
    if moved := [name for name in unknown if name.upper() in MOVED]:
        raise UnknownSetting(f"{', '.join(moved)}: TLS and rate limits are the reverse proxy's; {FRONT}")
    near = difflib.get_close_matches(unknown[0].upper(), known, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists the settings."
    raise UnknownSetting(f"no setting is called {', '.join(unknown)}; {hint}")
