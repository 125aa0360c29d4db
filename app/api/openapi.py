"""Parts of the OpenAPI document that FastAPI cannot derive: request bodies, problems, examples."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from app.access_errors import (
    CsrfTokenMissing,
    ForeignPage,
    KeyRequired,
    NameNotAllowed,
    NotLocal,
    ScopeMissing,
)
from app.api.examples import BATCH, PART_OF_TWO
from app.api.examples import INSPECTION as INSPECTION_EXAMPLE
from app.api.submissions import FRAME_TYPE, PART_IMAGES, RAW_TYPES
from app.change_errors import (
    BundleInUse,
    BundleNotFound,
    CandidateNotFound,
    CandidateNotReady,
    NoPreviousBundle,
    RecipeInUse,
    RecipeNotFound,
    SwappingOff,
    VersionStale,
)
from app.database.errors import DatabaseUnusable
from app.errors import (
    BatchTooLarge,
    BodyTooLarge,
    ContentEncodingUnsupported,
    DeadlineExceeded,
    HeadersTooLarge,
    MediaTypeUnsupported,
    NotReady,
    OutOfMemory,
    Overloaded,
    RequestInvalid,
    Unexpected,
    UploadTimeout,
)
from app.history.files import ImageNotStored
from app.history.idempotency import IdempotencyKeyReused
from app.history.objects import ImageStoreUnusable
from app.inspection import errors as core
from app.inspection.errors import PasslineError
from app.problems import MEDIA_TYPE, status_of
from app.report.certificate import PAGE_POLICY
from app.schemas.bundles import CandidateAsked
from app.schemas.inspections import Problem
from app.schemas.recipes import Activations

STATIC = Path(__file__).parents[1] / "static"
_PICTURE: tuple[type[PasslineError], ...] = (
    core.ImageEmpty,
    core.ImageTooLarge,
    core.ImageTooSmall,
    core.ImageUnsupported,
    core.ImageUndecodable,
    core.ImageTruncated,
    core.ImageAnimated,
    core.FrameMismatch,
    core.ReferenceMaskUnreadable,
    core.ReferenceMaskSizeMismatch,
    core.ReferenceMaskInvalid,
    core.RecipeDoesNotFit,
    core.InferenceFailed,
)
DOORS = (HeadersTooLarge, KeyRequired, ScopeMissing, CsrfTokenMissing, ForeignPage, NotLocal)
UPLOAD = (
    RequestInvalid,
    MediaTypeUnsupported,
    ContentEncodingUnsupported,
    BodyTooLarge,
    UploadTimeout,
    Overloaded,
)
_REQUEST: tuple[type[PasslineError], ...] = (
    *DOORS,
    NameNotAllowed,
    *UPLOAD,
    IdempotencyKeyReused,
    DatabaseUnusable,
    ImageNotStored,
    ImageStoreUnusable,
    DeadlineExceeded,
    OutOfMemory,
    core.RecipeUnknown,
    core.RecipeInvalid,
    NotReady,
    Unexpected,
)

_LABELS: dict[str, Any] = {
    "recipe": {
        "type": "string",
        "description": "Name of the recipe to use.",
        "example": "default",
    },
    "part_id": {"type": "string", "description": "The part; returned unchanged.", "example": "tile-000117"},
    "camera_id": {
        "type": "string",
        "description": "The camera; returned unchanged.",
        "example": "line-2-top",
    },
    "significant_bits": {
        "type": "integer",
        "minimum": 8,
        "maximum": 16,
        "description": "Number of lowest bits of a 16-bit image that are used; unset: the recipe's.",
        "example": 12,
    },
}
_BINARY = {"type": "string", "format": "binary"}

REQUEST_ID_HEADER: dict[str, Any] = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Your id of the request, 1 to 64 of A-Z a-z 0-9 . _ -; returned, logged, and in every"
    " problem. If it is missing or invalid, the service makes one.",
    "schema": {"type": "string"},
    "example": "line-2-20260117-000117",
}


def problem_responses(*errors: type[PasslineError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for errors, by status, with one example for each code."""
    by_status: dict[int | str, list[type[PasslineError]]] = defaultdict(list)
    for error in errors:
        by_status[status_of(error)].append(error)
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
    problem = Problem(
        type=f"urn:passline:problem:{error.code}",
        title=error.title,
        status=status_of(error),
        detail=(error.__doc__ or error.title).strip().splitlines()[0],
        code=error.code,
        instance="urn:passline:request:line-2-20260117-000117",
        request_id="line-2-20260117-000117",
    )
    return {"summary": error.title, "value": problem.model_dump(exclude_none=True)}


def _form(files: dict[str, Any], *required: str) -> dict[str, Any]:
    properties = files | _LABELS
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"multipart/form-data": {"schema": schema}}


def _form_or_json(files: dict[str, Any], *required: str) -> dict[str, Any]:
    """Request body as a form, or as a JSON object with the same fields."""
    form = _form(files, *required)
    encoded = {name: _in_base64(field) for name, field in files.items()}
    schema = form["multipart/form-data"]["schema"] | {"properties": encoded | _LABELS}
    return form | {"application/json": {"schema": schema}}


