"""Whether a recipe fits a bundle: its classes are there, and its operating point can be kept."""

from collections.abc import Iterable, Iterator

from app.inspection.errors import RecipeInvalid
from app.inspection.recipe import Written, no_class, unknown_classes
from app.inspection.recipe_text import field_at
from app.inspection.trade_off import TradeOff, resolve


def check_fit(written: Written, classes: Iterable[str], table: TradeOff | None) -> None:
    """Check a recipe against a bundle's classes and the trade-off table of its artifact in use.

    Raises RecipeInvalid with the source, and the line and field of everything that does not fit.
    """
    misfits = list(_misfits(written, tuple(classes), table))
    if misfits:
        raise RecipeInvalid(f"{written.source}: {'; '.join(misfits)}")


def _misfits(written: Written, classes: tuple[str, ...], table: TradeOff | None) -> Iterator[str]:
    recipe, line_of = written.recipe, written.document.line_of
    unknown = unknown_classes(recipe, classes)
    for place in unknown[:-1]:
        yield f"{field_at(place, line_of(place))}: no defect class of this model"
    for place in unknown[-1:]:  # the classes there are, once
        yield f"{field_at(place, line_of(place))}: {no_class(classes)}"
    choice = recipe.operating_point
    if choice is None:
        return
    try:
        resolve(choice, table)
    except RecipeInvalid as error:  # which names the field itself
        line = line_of(("operating_point", choice.asked))
        yield str(error) if line is None else f"line {line}: {error}"
