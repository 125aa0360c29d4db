"""Why recipes or bundles cannot be changed as asked: two branches of the tree in `app/errors.py`."""

from app.errors import ServiceError


class StoredRecipeError(ServiceError):
    """Recipes cannot be read or changed so."""


class RecipeNotFound(StoredRecipeError):
    """There is no recipe of the name in the address, or no such version of it.

    Remedy: `GET /v1/recipes` lists those there are, `GET /v1/recipes/NAME/versions` the versions, those of a
    deleted recipe too.
    """

    code = "recipe_not_found"
    title = "There is no such recipe here"
    status = 404


class RecipeInUse(StoredRecipeError):
    """A recipe that is active or the settings' default cannot be deleted, the bundle's own never changed.

    The settings' default is the one that `PASSLINE_DEFAULT_RECIPE` names.

    Remedy: Activate another one first, or restart with another one in the setting; make your own under
    another name.

    Retry: when it is active nowhere
    """

    code = "recipe_in_use"
    title = "The recipe is in use"
    status = 409


class VersionStale(StoredRecipeError):
    """The version that `If-Match` asks for is no longer the one in force.

    Somebody changed it since you read it, another process wrote to the same folder, or the candidate is
    another bundle than the one to promote.

    Remedy: Read it again and make the change to that; for the other process, restart.
    """

    code = "version_stale"
    title = "Another version is in force"
    status = 412


class RecipesNotWritable(StoredRecipeError):
    """There is no folder for recipes, or it cannot be written to.

    `PASSLINE_RECIPES_DIR` names it. Recipes can be read and used as before.

    Remedy: Name a folder there that the service may write to.

    Retry: when it can be written
    """

    code = "recipes_not_writable"
    title = "Recipes cannot be changed here"
    status = 409


class SwapError(ServiceError):
    """Bundles cannot be swapped so."""


class SwappingOff(SwapError):
    """There is no folder of bundles, so none can be loaded aside.

    `PASSLINE_BUNDLES_DIR` is unset.

    Remedy: Set it to the folder that holds bundles as `NAME/VERSION`, and restart.
    """

    code = "swapping_off"
    title = "Bundles cannot be swapped here"
    status = 409


class BundleNotFound(SwapError):
    """No bundle of that name and version is in the folder of bundles.

    A link that leads out of that folder, `PASSLINE_BUNDLES_DIR`, counts as none. The detail lists the bundles
    there are. As the `cause` of a `not_ready`: the bundle last promoted is gone.

    Remedy: Copy it there.

    Retry: when it is there
    """

    code = "bundle_not_found"
    title = "There is no such bundle"
    status = 404


class BundleInUse(SwapError):
    """The bundle that judges cannot be its own candidate.

    Remedy: Nothing to do: it is served already.
    """

    code = "bundle_in_use"
    title = "The bundle is in use"
    status = 409


class CandidateNotFound(SwapError):
    """No bundle is loaded aside.

    Where its disagreements are asked for: no bundle is in shadow.

    Remedy: Load one with `PUT /v1/bundles/candidate`.

    Retry: when there is one
    """

    code = "candidate_not_found"
    title = "There is no candidate"
    status = 404


class CandidateNotReady(SwapError):
    """The candidate is still loading, or failed.

    The detail says which, and why it failed.

    Remedy: Wait with `GET /v1/bundles/candidate?wait_s=60`; if it failed, repair the bundle and load it
    again.

    Retry: when it is `ready`
    """

    code = "candidate_not_ready"
    title = "The candidate is not ready"
    status = 409


class NoPreviousBundle(SwapError):
    """There is no bundle in memory to go back to.

    Nothing was promoted since the start, or the promotion was already rolled back.

    Remedy: Load the one you want as a candidate and promote it.
    """

    code = "no_previous_bundle"
    title = "There is no bundle to go back to"
    status = 409


class StateNotWritable(SwapError):
    """A promotion cannot be kept: there is no folder for it, or it cannot be written to.

    `PASSLINE_STATE_DIR` names the folder; it may also hold what cannot be read. Nothing was changed.

    Remedy: Name a folder there that the service may write to.

    Retry: when it can be written
    """

    code = "state_not_writable"
    title = "The change cannot be kept"
    status = 409


class StateInvalid(SwapError):
    """What was kept of promotions cannot be read, so that nobody knows which bundle to serve.

    The `cause` of a `not_ready`: a file in `PASSLINE_STATE_DIR/bundles` was not written by the service.

    Remedy: Restore the file; or move the folder away, and the service starts with `PASSLINE_BUNDLE_DIR`.
    """

    code = "state_invalid"
    title = "What was kept of promotions cannot be read"
    status = 503
