"""The inspection core: takes an image, returns a mask, measured defects and a verdict; has no web code.

The public names are imported here:

    from app.inspection import Inspector

    inspection = Inspector.load(Path("models/magnetic-tile/6")).inspect(Path("part.png").read_bytes())
    print(inspection.verdict, inspection.defects)
"""

from app.inspection.bundle.bundle import Bundle
from app.inspection.decoding.decode import DecodeLimits
from app.inspection.decoding.raw import RawFrame
from app.inspection.errors import PasslineError
from app.inspection.inspector import Inspector
from app.inspection.results import Defect, Inspection, Reason, Verdict
from app.inspection.rules.part_verdict import judge_part
from app.inspection.rules.recipe import Recipe, parse_recipe

__all__ = [
    "Bundle",
    "DecodeLimits",
    "Defect",
    "Inspection",
    "Inspector",
    "PasslineError",
    "RawFrame",
    "Reason",
    "Recipe",
    "Verdict",
    "judge_part",
    "parse_recipe",
]
