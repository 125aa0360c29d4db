"""The steps that choose thresholds, make other artifacts and fit the input gates."""

from collections.abc import Iterable, Sequence

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import MANIFEST, Bundle
from training.bundle.artifacts.make import Source, make_artifacts
from training.config import ArtifactName, ConfigError
from training.data.sample import Sample
from training.files import ARTIFACTS, CALIBRATION, read_json, require, write_json, write_manifest
from training.run import Run
from training.sessions import inspector_of
from training.steps.split import SplitRun, known_images
from training.thresholds.input_gate import with_gates
from training.thresholds.learn import Unseen, learn_artifact


def operating_point(run: SplitRun) -> None:
    """Choose thresholds, probability calibration and the interval around the estimated Dice of fp32."""
    if _thresholds_are_chosen(run):
        return
    learnt = learn_artifact([unseen for _, unseen in unseen_by(run)], run.config.operating_point)
    write_json(run.directory / CALIBRATION, learnt.report)
    assert learnt.point.chosen is not None
    print(f"operating point: {learnt.point.chosen.sentence}", flush=True)
    set_artifacts(run, [learnt.applied_to(Bundle.load(run.bundle).artifacts[0])])


def unseen_by(run: SplitRun) -> list[tuple[Source, Unseen]]:
    """Each bundle with its training images, and the images that it was not fitted on."""
    if run.folds:
        return [_unseen(fold, fold.splits["test"]) for fold in run.folds]
    return [_unseen(run, run.splits["calibration"], run.splits["validation"])]


def _unseen(
    run: SplitRun, samples: Sequence[Sample], validation: Sequence[Sample] = ()
) -> tuple[Source, Unseen]:
    bundle = Bundle.load(run.bundle)
    fp32 = next(each for each in bundle.artifacts if each.name == "fp32")
    unseen = Unseen(inspector_of(bundle, fp32), samples, validation, run.directory / "predictions")
    return Source(bundle, run.splits["train"]), unseen


def _thresholds_are_chosen(run: Run) -> bool:
    require(run.bundle / MANIFEST, "export")
    return Bundle.load(run.bundle).artifacts[0].operating_point.expected is not None


def with_thresholds(run: Run) -> Bundle:
    """The run's bundle; raises ConfigError if its thresholds are not chosen yet."""
    if not _thresholds_are_chosen(run):
        raise ConfigError(f"{run.bundle} has no thresholds yet; run the step operating-point first")
    return Bundle.load(run.bundle)


def set_artifacts(run: Run, artifacts: Iterable[Artifact]) -> None:
    """Write the manifest of the run's bundle with other artifacts."""
    bundle = Bundle.load(run.bundle)
    write_manifest(run.bundle, bundle.model_copy(update={"artifacts": tuple(artifacts)}))


def artifacts(run: SplitRun) -> None:
    """Make the other configured artifacts; those within their budget go into the bundle."""
    path = run.directory / ARTIFACTS
    bundle = with_thresholds(run)
    others = others_wanted(run)
    if not others or artifacts_are_made(run, bundle):
        return
    work = run.directory / "quantisation"
    source = Source(bundle, run.splits["train"])
    made, figures = make_artifacts(source, others, unseen_by(run), run.config.operating_point, work)
    write_json(path, figures)
    write_manifest(run.bundle, made)
    left_out = set(run.bundle.glob("model*.onnx")) - {run.bundle / each.file for each in made.artifacts}
    for graph in left_out:
        graph.unlink()


def others_wanted(run: Run) -> list[ArtifactName]:
    """The artifacts to make beside fp32."""
    return [name for name in run.config.artifacts if name != "fp32"]


def artifacts_are_made(run: Run, bundle: Bundle) -> bool:
    """Whether the bundle has all artifacts that were within their budget."""
    path = run.directory / ARTIFACTS
    return path.exists() and set(read_json(path)["in_bundle"]) == {each.name for each in bundle.artifacts}


def gate(run: SplitRun) -> None:
    """Fit the input gate of every artifact to the training images."""
    require(run.bundle / MANIFEST, "export")
    bundle, config = Bundle.load(run.bundle), run.config.gate
    if config is None or all(each.gate is not None for each in bundle.artifacts):
        return
    known = known_images(run, config, run.classes, run.splits["train"])
    # A cross-fitted network has seen all images, so the known ones are then the reference for drift.
    unseen = [*run.splits.get("validation", ()), *run.splits.get("calibration", ())]
    set_artifacts(run, with_gates(bundle, known, unseen, config))
