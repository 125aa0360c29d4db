"""`evaluate`: a bundle on a labelled set, as evaluation.json and as a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.inspection.inference.runtime import Device
from app.inspection.inspector import Inspector
from training.data.sample import Dataset, DatasetError
from training.evaluation.dataset import evaluate_dataset
from training.evaluation.document import Document, document_of
from training.evaluation.gallery import galleries
from training.evaluation.gate import gate_figures, generated_products, product_pictures
from training.evaluation.interval_check import check_interval
from training.evaluation.report import write_evaluation
from training.evaluation.robustness import generalisation, robustness


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate besides the set itself.

    `command` is recorded in the file; `changes` is how many pictures to take for the table of controlled
    changes, 0 for none; `others` are the sets of the generalisation table by name; `interval_repeats` is
    how often to check intervals around the estimated Dice on random halves; `pictures` puts the worst
    pictures into the page, which then may not be published where the set may not.
    """

    command: str
    confidence: float = 0.95
    device: Device = "cpu"
    changes: int = 0
    others: Mapping[str, Dataset] = field(default_factory=dict)
    interval_repeats: int = 0
    pictures: bool = True


def evaluate_bundle(directory: Path, dataset: Dataset, out: Path, options: EvaluateOptions) -> Document:
    """Write evaluation.json and evaluation.html into `out` and return what the first holds.

    The set's figures are under `test`. Those of the input gate, where there is one, are under `gate`, with
    `others` as other products, or generated surfaces without any. Raises DatasetError for a set without
    pictures and for a sample that is refused, BundleError or DeviceUnavailable where no bundle loads.
    """
    if not len(dataset.samples):
        raise DatasetError("there is no picture to evaluate; name a part of the splits that has some")
    out.mkdir(parents=True, exist_ok=True)  # before the hours that the rest may take
    inspector = Inspector.load(directory, options.device)
    bundle, artifact = inspector.bundle, inspector.session.artifact
    evaluation = evaluate_dataset(inspector, dataset, options.confidence)
    document = document_of(options.command, bundle, artifact, evaluation.figures, options.confidence)
    if options.changes:
        document["changes"] = robustness(inspector, dataset, options.confidence, options.changes)
    if options.others:
        document["generalisation"] = generalisation(inspector, options.others, options.confidence)
    if options.interval_repeats:
        document["interval_check"] = check_interval(evaluation.judged, options.interval_repeats)
    if artifact.gate is not None:
        products = {name: product_pictures(other.samples) for name, other in options.others.items()}
        products = products or generated_products(None)
        document["gate"] = gate_figures(bundle, artifact, dataset.samples, products, options.confidence)
    shown = galleries(inspector, dataset, evaluation.judged) if options.pictures else {}
    write_evaluation(out, document, shown)
    return document
