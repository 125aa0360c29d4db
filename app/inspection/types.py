"""Base class and value types of the models of `bundle.json`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]  # 0 would make every pixel a defect
Level = Annotated[float, Field(ge=0, le=255)]  # of a probability: the graph's uint8 output


class BundlePart(BaseModel):
    """Base of all models of `bundle.json`: frozen; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
