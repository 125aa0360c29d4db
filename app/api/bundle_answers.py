"""From bundles in memory and on the disk to what the service answers."""

from app.bundles.candidate import Candidate
from app.bundles.registry import Lineup
from app.bundles.served import Served
from app.bundles.shadow import Shadow
from app.errors import CandidateNotFound
from app.schemas.bundles import BundlesAnswer, CandidateAnswer, DisagreementsAnswer, ServedBundle


def served_answer(served: Served) -> ServedBundle:
    """A bundle that judges, or did before."""
    inspector = served.inspector
    return ServedBundle(
        name=inspector.bundle.name,
        version=inspector.bundle.version,
        artifact=inspector.session.artifact.name,
        execution_provider=inspector.session.execution_provider,
        since=served.since,
        how=served.how,
        kept=served.kept,
        **served.by.model_dump(),
    )


def candidate_answer(candidate: Candidate) -> CandidateAnswer:
    """The candidate, held against the recipes as they are now; blocks where they have changed."""
    obstacle, misfits = candidate.fit()
    return CandidateAnswer(
        **candidate.bundle.model_dump(),
        **candidate.by.model_dump(),
        state=candidate.state,
        since=candidate.since,
        problem=candidate.problem,
        obstacle=obstacle,
        misfits=misfits,
        shadow=None if candidate.shadow is None else candidate.shadow.counts,
    )


def bundles_answer(lineup: Lineup) -> BundlesAnswer:
    """Everything at this moment; blocks, for it looks at the disk."""
    try:
        candidate = candidate_answer(lineup.candidate)
    except CandidateNotFound:
        candidate = None
    return BundlesAnswer(
        off=lineup.folder.off,
        available=lineup.folder.there(),
        active=None if lineup.active is None else served_answer(lineup.active),
        previous=None if lineup.previous is None else served_answer(lineup.previous),
        candidate=candidate,
    )


def disagreements_answer(shadow: Shadow) -> DisagreementsAnswer:
    """What came of a shadow so far."""
    return DisagreementsAnswer(counts=shadow.counts, latest=list(shadow.latest))
