"""Parts of the OpenAPI document of the history, of reviews and of people."""

from app.access_errors import (
    CsrfTokenMissing,
    ForeignPage,
    LastAdmin,
    LoginFailed,
    LoginThrottled,
    NotLocal,
    PasswordUnfit,
    UserNotFound,
)
from app.api.openapi import DOORS, UPLOAD, body, problem_responses
from app.database.errors import DatabaseUnusable
from app.errors import (
    HeadersTooLarge,
    NotReady,
    RequestInvalid,
    Unexpected,
)
from app.history.errors import (
    DataSetNotWritten,
    HistoryOff,
    ImageNotKept,
    InspectionNotFound,
    ParquetNotInstalled,
    ReviewConflict,
    ReviewNotFound,
)
from app.history.files import ImageNotStored
from app.inspection import errors as core
from app.schemas.history import ClaimAsked, ReviewAsked
from app.schemas.people import LoginAsked, PasswordAsked, UserAsked

HISTORY_LIST = problem_responses(HistoryOff, DatabaseUnusable, RequestInvalid, NotReady, *DOORS)
HISTORY_ONE = problem_responses(
    InspectionNotFound, HistoryOff, DatabaseUnusable, RequestInvalid, NotReady, *DOORS
)
_PNG = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
HISTORY_IMAGE = HISTORY_ONE | problem_responses(InspectionNotFound, ImageNotKept) | {200: _PNG}
_FILES = dict.fromkeys(
    ("text/csv", "application/vnd.apache.parquet", "application/zip"), _PNG["content"]["image/png"]
)
HISTORY_EXPORT = HISTORY_LIST | problem_responses(DataSetNotWritten, ParquetNotInstalled, HistoryOff, *DOORS)
HISTORY_EXPORT |= {200: {"content": _FILES}}
HISTORY_THUMBNAIL = HISTORY_ONE | {200: {"content": {"image/jpeg": _PNG["content"]["image/png"]}}}
_REVIEW = (ReviewConflict, HistoryOff, DatabaseUnusable, NotReady, *DOORS)
CLAIM_BODY = body({"application/json": {"schema": ClaimAsked.model_json_schema()}})
REVIEW_BODY = body({"application/json": {"schema": ReviewAsked.model_json_schema()}})
REVIEW_CLAIM = problem_responses(HistoryOff, DatabaseUnusable, NotReady, *UPLOAD, *DOORS)
REVIEW_ADD = problem_responses(
    InspectionNotFound,
    core.ReferenceMaskUnreadable,
    core.ReferenceMaskSizeMismatch,
    core.ReferenceMaskInvalid,
    ImageNotStored,
    *UPLOAD,
    *_REVIEW,
)
REVIEW_WITHDRAW = problem_responses(InspectionNotFound, ReviewNotFound, RequestInvalid, *_REVIEW)
_STORED = (DatabaseUnusable, NotReady, Unexpected)
_OPEN = (HeadersTooLarge, ForeignPage, NotLocal, *_STORED)
LOGIN_BODY = body({"application/json": {"schema": LoginAsked.model_json_schema()}})
PASSWORD_BODY = body({"application/json": {"schema": PasswordAsked.model_json_schema()}})
USER_BODY = body({"application/json": {"schema": UserAsked.model_json_schema()}})
SESSION = problem_responses(*_OPEN)
SESSION_END = problem_responses(CsrfTokenMissing, *_OPEN)
LOGIN = problem_responses(LoginFailed, LoginThrottled, *UPLOAD, *_OPEN)
OWN_PASSWORD = problem_responses(LoginFailed, LoginThrottled, PasswordUnfit, *UPLOAD, *DOORS, *_STORED)
USERS = problem_responses(*DOORS, *_STORED)
USER_PUT = problem_responses(PasswordUnfit, LastAdmin, *UPLOAD, *DOORS, *_STORED)
USER_DELETE = problem_responses(UserNotFound, LastAdmin, RequestInvalid, *DOORS, *_STORED)
AUDIT = problem_responses(RequestInvalid, *DOORS, *_STORED)
