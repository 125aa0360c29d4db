"""Settings of what is kept: database, history, images, retention, statistics."""

from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field
from pydantic_settings import BaseSettings

from app.setting_types import MIB, Positive, Share, Shifts, Zone


class KeepingSettings(BaseSettings):
    """A part of `Settings`."""

    data_dir: Path = Field(
        default=Path("data"),
        description="Folder of everything that is kept: the embedded database, and images. It is made if it"
        " does not exist.",
    )
    database_url: Annotated[str, Field(pattern=r"^postgresql\+psycopg://")] | None = Field(
        default=None,
        description="Address of a PostgreSQL database, such as"
        " `postgresql+psycopg://passline:PASSWORD@db.plant/passline`; unset: SQLite in `PASSLINE_DATA_DIR`.",
    )
    history: Literal["sync", "async", "off"] = Field(
        default="sync",
        description="Inspections in the database: `sync`: an answer is sent when its row is stored; `async`:"
        " rows are stored shortly afterwards, and a crash loses the last ones; `off`: none.",
    )
    keep_images: Literal["all", "some", "none"] = Field(
        default="some",
        description="Images and masks kept beside the rows: `all`; `some`: of fails, reviews, the random"
        " sample and of every `PASSLINE_KEEP_EVERY_PASS`-th pass; `none`. Thumbnails are always kept.",
    )
    keep_every_pass: Annotated[int, Field(ge=0)] = Field(
        default=20,
        description="Every so many passes one keeps its image; 0: only those of the random sample.",
    )
    image_store: Annotated[str, Field(pattern=r"^s3://[^/]+")] | None = Field(
        default=None,
        description="S3-compatible store of images and masks, as `s3://BUCKET/PREFIX`, with address and"
        " credentials in `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`;"
        " unset: folders in `PASSLINE_DATA_DIR`.",
    )
    sample_pass_rate: Share = Field(
        default=0.01,
        description="Share of passes drawn at random for review, from which the escape rate is estimated.",
    )
    sample_fail_rate: Share = Field(
        default=0.05, description="The same for fails and reviews, for the overkill rate."
    )
    retention_days_pass: Positive | None = Field(
        default=None, description="Days that images and masks of passes are kept; unset: without limit."
    )
    retention_days_fail: Positive | None = Field(default=None, description="The same for fails and reviews.")
    retention_days_rows: Positive | None = Field(
        default=None,
        description="Days that rows are kept, with thumbnails, reviews, images and masks; unset: without"
        " limit. Counts by hour are kept for ever.",
    )
    retention_max_bytes: Positive | None = Field(
        default=None,
        description="Most bytes of images and masks together; the oldest are deleted first, those of passes"
        " before others, and reviewed ones last; unset: no limit but the disk's.",
    )
    retention_min_free_bytes: Annotated[int, Field(ge=0)] = Field(
        default=1024 * MIB,
        description="Least free bytes on the disk of `PASSLINE_DATA_DIR`: with less, images are deleted in"
        " the same order, and then the oldest rows of SQLite; 0: nothing is deleted for it.",
    )
    idempotency_s: Positive = Field(
        default=3600, description="Time that the first answer to an `Idempotency-Key` is kept."
    )
    shifts: Shifts = Field(
        default=(time(6), time(14), time(22)),
        description="When shifts begin, in local time at full hours, separated by commas.",
    )
    time_zone: Zone = Field(
        default=ZoneInfo("UTC"),
        description="Time zone of days and shifts in the statistics, such as `Europe/Berlin`.",
    )
    box: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Name of this machine in the history's chain of hashes, if several share a PostgreSQL"
        " database; unset: a name kept in the database.",
    )
