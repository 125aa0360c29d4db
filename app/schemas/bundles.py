"""Shapes of bundles over HTTP: which are there, which one judges, the candidate, and its shadow."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from app.inspection.results import Reason, Verdict
from app.inspection.types import Name, Sha256
from app.schemas.inspections import Cause, Shape
from app.schemas.recipes import By

How = Literal["start", "promotion", "rollback"]
CandidateState = Literal["loading", "ready", "failed"]


class BundleName(Shape):
    """A bundle by its place below PASSLINE_BUNDLES_DIR, which is its name and version too."""

    name: Name
    version: Name

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


class CandidateAsked(BundleName):
    """The bundle to be loaded aside."""

    shadow: bool = Field(
        default=False, description="Whether it inspects live images too; its verdicts reach no caller."
    )


class Wait(Shape):
    """The query of the candidate."""

    wait_s: Annotated[int, Field(ge=0, le=120)] = Field(
        default=0, description="Seconds to wait at most for a candidate that is still loading."
    )


class Promote(By):
    """The query of a promotion: who and why, and perhaps which candidate is meant."""

    name: Name | None = Field(default=None, description="Promote only if this is the candidate's name.")
    version: Name | None = Field(default=None, description="Promote only if this is its version.")


class ShadowCounts(Shape):
    """What came of a candidate's shadow: live images by outcome, disagreements by kind (`pass_to_fail`)."""

    judged: int
    dropped: int
    failed: int
    disagreements: dict[str, int]


class BundleChange(By):
    """One change of what is served, as it is kept."""

    number: Annotated[int, Field(ge=1)]
    when: AwareDatetime
    how: Literal["promotion", "rollback"]
    name: str
    version: str
    manifest_sha256: Sha256
    from_setting: bool = Field(description="Whether it is the bundle of PASSLINE_BUNDLE_DIR.")
    shadow: ShadowCounts | None = Field(default=None, description="Of a promoted candidate that had one.")


class BundleChanges(Shape):
    """Every change of what is served, the oldest first."""

    changes: list[BundleChange]


class ServedBundle(BundleName):
    """A bundle that judges, or did before, since when and why."""

    artifact: str
    execution_provider: str
    since: AwareDatetime
    how: How
    who: str | None
    why: str | None
    kept: bool = Field(description="Whether it is served again after a restart.")


class CandidateAnswer(BundleName):
    """The bundle loaded aside."""

    state: CandidateState
    since: AwareDatetime
    who: str | None
    why: str | None
    problem: Cause | None = Field(description="Why it failed.")
    obstacle: str | None = Field(
        description="Which recipes in force keep it from being promoted at this moment; null if none do."
    )
    misfits: dict[str, str] = Field(description="Every recipe that could not be used with it, and why.")
    shadow: ShadowCounts | None = Field(description="null where it is in no shadow.")


class BundlesAnswer(Shape):
    """The bundles there are, and what each of them is for at this moment."""

    off: str | None = Field(description="Why bundles cannot be swapped here; null where they can.")
    available: list[BundleName]
    active: ServedBundle | None
    previous: ServedBundle | None = Field(description="What a rollback goes back to.")
    candidate: CandidateAnswer | None


class Side(Shape):
    """What one of two bundles says of an image."""

    name: str
    version: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    recipe: str
    recipe_version: int


class Disagreement(Shape):
    """A live image that the candidate judges otherwise; the image itself is not kept."""

    when: AwareDatetime
    kind: str = Field(description="`pass_to_fail`, for one: the active bundle's verdict first.")
    request_id: str
    inspection_id: str
    image_sha256: Sha256
    part_id: str | None
    camera_id: str | None
    active: Side
    candidate: Side


class DisagreementsAnswer(Shape):
    """What came of the shadow, with the latest disagreements, the newest first."""

    counts: ShadowCounts
    latest: list[Disagreement]
