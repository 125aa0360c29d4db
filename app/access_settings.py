"""Settings of sessions, a part of the class in `app/settings.py`."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings


class AccessSettings(BaseSettings):
    """How long people stay logged in."""

    session_hours: Annotated[int, Field(ge=1, le=168)] = Field(
        default=12, description="Hours after which a person has to log in again."
    )
    session_idle_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(
        default=60, description="Minutes without a request after which a session ends."
    )
