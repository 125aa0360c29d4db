"""Whether a recipe fits a bundle: its classes, its operating point and its rule for parts."""

from collections.abc import Iterable, Iterator

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.errors import RecipeInvalid
from app.inspection.rules.part_model import resolve_parts
from app.inspection.rules.recipe import Written, no_class, unknown_classes
from app.inspection.rules.recipe_text import field_at
from app.inspection.rules.trade_off import resolve


def check_fit(written: Written, classes: Iterable[str], point: OperatingPoint) -> None:
    """Check a recipe against a bundle's classes and the operating point of its artifact in use.

    Raises RecipeInvalid with the source, and the line and field of everything that does not fit.
    """
    misfits = list(_misfits(written, tuple(classes), point))
    if misfits:
        raise RecipeInvalid(f"{written.source}: {'; '.join(misfits)}")


def _misfits(written: Written, classes: tuple[str, ...], point: OperatingPoint) -> Iterator[str]:
    recipe, line_of = written.recipe, written.document.line_of
    unknown = unknown_classes(recipe, classes)
    for place in unknown[:-1]:
        yield f"{field_at(place, line_of(place))}: no defect class of this model"
    for place in unknown[-1:]:  # the classes there are, once
        yield f"{field_at(place, line_of(place))}: {no_class(classes)}"
    choice = recipe.operating_point
    if choice is not None:
        try:
            resolve(choice, point.trade_off)
        except RecipeInvalid as error:  # which names the field itself
            yield _at(line_of(("operating_point", choice.asked)), str(error))
    try:
        resolve_parts(recipe.parts, point.parts)
    except RecipeInvalid as error:
        yield _at(line_of(("parts",)), str(error))


def _at(line: int | None, what: str) -> str:
    return what if line is None else f"line {line}: {what}"
