"""Every kept input goes through its target as when it was fuzzed, and the corpus stays small."""

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, corpus

MOST_BYTES = 200_000
INPUTS = [
    pytest.param(target, file, id=f"{target}-{file.name}") for target in TARGETS for file in corpus(target)
]


@pytest.mark.parametrize(("target", "file"), INPUTS)
def test_no_kept_input_crashes_its_target(target: str, file: Path) -> None:
    TARGETS[target](file.read_bytes())


def test_the_corpus_is_small_and_of_known_targets() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert sum(file.stat().st_size for file in CORPUS.rglob("*")) < MOST_BYTES
