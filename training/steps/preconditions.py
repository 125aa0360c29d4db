"""What a run needs of its set, asked before anything is fitted, for a fit takes hours."""

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.inference.tiling import plan_tiles
from training.config import ConfigError, RunConfig
from training.data.datamodule import input_contract
from training.data.sample import Dataset, DatasetError, named
from training.data.splits import Splits

_JUDGED = ("calibration", "test")  # by the bundle, as the service judges


def check_set(config: RunConfig, dataset: Dataset, splits: Splits) -> None:
    """Refuse what the steps after the fit would refuse, and tell how many pictures no split has.

    This decodes the pictures that those steps judge. Raises ConfigError for a severity of no class;
    DatasetError for a picture that the service would refuse, such as one below the least side, for a mask
    that does not fit, and for a calibration split without any mask.
    """
    unknown = sorted(set(config.severity) - set(dataset.classes))
    if unknown:
        raise ConfigError(f"severity names {unknown[0]}; the classes are {', '.join(dataset.classes)}")
    judged = _JUDGED if config.split.folds is None else tuple(splits)
    marked = {part: _marked(config, splits, part) for part in judged}
    if not marked[judged[0]]:
        raise DatasetError(
            f"no defective image of the {judged[0]} split has a mask, and thresholds are chosen on masks: "
            "mark the defects of more images, or give that split a larger share"
        )
    if left_out := len(dataset.samples) - sum(map(len, splits.values())):
        print(
            f"{left_out} of {len(dataset.samples)} pictures are in no split: they are beyond train_share, or "
            "of groups in the published test split",
            flush=True,
        )


def _marked(config: RunConfig, splits: Splits, part: str) -> int:
    """How many defective pictures of a split have a mask that marks something."""
    contract = input_contract(config.model)
    limits = DecodeLimits(min_side_px=contract.min_side_px)
    count = 0
    for sample in splits[part]:
        with named(sample.name, sample.image):
            height, width = decode(sample.image.read(), limits).shape[:2]
            plan_tiles(height, width, contract)
        count += sample.defective and sample.class_bits((height, width)) is not None
    return count
