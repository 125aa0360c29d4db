"""The bundles on the disk that may be served: NAME/VERSION below one folder, never a path."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.errors import BundleNotFound, SwappingOff
from app.inspection.bundle.bundle import MANIFEST
from app.inspection.types import Name
from app.schemas.bundles import BundleName

OFF = "bundles cannot be swapped here: set PASSLINE_BUNDLES_DIR to the folder that holds them as NAME/VERSION"
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class BundleFolder:
    """Finds bundles; only reads, and never outside of its folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @property
    def off(self) -> str | None:
        """Why bundles cannot be swapped; None where they can."""
        return OFF if self._folder is None else None

    def there(self) -> list[BundleName]:
        """Every folder NAME/VERSION with a manifest, sorted; only loading one tells what is in it."""
        if self._folder is None:
            return []
        names = [
            BundleName(name=path.parent.parent.name, version=path.parent.name)
            for path in sorted(self._folder.glob(f"*/*/{MANIFEST}"))
            if _is_name(path.parent.parent.name) and _is_name(path.parent.name)
        ]
        return [name for name in names if self._place(name) is not None]

    def find(self, bundle: BundleName) -> Path:
        """The folder of a bundle; raises BundleNotFound or SwappingOff."""
        if self._folder is None:
            raise SwappingOff(OFF)
        place = self._place(bundle)
        if place is None:
            known = ", ".join(map(str, self.there())) or "none"
            raise BundleNotFound(
                f"there is no bundle {bundle} below PASSLINE_BUNDLES_DIR; there are: {known}"
            )
        return place

    def _place(self, bundle: BundleName) -> Path | None:
        """Where it really is; None where there is no manifest or a link leads out of the folder."""
        assert self._folder is not None
        place = (self._folder / bundle.name / bundle.version).resolve()
        is_inside = place.is_relative_to(self._folder.resolve())
        return place if is_inside and (place / MANIFEST).is_file() else None


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True
