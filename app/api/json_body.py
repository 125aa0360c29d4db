"""A request's JSON body as one of our shapes, or what is wrong with it."""

import json
from typing import Any, TypeVar

from pydantic import ValidationError

from app.errors import RequestInvalid
from app.schemas.inspections import Shape

S = TypeVar("S", bound=Shape)


def read_json(shape: type[S], text: str) -> S:
    """What a body says; raises RequestInvalid naming each wrong field."""
    try:
        return shape.model_validate(json.loads(text, object_pairs_hook=_each_once))
    except ValidationError as error:
        wrong = [each | {"loc": ("body", *each["loc"])} for each in error.errors(include_input=False)]
        raise RequestInvalid.of_validation(wrong) from error
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the body is not JSON as it should be: {error}") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is given twice, and one of the two would be lost")
    return content
