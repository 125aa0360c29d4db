"""What is no fault of a set and yet worth a look before anything is trained on it."""

from collections.abc import Mapping

from training.data.audit.faults import Examined
from training.data.masks import MaskImage
from training.data.sample import Dataset, MaskFile

MOST_MARKED = 0.8  # of an image's pixels; more is rather a mask turned inside out
_NAMED = 3  # images that a warning names


def warnings_of(dataset: Dataset, examined: Mapping[str, Examined]) -> tuple[str, ...]:
    """What to look at, one line each; the reader's notes come first."""
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
        lines.append("no good image: a run refuses such a set, for it could not tell a false alarm")
    if unmarked:
        lines.append(
            f"{len(unmarked)} of {len(defective)} defective images have no mask: they train the call of the "
            f"whole image only, and no defect is measured on them ({_some(unmarked)})"
        )
    if turned:
        lines.append(
            f"{len(turned)} images are turned by their EXIF and have a mask file, which is not: look whether "
            f"both lie alike ({_some(turned)})"
        )
    if covered:
        lines.append(
            f"{len(covered)} masks mark more than {MOST_MARKED:.0%} of their image: look whether defect and "
            f"background are exchanged ({_some(covered)})"
        )
    if coloured:
        lines.append(
            f"{len(coloured)} of {len(samples)} images are in colour, which is dropped: a defect that "
            f"differs in colour alone is not seen ({_some(coloured)})"
        )
    return tuple(lines)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
