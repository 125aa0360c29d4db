"""What a defect class may be called: bundles, recipes and files of golden samples take its name as it is."""

import re
import unicodedata
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from app.inspection.types import Name

_NAME: TypeAdapter[str] = TypeAdapter(Name)
# Good pictures are called so, and the files of golden samples: NAME.png with NAME.mask.png, good-2.png.
_TAKEN = re.compile(r"good(-\d+)?|.*\.mask", re.IGNORECASE)


def wrong_name(names: Sequence[str]) -> str | None:
    """Say what is wrong with the first name that no bundle can hold, and what would be right; None if none.

    Names that differ in upper and lower case alone count as one: some file systems do not tell them apart.
    """
    before: dict[str, str] = {}
    for name in names:
        if not _is_spelled_well(name):
            return (
                f"'{name}' cannot name a defect class: at most 64 letters without accents, digits, '.', '_' "
                f"and '-' can, a letter or digit first; call it '{_spelled_well(name)}'"
            )
        if _TAKEN.fullmatch(name):
            return f"'{name}' cannot name a defect class: golden samples are called so; call it otherwise"
        if other := before.get(name.lower()):
            return f"'{other}' and '{name}' cannot name two defect classes; give each a name of its own"
        before[name.lower()] = name
    return None


def _is_spelled_well(name: str) -> bool:
    try:
        _NAME.validate_python(name)
    except ValidationError:
        return False
    return True


def _spelled_well(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", letters).strip("._-")[:64]
    return "defect" if not name or _TAKEN.fullmatch(name) else name
