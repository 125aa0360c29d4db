"""Reasons in words for people; programs read the rule, the values and the unit."""

from app.inspection.results import Reason

# What each rule measures.
MEASURED = {
    "max_count": "number of defects",
    "max_area": "area",
    "max_length": "length",
    "max_width": "width",
    "max_total_area": "total area",
    "max_density": "defects in one window",
    "min_distance": "distance",
    "border": "defects at the image's edge",
    "head_without_mask": "head probability, though no defect explains it",
    "low_confidence": "estimated Dice",
    "blur": "sharpness",
    "exposure": "brightness",
    "saturation": "share of black and white pixels",
    "polarity": "brightness of the border against the rest",
    "grain": "noise",
    "size": "size of the image",
    "product": "distance from the training images",
    "part_not_found": "share of the image inside the part's outline",
}
UNITS = {"px": " px", "px2": " px²", "mm": " mm", "mm2": " mm²", "grey_levels": " grey levels"}


def short(reason: Reason) -> str:
    """The measured value against its limit, such as `length 14.2 > 10 px`."""
    sign = ">" if reason.measured > reason.limit else "<" if reason.measured < reason.limit else "="
    measured, limit = figures(reason.measured, reason.limit)
    return f"{MEASURED[reason.rule]} {measured} {sign} {limit}{UNITS.get(reason.unit, '')}"


def sentence(reason: Reason) -> str:
    """The same as a sentence, with its class, zone and defect."""
    how = "above" if reason.measured > reason.limit else "below" if reason.measured < reason.limit else "at"
    measured, limit = figures(reason.measured, reason.limit)
    unit = UNITS.get(reason.unit, "")
    what = MEASURED[reason.rule]
    about = what.capitalize() if reason.defect_class is None else f"{reason.defect_class}: {what}"
    where = "" if reason.zone is None else f" in zone {reason.zone}"
    which = "" if reason.defect is None else f" (defect {reason.defect + 1})"
    return f"{about}{where} {measured}{unit}, {how} the limit of {limit}{unit}{which}"


def figures(measured: float, limit: float) -> tuple[str, str]:
    """Both as text; the measured one is rounded, but never so far that it looks like the limit."""
    exact, rounded = f"{limit:.9g}", number(measured)
    return (f"{measured:.9g}" if rounded == exact != f"{measured:.9g}" else rounded), exact


def number(value: float) -> str:
    """A value with about three significant digits, never in exponent notation."""
    decimals = next((places for places, least in enumerate((1000, 10, 1)) if abs(value) >= least), 3)
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