def _in_base64(field: dict[str, Any]) -> dict[str, Any]:
    if field["type"] == "array":
        return field | {"items": _in_base64(field["items"])}
    about = " ".join([field.get("description", ""), "In base64, or as a data URL."]).strip()
    return {"type": "string", "contentEncoding": "base64", "description": about}


def body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}, "parameters": [REQUEST_ID_HEADER]}


_INSPECTION_BODY = body(
    _form_or_json(
        {
            "image": _BINARY
            | {"description": "The image: JPEG, PNG, BMP or TIFF, or the frame that the query describes."},
            "reference_mask": _BINARY
            | {"description": "For measured Dice: class ids, or 0 and 255, as PNG, BMP or TIFF."},
        },
        "image",
    )
    | {media_type: {"schema": _BINARY} for media_type in (*RAW_TYPES, FRAME_TYPE)}
)
_BATCH_BODY = body(_form_or_json({"images": {"type": "array", "items": _BINARY, "minItems": 1}}, "images"))
_PART_IMAGES = {"type": "array", "items": _BINARY, "minItems": PART_IMAGES[0], "maxItems": PART_IMAGES[1]}
_PART_BODY = body(_form_or_json({"image": _PART_IMAGES}, "image"))
_PAGE = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
# Responses and request bodies of the endpoints that inspect.
ONE_IMAGE: dict[str, Any] = {
    "responses": problem_responses(*_PICTURE, *_REQUEST) | _PAGE,
    "openapi_extra": _INSPECTION_BODY,
}
MANY_IMAGES: dict[str, Any] = {
    "responses": problem_responses(*_REQUEST, BatchTooLarge),
    "openapi_extra": _BATCH_BODY,
}
ONE_PART: dict[str, Any] = {
    "responses": problem_responses(*_PICTURE, *_REQUEST, BatchTooLarge),
    "openapi_extra": _PART_BODY,
}
# A certificate contains text from clients, so the browser may run no scripts and load nothing.
PAGE_HEADERS = {"Content-Security-Policy": PAGE_POLICY}
NOT_READY = problem_responses(NotReady)
READ = problem_responses(*DOORS, NotReady)
_CHANGE = (*DOORS, VersionStale, DatabaseUnusable, NotReady, Unexpected)
_TEXT = {"application/yaml": {"schema": {"type": "string"}}}
_ACTIVATIONS = {"application/json": {"schema": Activations.model_json_schema()}}
RECIPE_BODY = body(_TEXT | {"application/json": {"schema": {"type": "object"}}})
ACTIVATIONS_BODY = body(_ACTIVATIONS)
DRY_RUN_BODY = body(
    _form(
        {
            "candidate": {"type": "string", "description": "The recipe to try, YAML or JSON."},
            "images": {"type": "array", "items": _BINARY, "minItems": 1},
        },
        "candidate",
        "images",
    )
)
RECIPE_READ = problem_responses(*DOORS, RecipeNotFound, RequestInvalid, NotReady)
RECIPE = problem_responses(*DOORS, RecipeNotFound, RequestInvalid, core.RecipeInvalid, NotReady) | {
    200: {"content": _TEXT}
}
RECIPE_PUT = problem_responses(core.RecipeInvalid, RecipeInUse, *UPLOAD, *_CHANGE)
RECIPE_DELETE = problem_responses(RecipeNotFound, RecipeInUse, RequestInvalid, *_CHANGE)
ACTIVATIONS_PUT = problem_responses(core.RecipeUnknown, core.RecipeInvalid, *UPLOAD, *_CHANGE)
DRY_RUN_PROBLEMS = problem_responses(*_REQUEST, BatchTooLarge)
CANDIDATE_BODY = body({"application/json": {"schema": CandidateAsked.model_json_schema()}})
CANDIDATE_PUT = problem_responses(SwappingOff, BundleNotFound, BundleInUse, *UPLOAD, *DOORS, Unexpected)
CANDIDATE = problem_responses(CandidateNotFound, *DOORS)
CANDIDATE_READ = problem_responses(CandidateNotFound, RequestInvalid, *DOORS)
BUNDLES = problem_responses(*DOORS)
PROMOTION = problem_responses(
    CandidateNotFound,
    CandidateNotReady,
    DatabaseUnusable,
    VersionStale,
    core.RecipeInvalid,
    core.RecipeUnknown,
    RequestInvalid,
    Unexpected,
    *DOORS,
)
ROLLBACK = problem_responses(
    NoPreviousBundle, core.RecipeInvalid, core.RecipeUnknown, RequestInvalid, Unexpected, *DOORS
)
METRICS = problem_responses(*DOORS) | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
EXAMPLES = {
    "/v1/inspections": INSPECTION_EXAMPLE,
    "/v1/inspections/batch": BATCH,
    "/v1/parts": PART_OF_TWO,
}
