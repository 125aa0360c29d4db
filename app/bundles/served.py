"""A bundle that judges, or did before, and the change that made it so."""

from dataclasses import dataclass
from datetime import datetime

from app.inspection.inspector import Inspector
from app.schemas.bundles import BundleChange, How
from app.schemas.recipes import By


@dataclass(frozen=True, slots=True)
class Served:
    """A bundle in memory, since when and why; `kept`: it is served again after a restart."""

    inspector: Inspector
    since: datetime
    how: How
    by: By
    kept: bool = True
    from_setting: bool = False

    def is_of_same_bundle(self, other: "Served") -> bool:
        """Whether both are of one bundle, perhaps in sessions of their own."""
        return self.inspector.bundle.manifest_sha256 == other.inspector.bundle.manifest_sha256

    def change(self, number: int) -> BundleChange:
        """The change that made it judge; `how` must not be `start`."""
        bundle = self.inspector.bundle
        return BundleChange.model_validate(
            {
                "number": number,
                "when": self.since,
                "how": self.how,
                "name": bundle.name,
                "version": bundle.version,
                "manifest_sha256": bundle.manifest_sha256,
                "from_setting": self.from_setting,
                **self.by.model_dump(),
            }
        )
