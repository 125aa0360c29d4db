"""Warnings: properties of a set that are not faults but should be checked before training."""

from collections.abc import Mapping

from training.data.audit.faults import Examined
from training.data.masks import MaskImage
from training.data.sample import Dataset, MaskFile

MOST_MARKED = 0.8  # share of an image's pixels; above it, the mask is probably inverted
_NAMED = 3  # most images named in a warning


def warnings_of(dataset: Dataset, examined: Mapping[str, Examined]) -> tuple[str, ...]:
    """The warnings, one line each, after the notes of the reader."""
    samples = dataset.samples
    defective = [each.name for each in samples if each.defective]
    unmarked = [each.name for each in samples if each.defective and each.annotation is None]
    with_file = {each.name for each in samples if isinstance(each.annotation, MaskFile | MaskImage)}
    turned = [name for name, each in examined.items() if each.turned and name in with_file]
    covered = [name for name, each in examined.items() if each.marked > MOST_MARKED]
    coloured = [name for name, each in examined.items() if each.coloured]
    lines = list(dataset.notes)
    if not defective:
        lines.append("no defective image: nothing can be learnt or tested")
    if len(defective) == len(samples):
        lines.append("no good image: a run refuses such a set, because overkill cannot be measured")
    if unmarked:
        lines.append(
            f"{len(unmarked)} of {len(defective)} defective images have no mask: they train only the "
            f"image-level decision, and pixel metrics leave them out ({_some(unmarked)})"
        )
    if turned:
        lines.append(
            f"{len(turned)} images are turned by their EXIF and have a mask file, which is not: check "
            f"that image and mask have the same orientation ({_some(turned)})"
        )
    if covered:
        lines.append(
            f"{len(covered)} masks mark more than {MOST_MARKED:.0%} of their image: check that defect "
            f"and background are not swapped ({_some(covered)})"
        )
    if coloured:
        lines.append(
            f"{len(coloured)} of {len(samples)} images are in colour and are converted to grey: a "
            f"defect that differs only in colour is not visible ({_some(coloured)})"
        )
    return tuple(lines)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
