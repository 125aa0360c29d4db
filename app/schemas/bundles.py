"""Shapes of the bundle endpoints: available bundles, the active one, the candidate and its shadow."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from app.inspection.results import Reason, Verdict
from app.inspection.types import Name, Sha256
from app.schemas.inspections import Cause, Shape
from app.schemas.recipes import By

How = Literal["start", "promotion", "rollback"]
CandidateState = Literal["loading", "ready", "failed"]


class BundleName(Shape):
    """A bundle by its name and version, which are also its path below PASSLINE_BUNDLES_DIR."""

    name: Name
    version: Name

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


class CandidateAsked(BundleName):
    """The bundle to load as the candidate."""

    shadow: bool = Field(
        default=False, description="Whether it also inspects live images; no caller gets its verdicts."
    )


class Wait(Shape):
    """The query when reading the candidate."""

    wait_s: Annotated[int, Field(ge=0, le=120)] = Field(
        default=0, description="Seconds to wait at most for a candidate that is still loading."
    )


class Promote(By):
    """The query of a promotion: who and why, and optionally which candidate is expected."""

    name: Name | None = Field(default=None, description="Promote only if this is the candidate's name.")
    version: Name | None = Field(default=None, description="Promote only if this is its version.")


class ShadowCounts(Shape):
    """Live images of a candidate in shadow, by outcome; disagreements by kind (`pass_to_fail`)."""

    judged: int
    dropped: int
    failed: int
    disagreements: dict[str, int]


class BundleChange(By):
    """One promotion or rollback, as stored."""

    number: Annotated[int, Field(ge=1)]
    when: AwareDatetime
    how: Literal["promotion", "rollback"]
    name: str
    version: str
    manifest_sha256: Sha256
    from_setting: bool = Field(description="Whether it is the bundle of PASSLINE_BUNDLE_DIR.")
    shadow: ShadowCounts | None = Field(default=None, description="The candidate's shadow; null without one.")


class BundleChanges(Shape):
    """Every promotion and rollback, oldest first."""

    changes: list[BundleChange]


class ServedBundle(BundleName):
    """The active or previous bundle, since when it is served, and why."""

    artifact: str
    execution_provider: str
    since: AwareDatetime
    how: How
    who: str | None
    why: str | None
    kept: bool = Field(description="Whether it is served again after a restart.")


class CandidateAnswer(BundleName):
    """The candidate."""

    state: CandidateState
    since: AwareDatetime
    who: str | None
    why: str | None
    problem: Cause | None = Field(description="Why it failed to load; null if it did not.")
    obstacle: str | None = Field(
        description="Which recipes in force prevent its promotion now; null if none do."
    )
    misfits: dict[str, str] = Field(description="Every recipe that could not be used with it, and why.")
    shadow: ShadowCounts | None = Field(description="Counts of its shadow; null if it is not in shadow.")


class BundlesAnswer(Shape):
    """All bundles and the role of each at this moment."""

    off: str | None = Field(description="Why bundles cannot be swapped here; null if they can.")
    available: list[BundleName]
    active: ServedBundle | None
    previous: ServedBundle | None = Field(description="The bundle that a rollback makes active again.")
    candidate: CandidateAnswer | None


class Side(Shape):
    """The result of one of the two bundles for an image."""

    name: str
    version: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    recipe: str
    recipe_version: int


class Disagreement(Shape):
    """A live image with another verdict by the candidate; the image itself is not stored."""

    when: AwareDatetime
    kind: str = Field(description="Both verdicts, the active bundle's first, such as `pass_to_fail`.")
    request_id: str
    inspection_id: str
    image_sha256: Sha256
    part_id: str | None
    camera_id: str | None
    active: Side
    candidate: Side


class DisagreementsAnswer(Shape):
    """Counts of the shadow, with the latest disagreements, newest first."""

    counts: ShadowCounts
    latest: list[Disagreement]
