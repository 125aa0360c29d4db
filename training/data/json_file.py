"""Annotation files in JSON, checked against their shape before anything else looks at them."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from training.data.sample import DatasetError


class Checked(BaseModel):
    """A part of an annotation file; what it does not name is of no meaning to a reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Model = TypeVar("Model", bound=Checked)


def read_json(path: Path, model: type[Model]) -> Model:
    """Return the file as that model; raises DatasetError that names the first place that does not fit."""
    return parse_json(path.read_bytes(), model, str(path))


def parse_json(data: bytes, model: type[Model], where: str) -> Model:
    """Return JSON as that model, like `read_json`; `where` names it."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        place = ".".join(map(str, wrong[0]["loc"])) or "as a whole"
        more = f" ({len(wrong)} such places)" if len(wrong) > 1 else ""
        raise DatasetError(f"{where}: {place}: {wrong[0]['msg']}{more}; export it anew") from error
