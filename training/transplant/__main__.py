"""Command line of transplants: what they are worth on a data set."""

import argparse
import json
import sys
from pathlib import Path

from training.config import ConfigError
from training.data.registry import read_dataset
from training.data.sample import DatasetError
from training.data_commands import at_least
from training.transplant.embedding import frozen_encoder
from training.transplant.measure import Study, measure_transplants
from training.transplant.transplant import CROP_SIDE_PX

WHOLE_SIDE_PX = 320


def main(arguments: list[str] | None = None) -> int:
    """Measure and print JSON; returns 0, or 2 with one line on stderr where the input does not allow it."""
    parser = argparse.ArgumentParser(prog="python -m training.transplant", description=__doc__)
    parser.add_argument("root", type=Path, help="root of a data set with marked defects")
    parser.add_argument("--share", type=float, default=Study.share, help="of the defective groups: the few")
    parser.add_argument("--count", type=int, default=Study.count, help="pictures generated per fold")
    parser.add_argument("--folds", type=int, default=Study.folds)
    parser.add_argument("--seed", type=at_least(0), default=Study.seed)
    options = parser.parse_args(arguments)
    study = Study(options.share, options.count, options.folds, options.seed)
    try:
        whole, crop = frozen_encoder(WHOLE_SIDE_PX), frozen_encoder(CROP_SIDE_PX)
        figures = measure_transplants(read_dataset(options.root), study, whole, crop)
    except (ConfigError, DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
