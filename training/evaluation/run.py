"""The command `evaluate`: a bundle on a labelled data set, as evaluation.json and as a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.inspection.inference.runtime import Device
from app.inspection.inspector import Inspector
from training.data.sample import Dataset, DatasetError
from training.evaluation.dataset import evaluate_dataset
from training.evaluation.document import Document, document_of
from training.evaluation.gallery import galleries
from training.evaluation.gate import gate_figures, generated_products, product_images
from training.evaluation.interval_check import check_interval
from training.evaluation.report import write_evaluation
from training.evaluation.robustness import generalisation, robustness
from training.limits import limits


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of an evaluation.

    `command` is recorded in evaluation.json. `changes` is the number of images for the table of controlled
    changes, 0 for none. `others` are the data sets of the generalisation table, by name. `interval_repeats`
    is how often intervals around the estimated Dice are checked on random halves. `pictures` adds the worst
    images to the page, which may then be published only if the data set may.
    """

    command: str
    confidence: float = 0.95
    device: Device = "cpu"
    changes: int = 0
    others: Mapping[str, Dataset] = field(default_factory=dict)
    interval_repeats: int = 0
    pictures: bool = True


def evaluate_bundle(directory: Path, dataset: Dataset, out: Path, options: EvaluateOptions) -> Document:
    """Write evaluation.json and evaluation.html to `out`; return the content of evaluation.json.

    The figures of the data set are under `test`, those of an input gate under `gate`. Other products for the
    gate are `others` or, without any, generated surfaces. Raises DatasetError for a data set without images
    and for a sample that is refused, BundleError or DeviceUnavailable if the bundle cannot be loaded.
    """
    if not len(dataset.samples):
        raise DatasetError("there is no image to evaluate; name a part of the splits that has some")
    out.mkdir(parents=True, exist_ok=True)  # first, because the rest may take hours
    inspector = Inspector.load(directory, options.device, limits=limits())
    bundle, artifact = inspector.bundle, inspector.session.artifact
    evaluation = evaluate_dataset(inspector, dataset, options.confidence)
    document = document_of(options.command, bundle, artifact, evaluation.figures, options.confidence)
    if options.changes:
        document["changes"] = robustness(inspector, dataset, options.confidence, options.changes)
    if options.others:
        document["generalisation"] = generalisation(inspector, options.others, options.confidence)
    if options.interval_repeats:
        document["interval_check"] = check_interval(evaluation.compared, options.interval_repeats)
    if artifact.gate is not None:
        products = {name: product_images(other.samples) for name, other in options.others.items()}
        products = products or generated_products(None)
        document["gate"] = gate_figures(bundle, artifact, dataset.samples, products, options.confidence)
    shown = galleries(inspector, dataset, evaluation.compared) if options.pictures else {}
    write_evaluation(out, document, shown)
    return document
