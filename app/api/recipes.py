"""Recipe endpoints: versions, activations and the dry run; no logic."""

import asyncio
import functools
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import Response

from app.access.auth import needs
from app.api import openapi
from app.api.dependencies import (
    BatchDeadline,
    ReadyService,
    each_once,
    read_json,
    service_of,
    uploads_of,
    wants,
)
from app.api.leaving import unless_client_leaves
from app.api.uploads import TEXT_TYPES
from app.inspection.rules.recipe import parse_recipe
from app.inspection.rules.recipe import recipe_schema as json_schema
from app.jobs.dry_run import Both, compare, dry_run_answer, dry_run_item, in_force
from app.jobs.job import Submission, Upload
from app.recipes.history import ActivationsChange, ActiveRecipes, RecipeChange
from app.recipes.state import Edit, State
from app.schemas.inspections import Label, Labels, Options
from app.schemas.recipes import (
    Activations,
    ActivationsAnswer,
    Active,
    By,
    DryRunAnswer,
    DryRunItem,
    RecipeAnswer,
    RecipeEntry,
    RecipesAnswer,
    VersionAnswer,
    VersionsAnswer,
    VersionWanted,
)
from app.service import Service
from app.telemetry.metrics import KEY_NAME

YAML, JSON = TEXT_TYPES
router = APIRouter(tags=["recipes"], dependencies=[needs("operate"), Depends(each_once)])


async def edit_of(
    by: Annotated[By, Query()],
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description='Version (`ETag`) that must be in force, such as `"3"`; `"0"`: none yet.',
        ),
    ] = None,
) -> Edit:
    """Who makes a change and why, and the version that must still be in force."""
    return Edit(by, if_match, KEY_NAME.get())


async def service_with_recipes(request: Request) -> Service:
    """The service, if its recipes are loaded; raises NotReady before the body is read.

    The service need not be ready: recipes that prevent that are corrected through these endpoints.
    """
    service = await service_of(request)
    _ = service.store
    return service


RecipeService = Annotated[Service, Depends(service_with_recipes)]
Name = Annotated[Label, Path(description="The recipe's name.")]
TheEdit = Annotated[Edit, Depends(edit_of)]


def _tag(response: Response, version: int) -> None:
    response.headers["ETag"] = f'"{version}"'


@router.get("/v1/recipes", summary="Every recipe", responses=openapi.READ)
async def recipes(service: RecipeService) -> RecipesAnswer:
    """Each recipe by name, with the version in force and where it is active."""
    return recipes_answer(service.store.state)


@router.get("/v1/recipe-schema", summary="The schema of recipes", responses=openapi.READ)
async def recipe_schema() -> dict[str, Any]:
    """The JSON Schema that every recipe must satisfy, for editors and forms."""
    return json_schema()


@router.get(
    "/v1/recipes/{name}",
    summary="One recipe",
    response_model=RecipeAnswer,
    responses=openapi.RECIPE,
)
async def recipe(
    name: Name,
    request: Request,
    response: Response,
    service: RecipeService,
    wanted: Annotated[VersionWanted, Query()],
) -> RecipeAnswer | Response:
    """A recipe in the version in force or an earlier one: as text if `Accept` prefers YAML, else JSON."""
    state = service.store.state
    found = state.version(name, wanted.version)
    headers = {"ETag": f'"{found.version}"', "Vary": "Accept"}
    if wants(request.headers.getlist("accept"), YAML, JSON):
        return Response(found.text, media_type=YAML, headers=headers)
    response.headers.update(headers)
    return await asyncio.to_thread(recipe_answer, state, found)  # YAML is slow to read


@router.get("/v1/recipes/{name}/versions", summary="A recipe's versions", responses=openapi.RECIPE_READ)
async def versions(name: Name, service: RecipeService) -> VersionsAnswer:
    """Every version with who made it, when and why, oldest first; also of a deleted recipe."""
    return VersionsAnswer(versions=[version_answer(each) for each in service.store.state.versions_of(name)])


@router.put(
    "/v1/recipes/{name}",
    summary="Create or change a recipe",
    responses=openapi.RECIPE_PUT,
    openapi_extra=openapi.RECIPE_BODY,
)
async def put(
    name: Name, request: Request, response: Response, service: RecipeService, edit: TheEdit
) -> RecipeEntry:
    """Make the body the recipe's next version, in force at once; inspections in progress keep theirs."""
    store = service.store
    text = await uploads_of(request).text(request)
    change = await asyncio.to_thread(store.put, name, text, edit)
    _tag(response, change.version)
    return recipe_entry(store.state, change)


