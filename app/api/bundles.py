"""Bundle endpoints: list bundles, load a candidate, promote it and roll back; no logic."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from app.access.auth import needs
from app.api import openapi
from app.api.dependencies import TheService, each_once, read_json, uploads_of
from app.api.uploads import TEXT_TYPES
from app.bundles.candidate import Candidate
from app.bundles.registry import BundleRegistry, Served
from app.bundles.shadow import Shadow
from app.change_errors import CandidateNotFound
from app.schemas import bundles as schemas
from app.schemas.recipes import By

_, JSON = TEXT_TYPES
router = APIRouter(tags=["bundles"], dependencies=[needs("admin"), Depends(each_once)])


@router.get("/v1/bundles", summary="Every bundle", responses=openapi.BUNDLES)
async def bundles(service: TheService) -> schemas.BundlesAnswer:
    """List the available bundles, and the active, previous and candidate bundle."""
    return await asyncio.to_thread(bundles_answer, service.bundles)


@router.get("/v1/bundles/changes", summary="Every promotion and rollback", responses=openapi.BUNDLES)
async def changes(service: TheService) -> schemas.BundleChanges:
    """List when each bundle was promoted or rolled back to, by whom and why; oldest first."""
    kept = service.bundles.journal.changes
    return schemas.BundleChanges(changes=[schemas.BundleChange(**each.model_dump()) for each in kept])


@router.put(
    "/v1/bundles/candidate",
    summary="Load a candidate bundle",
    status_code=202,
    responses=openapi.CANDIDATE_PUT,
    openapi_extra=openapi.CANDIDATE_BODY,
)
async def propose(
    request: Request, service: TheService, by: Annotated[By, Query()]
) -> schemas.CandidateAnswer:
    """Start loading a candidate while the active bundle keeps serving, or turn its shadow on or off."""
    asked = read_json(schemas.CandidateAsked, await uploads_of(request).text(request, (JSON,)))
    candidate = await service.bundles.propose(asked, by)
    return await asyncio.to_thread(candidate_answer, candidate)


@router.get("/v1/bundles/candidate", summary="The candidate", responses=openapi.CANDIDATE_READ)
async def candidate(service: TheService, asked: Annotated[schemas.Wait, Query()]) -> schemas.CandidateAnswer:
    """Report whether the candidate is loading, ready or failed, and why, with its shadow counts."""
    found = service.bundles.candidate
    await found.wait(asked.wait_s)
    answer = await asyncio.to_thread(candidate_answer, found)
    service.bundles.check_is_candidate(found)  # an unloaded candidate would look like a loading one
    return answer


@router.delete("/v1/bundles/candidate", summary="Unload the candidate", responses=openapi.CANDIDATE)
async def drop(service: TheService) -> schemas.CandidateAnswer:
    """Unload the candidate and free its memory; the answer is its last state."""
    found = service.bundles.candidate
    was = await asyncio.to_thread(candidate_answer, found)
    await service.bundles.drop(found)
    return was


@router.get(
    "/v1/bundles/candidate/disagreements",
    summary="Where the candidate disagrees",
    responses=openapi.CANDIDATE,
)
async def disagreements(service: TheService) -> schemas.DisagreementsAnswer:
    """List the latest live images with another verdict by the candidate, newest first, with counts."""
    shadow = service.bundles.candidate.shadow
    if shadow is None:
        raise CandidateNotFound("no ready candidate is in shadow; PUT it again with `shadow` true")
    return disagreements_answer(shadow)


@router.post(
    "/v1/bundles/candidate/promotion",
    summary="Promote the candidate",
    responses=openapi.PROMOTION,
)
async def promote(service: TheService, asked: Annotated[schemas.Promote, Query()]) -> schemas.ServedBundle:
    """Make the candidate active; inspections in progress finish with the bundle they started with."""
    return served_answer(await service.bundles.promote(asked))


@router.post("/v1/bundles/rollback", summary="Roll back to the last bundle", responses=openapi.ROLLBACK)
async def roll_back(service: TheService, by: Annotated[By, Query()]) -> schemas.ServedBundle:
    """Make the bundle before the last promotion active again, at once: it is still in memory."""
    return served_answer(await service.bundles.roll_back(by))


def served_answer(served: Served) -> schemas.ServedBundle:
    """The active or previous bundle as an answer."""
    inspector = served.inspector
    return schemas.ServedBundle(
        name=inspector.bundle.name,
        version=inspector.bundle.version,
        artifact=inspector.session.artifact.name,
        execution_provider=inspector.session.execution_provider,
        since=served.since,
        how=served.how,
        kept=served.kept,
        **served.by.model_dump(),
    )


def candidate_answer(candidate: Candidate) -> schemas.CandidateAnswer:
    """The candidate as an answer, checked against the recipes in force; blocks if they have changed."""
    obstacle, misfits = candidate.fit()
    return schemas.CandidateAnswer(
        **candidate.bundle.model_dump(),
        **candidate.by.model_dump(),
        state=candidate.state,
        since=candidate.since,
        problem=candidate.problem,
        obstacle=obstacle,
        misfits=misfits,
        shadow=None if candidate.shadow is None else candidate.shadow.counts,
    )


def bundles_answer(registry: BundleRegistry) -> schemas.BundlesAnswer:
    """All bundles at this moment as an answer; blocks, because it reads the disk."""
    try:
        candidate = candidate_answer(registry.candidate)
    except CandidateNotFound:
        candidate = None
    return schemas.BundlesAnswer(
        off=registry.folder.off,
        available=registry.folder.there(),
        active=None if registry.active is None else served_answer(registry.active),
        previous=None if registry.previous is None else served_answer(registry.previous),
        candidate=candidate,
    )


def disagreements_answer(shadow: Shadow) -> schemas.DisagreementsAnswer:
    """The shadow's counts and latest disagreements so far."""
    return schemas.DisagreementsAnswer(counts=shadow.counts, latest=list(shadow.latest))
