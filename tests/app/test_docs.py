"""docs/api.md: every field of the answer and every metric is told of."""

import re

from app.api.examples import INSPECTION
from app.main import create_app
from app.settings import Settings
from tests.markdown import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()


def test_every_field_of_the_answer_is_told_of() -> None:
    for key in (*INSPECTION, *INSPECTION["defects"][0], *INSPECTION["reasons"][0], *INSPECTION["timings_ms"]):
        assert re.search(rf"`[^`]*\b{key}\b[^`]*`", PAGE), key


def test_every_metric_is_told_of() -> None:
    for family in create_app(Settings()).state.service.metrics.registry.collect():
        assert family.name.removeprefix("passline_queue") in PAGE, family.name
