"""Bundles over HTTP: which are there, a candidate loaded aside, promotion and rollback; no logic."""

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
    """Those that can be loaded, the one that judges, the one before it, and the candidate."""
    return await asyncio.to_thread(bundles_answer, service.bundles)


@router.get("/v1/bundles/changes", summary="Every promotion and rollback", responses=openapi.BUNDLES)
async def changes(service: TheService) -> schemas.BundleChanges:
    """Which bundle was promoted or gone back to when, by whom and why, the oldest first."""
    kept = service.bundles.journal.changes
    return schemas.BundleChanges(changes=[schemas.BundleChange(**each.model_dump()) for each in kept])


@router.put(
    "/v1/bundles/candidate",
    summary="Load a bundle aside",
    status_code=202,
    responses=openapi.CANDIDATE_PUT,
    openapi_extra=openapi.CANDIDATE_BODY,
)
async def propose(
    request: Request, service: TheService, by: Annotated[By, Query()]
) -> schemas.CandidateAnswer:
    """Begin to load the candidate while the active bundle judges on, or change whether it is in shadow."""
    asked = read_json(schemas.CandidateAsked, await uploads_of(request).text(request, (JSON,)))
    candidate = await service.bundles.propose(asked, by)
    return await asyncio.to_thread(candidate_answer, candidate)


@router.get("/v1/bundles/candidate", summary="The candidate", responses=openapi.CANDIDATE_READ)
async def candidate(service: TheService, asked: Annotated[schemas.Wait, Query()]) -> schemas.CandidateAnswer:
    """Whether it is loading, ready or failed, and why; and what came of its shadow."""
    found = service.bundles.candidate
    await found.wait(asked.wait_s)
    answer = await asyncio.to_thread(candidate_answer, found)
    service.bundles.check_is_candidate(found)  # if unloaded meanwhile, it would seem to be loading
    return answer


@router.delete("/v1/bundles/candidate", summary="Let the candidate go", responses=openapi.CANDIDATE)
async def drop(service: TheService) -> schemas.CandidateAnswer:
    """Free its memory; the answer is what it was."""
    found = service.bundles.candidate
    was = await asyncio.to_thread(candidate_answer, found)
    await service.bundles.drop(found)
    return was


@router.get(
    "/v1/bundles/candidate/disagreements",
    summary="Where the candidate judges otherwise",
    responses=openapi.CANDIDATE,
)
async def disagreements(service: TheService) -> schemas.DisagreementsAnswer:
    """The latest live images on which the candidate disagrees, the newest first, and all counts."""
    shadow = service.bundles.candidate.shadow
    if shadow is None:
        raise CandidateNotFound("no ready candidate is in shadow; PUT it again with `shadow` true")
    return disagreements_answer(shadow)


@router.post(
    "/v1/bundles/candidate/promotion",
    summary="Have the candidate judge",
    responses=openapi.PROMOTION,
)
async def promote(service: TheService, asked: Annotated[schemas.Promote, Query()]) -> schemas.ServedBundle:
    """Serve the candidate from now on; what is being inspected is finished by the bundle it began with."""
    return served_answer(await service.bundles.promote(asked))


@router.post("/v1/bundles/rollback", summary="Go back to the bundle before", responses=openapi.ROLLBACK)
async def roll_back(service: TheService, by: Annotated[By, Query()]) -> schemas.ServedBundle:
    """Serve the bundle before the last promotion again, at once, since it is still in memory."""
    return served_answer(await service.bundles.roll_back(by))


def served_answer(served: Served) -> schemas.ServedBundle:
    """A bundle that judges, or did before."""
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
    """The candidate, checked against the recipes as they are now; blocks where they have changed."""
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
    """Everything at this moment; blocks, for it looks at the disk."""
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
    """What came of a shadow so far."""
    return schemas.DisagreementsAnswer(counts=shadow.counts, latest=list(shadow.latest))
