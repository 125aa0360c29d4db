"""What the OpenAPI document says beyond the code: request bodies, problems, and its page without a CDN."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from app.errors import (
    BatchTooLarge,
    BodyTooLarge,
    DeadlineExceeded,
    MediaTypeUnsupported,
    NotReady,
    Overloaded,
    RequestInvalid,
    Unexpected,
    UploadTimeout,
)
from app.examples import BATCH, INSPECTION
from app.inspection import errors as core
from app.inspection.errors import PasslineError
from app.problems import MEDIA_TYPE, TABLE
from app.schemas import Problem
from app.uploads import RAW_TYPES

STATIC = Path(__file__).parent / "static"

_PICTURE: tuple[type[PasslineError], ...] = (
    core.ImageEmpty,
    core.ImageTooLarge,
    core.ImageTooSmall,
    core.ImageUnsupported,
    core.ImageUndecodable,
    core.ImageTruncated,
    core.ImageAnimated,
    core.ReferenceMaskUnreadable,
    core.ReferenceMaskSizeMismatch,
    core.ReferenceMaskInvalid,
    core.InferenceFailed,
)
_REQUEST: tuple[type[PasslineError], ...] = (
    RequestInvalid,
    MediaTypeUnsupported,
    BodyTooLarge,
    UploadTimeout,
    Overloaded,
    DeadlineExceeded,
    core.RecipeUnknown,
    NotReady,
    Unexpected,
)

_LABELS: dict[str, Any] = {
    "recipe": {
        "type": "string",
        "description": "Name of the recipe to judge by.",
        "example": "default",
    },
    "part_id": {"type": "string", "description": "The part; returned unchanged.", "example": "tile-000117"},
    "camera_id": {
        "type": "string",
        "description": "The camera; returned unchanged.",
        "example": "line-2-top",
    },
}
_BINARY = {"type": "string", "format": "binary"}

REQUEST_ID_HEADER: dict[str, Any] = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Your id of the request, 1 to 64 of A-Z a-z 0-9 . _ -; returned, logged, and in every"
    " problem. Without one, or with one of another form, the service makes one.",
    "schema": {"type": "string"},
    "example": "line-2-20260117-000117",
}


def problem_responses(*errors: type[PasslineError]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses for errors, by status, with one example for each code."""
    by_status: dict[int | str, list[type[PasslineError]]] = defaultdict(list)
    for error in errors:
        by_status[TABLE[error].status].append(error)
    return {
        status: {
            "description": " or ".join(f"`{each.code}`" for each in those),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {each.code: _example(each) for each in those},
                }
            },
        }
        for status, those in by_status.items()
    }


def _example(error: type[PasslineError]) -> dict[str, Any]:
    kind = TABLE[error]
    problem = Problem(
        type=f"urn:passline:problem:{error.code}",
        title=kind.title,
        status=kind.status,
        detail=(error.__doc__ or kind.title).strip().splitlines()[0],
        code=error.code,
        instance="urn:passline:request:line-2-20260117-000117",
        request_id="line-2-20260117-000117",
    )
    return {"summary": kind.title, "value": problem.model_dump(exclude_none=True)}


def _form(files: dict[str, Any], required: str) -> dict[str, Any]:
    properties = files | _LABELS
    schema = {
        "type": "object",
        "properties": properties,
        "required": [required],
        "additionalProperties": False,
    }
    return {"multipart/form-data": {"schema": schema}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}, "parameters": [REQUEST_ID_HEADER]}


INSPECTION_BODY = _body(
    _form(
        {
            "image": _BINARY | {"description": "The picture: JPEG, PNG, BMP or TIFF."},
            "reference_mask": _BINARY
            | {"description": "For measured Dice: class ids, or 0 and 255, as PNG, BMP or TIFF."},
        },
        "image",
    )
    | {media_type: {"schema": _BINARY} for media_type in RAW_TYPES}
)
BATCH_BODY = _body(_form({"images": {"type": "array", "items": _BINARY, "minItems": 1}}, "images"))
INSPECTION_PROBLEMS = problem_responses(*_PICTURE, *_REQUEST)
BATCH_PROBLEMS = problem_responses(*_REQUEST, BatchTooLarge)
NOT_READY = problem_responses(NotReady)
METRICS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
_EXAMPLES = {"/v1/inspections": INSPECTION, "/v1/inspections/batch": BATCH}


class DocumentedApp(FastAPI):
    """FastAPI with worked answers in its document: it drops nulls from examples, and ours need theirs."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        document = super().openapi()
        for path, example in _EXAMPLES.items():
            content = document["paths"][path]["post"]["responses"]["200"]["content"]
            content["application/json"]["example"] = example
        return document


def docs_page() -> HTMLResponse:
    """Swagger UI with nothing from outside: neither its scripts nor its validator badge."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",  # relative, so that it works below a proxy's path too
        title="Passline",
        swagger_js_url="static/swagger-ui-bundle.js",
        swagger_css_url="static/swagger-ui.css",
        swagger_favicon_url="static/favicon-32x32.png",
        swagger_ui_parameters={"validatorUrl": None},
    )