@router.delete("/v1/recipes/{name}", summary="Delete a recipe", responses=openapi.RECIPE_DELETE)
async def delete(name: Name, service: RecipeService, edit: TheEdit) -> VersionAnswer:
    """Delete a recipe that is active nowhere; its versions can still be read."""
    return version_answer(await asyncio.to_thread(service.store.delete, name, edit))


@router.post(
    "/v1/recipes/dry-run",
    summary="Dry run: what a recipe would change",
    responses=openapi.DRY_RUN_PROBLEMS,
    openapi_extra=openapi.DRY_RUN_BODY,
)
async def dry_run_pictures(
    request: Request,
    service: ReadyService,
    labels: Annotated[Labels, Query()],
    deadline: BatchDeadline,
) -> DryRunAnswer:
    """Inspect each image of `images` with the recipe in force and with `candidate`; changes nothing."""
    options = Options(mask="none", **labels.model_dump())
    async with uploads_of(request).batch(request, options, with_candidate=True) as submission:
        return await unless_client_leaves(request, compare_batch(service, submission, deadline))


@router.get("/v1/activations", summary="Active recipes", responses=openapi.READ)
async def activations(response: Response, service: RecipeService) -> ActivationsAnswer:
    """Which recipe applies to requests that name none: by part, by camera, and the default."""
    change = service.store.state.activations
    _tag(response, 0 if change is None else change.version)
    return activations_answer(change)


@router.put(
    "/v1/activations",
    summary="Change the active recipes",
    responses=openapi.ACTIVATIONS_PUT,
    openapi_extra=openapi.ACTIVATIONS_BODY,
)
async def activate(
    request: Request, response: Response, service: RecipeService, edit: TheEdit
) -> ActivationsAnswer:
    """Replace all activations by the body, at once; inspections in progress keep their recipe."""
    asked = read_json(Activations, await uploads_of(request).text(request, (JSON,)))
    wanted = ActiveRecipes(**asked.model_dump())
    change = await asyncio.to_thread(service.store.activate, wanted, edit)
    _tag(response, change.version)
    return activations_answer(change)


async def compare_batch(service: Service, submission: Submission, deadline: float) -> DryRunAnswer:
    """Dry-run each image independently; raises RecipeInvalid or RecipeUnknown for the whole batch."""
    loaded = service.loaded
    candidate = await asyncio.to_thread(loaded.state.candidate, submission.candidate)  # YAML is slow to read
    now = in_force(loaded.recipes, candidate, submission.options)

    async def one(upload: Upload) -> Both:
        job = loaded.job(upload, submission.options, now)
        return await service.run_when_room(functools.partial(compare, candidate), job, deadline)

    def item(upload: Upload, outcome: Both | BaseException) -> DryRunItem:
        known = service.problem(outcome) if isinstance(outcome, BaseException) else outcome
        return dry_run_item(upload.filename, known)

    done = await service.in_turn(one, submission.pictures)
    pairs = zip(submission.pictures, done, strict=True)
    return dry_run_answer(now, candidate, [item(*pair) for pair in pairs])


def version_answer(change: RecipeChange) -> VersionAnswer:
    """A version without its content."""
    return VersionAnswer(
        **change.model_dump(include={"name", "version", "when", "who", "why", "key", "how"}),
        deleted=change.text is None,
    )


def recipe_entry(state: State, change: RecipeChange) -> RecipeEntry:
    """A version and where it is active; an earlier version is active nowhere."""
    is_in_force = state.versions_of(change.name)[-1] is change
    active = state.recipes.active(change.name) if is_in_force else Active(default=False, cameras=(), parts=())
    misfit = state.recipes.misfit(change.name) if is_in_force else None
    return RecipeEntry(**version_answer(change).model_dump(), active=active, misfit=misfit)


def recipe_answer(state: State, change: RecipeChange) -> RecipeAnswer:
    """A version in full; raises RecipeInvalid if its text is not valid under the current schema."""
    text = change.text or ""
    recipe = parse_recipe(text, f"recipe {change.name} version {change.version}")
    entry = recipe_entry(state, change)
    about = version_answer(change).model_dump()
    return RecipeAnswer(**about, active=entry.active, misfit=entry.misfit, text=text, recipe=recipe)


def recipes_answer(state: State) -> RecipesAnswer:
    """Every recipe in the version that is in force."""
    names = state.recipes.names
    return RecipesAnswer(recipes=[recipe_entry(state, state.version(name, None)) for name in names])


def activations_answer(change: ActivationsChange | None) -> ActivationsAnswer:
    """The activations; before the first change there are none, and the settings' default applies."""
    if change is None:
        return ActivationsAnswer(version=0, when=None, who=None, why=None, key=None)
    about = change.model_dump(include={"version", "when", "who", "why", "key"})
    return ActivationsAnswer(**change.activations.model_dump(), **about)
