"""A candidate's trial: a process that is bounded, and reports what it finds to the load after it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.bundles.trial import TELLABLE, Trial
from app.bundles.trial_process import usable_memory
from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import BundleError, BundleInvalid, SelfTestFailed
from app.inspection.inference.threads import control_groups
from app.jobs.loading import load_inspector
from app.schemas.bundles import BundleName
from app.schemas.recipes import By
from app.settings import Settings
from tests.app.test_bundle_swaps import on_loop, service_of
from tests.app.test_bundles import bundles_dir as bundles_dir
from tests.app.test_bundles import make as make
from tests.app.test_bundles import settled
from tests.markdown import ROOT

SETTINGS = Settings(
    device="cpu",
    threads=1,
    engines_dir=Path("/nowhere"),
    max_pixels=1_000_000,
)


def test_a_sound_bundle_is_named_by_its_manifest(bundles_dir: Path) -> None:
    place = bundles_dir / "tiny" / "1"
    assert Trial(place, SETTINGS).run() == Bundle.load(place).manifest_sha256


def test_what_the_child_finds_is_raised(bundles_dir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundles_dir / "tiny" / "1", tmp_path / "copy"))
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(manifest | {"schema_version": 2}))
    with pytest.raises(BundleInvalid, match="schema_version"):
        Trial(copy, SETTINGS).run()


def test_the_child_keeps_to_the_settings(bundles_dir: Path) -> None:
    """An image that is too large for the service is too large for the trial."""
    few = SETTINGS.model_copy(update={"max_pixels": 1000})
    with pytest.raises(SelfTestFailed, match="pixels"):
        Trial(bundles_dir / "tiny" / "1", few).run()


def test_a_module_of_the_working_directory_is_not_run(
    bundles_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert Trial(bundles_dir / "tiny" / "1", SETTINGS).run()


def test_a_trial_that_was_stopped_does_not_begin(bundles_dir: Path) -> None:
    trial = Trial(bundles_dir / "tiny" / "1", SETTINGS)
    trial.stop()
    with pytest.raises(SelfTestFailed, match="stopped before it began"):
        trial.run()


def test_errors_of_bundles_keep_their_kind() -> None:
    for kind in BundleError.__subclasses__():
        assert TELLABLE[kind.code] is kind


def test_the_child_is_bounded() -> None:
    script = (
        "import os, resource, sys; from app.bundles.trial_process import restrict; restrict(os.getppid(), "
        "limits_memory=True); print(os.nice(0), open('/proc/self/oom_score_adj').read().strip(), "
        "resource.getrlimit(resource.RLIMIT_DATA)[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    nice, victim, most = map(int, done.stdout.split())
    assert nice >= 5
    assert victim == 1000
    assert most == usable_memory(control_groups()) // 2


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    whole = usable_memory(())
    assert whole == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    groups = [tmp_path / name for name in ("outer", "inner", "none")]
    for group, limit in zip(groups, ("max\n", "1048576\n"), strict=False):
        group.mkdir()
        (group / "memory.max").write_text(limit)
    assert usable_memory(groups) == 1_048_576
    assert usable_memory(groups[:1]) == whole


def test_the_child_ends_where_its_parent_is_gone() -> None:
    script = (
        "from app.bundles.trial_process import restrict; restrict(1234567, limits_memory=False); print('on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_a_bundle_that_changes_after_its_trial_is_not_loaded(
    make: Callable[..., TestClient], bundles_dir: Path, tmp_path: Path
) -> None:
    client = make()
    service = service_of(client)
    copy = Path(shutil.copytree(bundles_dir / "tiny" / "2", tmp_path / "copy"))
    trial = Trial(bundles_dir / "tiny" / "2", service.settings)
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(manifest | {"description": "another"}))

    async def load_aside() -> None:
        bundle = BundleName(name="tiny", version="2")
        service.bundles.load_aside(bundle, By(), lambda: load_inspector(copy, service.settings), trial)

    on_loop(client, load_aside)
    problem = settled(client)["problem"]
    assert problem["code"] == "bundle_corrupt"
    assert "was changed while it was being loaded" in problem["detail"]
