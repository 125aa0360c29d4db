"""What everything in `bundle.json` is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]  # 0 would call every pixel a defect
Level = Annotated[float, Field(ge=0, le=255)]  # of a probability, as the graph gives it


class BundlePart(BaseModel):
    """Base of everything in `bundle.json`: frozen, and a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
