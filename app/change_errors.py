"""Errors of changing recipes and bundles: two branches of the tree in `app/errors.py`."""

from app.errors import ServiceError


class StoredRecipeError(ServiceError):
    """A stored recipe cannot be read or changed as requested."""


class RecipeNotFound(StoredRecipeError):
    """There is no recipe of this name, or no such version of it.

    Remedy: `GET /v1/recipes` lists the recipes, `GET /v1/recipes/NAME/versions` the versions, including those
    of a deleted recipe.
    """

    code = "recipe_not_found"
    title = "There is no such recipe here"
    status = 404


class RecipeInUse(StoredRecipeError):
    """An active or default recipe cannot be deleted, and the bundle's own recipe can never be changed.

    The default recipe is the one that `PASSLINE_DEFAULT_RECIPE` names.

    Remedy: To delete it, activate another one first, or restart with another default. Instead of changing the
    bundle's recipe, create your own under another name.

    Retry: when it is active nowhere
    """

    code = "recipe_in_use"
    title = "The recipe is in use"
    status = 409


class VersionStale(StoredRecipeError):
    """The version in `If-Match` is no longer the one in force.

    Somebody changed it since you read it, another process wrote to the same database, or the candidate is not
    the bundle that you want to promote.

    Remedy: Read it again and apply your change to the new version; if another process wrote, restart.
    """

    code = "version_stale"
    title = "Another version is in force"
    status = 412


class SwapError(ServiceError):
    """A bundle cannot be swapped as requested."""


class SwappingOff(SwapError):
    """There is no folder of bundles, so no candidate can be loaded.

    `PASSLINE_BUNDLES_DIR` is unset.

    Remedy: Set it to the folder that holds bundles as `NAME/VERSION`, and restart.
    """

    code = "swapping_off"
    title = "Bundles cannot be swapped here"
    status = 409


class BundleNotFound(SwapError):
    """The folder of bundles has no bundle of this name and version.

    A link that leads out of that folder, `PASSLINE_BUNDLES_DIR`, is ignored. The detail lists the available
    bundles. As the `cause` of a `not_ready`: the bundle last promoted is missing.

    Remedy: Copy the bundle there.

    Retry: when it is there
    """

    code = "bundle_not_found"
    title = "There is no such bundle"
    status = 404


class BundleInUse(SwapError):
    """The active bundle cannot be its own candidate.

    Remedy: Nothing to do: it is served already.
    """

    code = "bundle_in_use"
    title = "The bundle is in use"
    status = 409


class CandidateNotFound(SwapError):
    """There is no candidate bundle.

    If disagreements were requested: no candidate is in shadow.

    Remedy: Load one with `PUT /v1/bundles/candidate`.

    Retry: when there is one
    """

    code = "candidate_not_found"
    title = "There is no candidate"
    status = 404


class CandidateNotReady(SwapError):
    """The candidate is still loading, or could not be loaded.

    The detail says which, and why it failed.

    Remedy: Wait with `GET /v1/bundles/candidate?wait_s=60`; if it failed, repair the bundle and load it
    again.

    Retry: when it is `ready`
    """

    code = "candidate_not_ready"
    title = "The candidate is not ready"
    status = 409


class NoPreviousBundle(SwapError):
    """There is no previous bundle in memory to roll back to.

    Nothing was promoted since the start, or the promotion was already rolled back.

    Remedy: Load the one you want as a candidate and promote it.
    """

    code = "no_previous_bundle"
    title = "There is no bundle to roll back to"
    status = 409


class StateInvalid(SwapError):
    """The stored promotions cannot be read, so it is not known which bundle to serve.

    The `cause` of a `not_ready`: a record in the database, or a file of an earlier release in
    `PASSLINE_DATA_DIR/bundles`, is missing or was not written by the service.

    Remedy: Restore it from a backup.
    """

    code = "state_invalid"
    title = "The stored promotions cannot be read"
    status = 503
