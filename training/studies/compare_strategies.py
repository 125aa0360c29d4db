"""Runs several transfer strategies on the same folds and compares them."""

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

from app.inspection.repeats import repeated
from training.config import ConfigError, OperatingPointConfig, StrategyName
from training.data.datamodule import input_contract
from training.data.sample import Sample
from training.files import read_json
from training.model.finetune import COST
from training.model.strategies import STRATEGIES
from training.run import Run
from training.steps.fit import initial_segmenter
from training.steps.split import SplitRun, read_data
from training.studies.comparison import Comparison, FoldResult, compare, write_comparison
from training.studies.cross_validation import evaluated, folds_of
from training.studies.features import FeatureSvm, fit_svm, image_figures
from training.thresholds.risk import choose_row, trade_off


def compare_strategies(run: Run, names: list[StrategyName], folds: int, repeats: int) -> Comparison:
    """Run every fold with every strategy; write comparison.json and comparison.md to the run's folder.

    Only the strategy differs from the run's settings. A fold whose evaluation exists is not run again.
    """
    results, dataset = [], read_data(run)
    for name in names:
        config = run.config.model_copy(update={"fit": run.config.fit.model_copy(update={"strategy": name})})
        base = replace(run, config=config, directory=run.directory / "strategies" / name)
        for part in folds_of(base, dataset, folds, repeats):
            results.append(_result(part, name))
            print(results[-1], flush=True)
    comparison = compare(results, run.config.operating_point.confidence)
    write_comparison(run.directory, results, comparison)
    return comparison


def _result(part: SplitRun, name: StrategyName) -> FoldResult:
    assert part.fold is not None
    if not STRATEGIES[name].segments:
        return _svm_result(part, name)
    figures = evaluated(part)
    cost = read_json(part.directory / "fit" / COST)
    accuracy, recall, auroc = (figures[each] for each in ("accuracy", "recall", "auroc"))
    assert accuracy is not None  # every split has good and defective images
    assert recall is not None
    assert auroc is not None
    return FoldResult(
        strategy=name,
        repeat=part.fold.repeat,
        fold=part.fold.number,
        accuracy=accuracy,
        recall=recall,
        auroc=auroc,
        dice=figures["dice"],
        **cost,
    )


def _svm_result(part: SplitRun, name: StrategyName) -> FoldResult:
    """The result of the strategy without a mask, fitted on the training split like the others."""
    assert part.fold is not None
    started = monotonic()
    train = part.splits["train"]
    machine = fit_svm(
        initial_segmenter(part, part.classes),
        input_contract(part.config.model),
        (sample.pixels() for sample in train),
        [sample.defective for sample in train],
        [sample.group for sample in train],
    )
    seconds = monotonic() - started
    test = part.splits["test"]
    probability = machine.probability(sample.pixels() for sample in test)
    threshold = _threshold(machine, part.splits["calibration"], part.config.operating_point)
    figures = image_figures([sample.defective for sample in test], probability, threshold)
    return FoldResult(
        strategy=name,
        repeat=part.fold.repeat,
        fold=part.fold.number,
        accuracy=figures.accuracy,
        recall=figures.recall,
        auroc=figures.auroc,
        dice=None,
        seconds=seconds,
    )


def _threshold(machine: FeatureSvm, samples: Sequence[Sample], config: OperatingPointConfig) -> float:
    """The threshold of the probability, chosen like an image threshold; 0.5 if none separates the images."""
    probability = machine.probability(sample.pixels() for sample in samples).tolist()
    table = trade_off(
        probability,
        [sample.defective for sample in samples],
        [sample.group for sample in samples],
        config.confidence,
    )
    return 0.5 if table is None else choose_row(table, config)[0].image_threshold


def strategy_names(text: str) -> list[StrategyName]:
    """Parse a comma-separated list of strategies; raises ConfigError if they cannot be compared."""
    known: dict[str, StrategyName] = {name: name for name in STRATEGIES}
    wanted = [each.strip() for each in text.split(",")]
    unknown = [each for each in wanted if each not in known]
    if unknown:
        raise ConfigError(f"unknown strategy {unknown[0]!r}; known strategies: {', '.join(known)}")
    if repeated(wanted):
        raise ConfigError(f"--strategies {text} repeats a strategy; name each once")
    if not any(STRATEGIES[known[each]].segments for each in wanted):
        raise ConfigError(f"--strategies {text} has no strategy with a mask to choose; add one")
    return [known[each] for each in wanted]
