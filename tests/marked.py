"""Parts of Markdown pages that a command writes, between `<!-- NAME:begin -->` and `<!-- NAME:end -->`."""

import re
from pathlib import Path


def marked(text: str, name: str) -> str:
    """What stands between the markers of that name; raises LookupError where they are missing."""
    found = _pattern(name).search(text)
    if found is None:
        raise LookupError(f"there is no <!-- {name}:begin --> ... <!-- {name}:end -->")
    return found.group(2).strip("\n")


def renew(page: Path, name: str, body: str) -> None:
    """Put a new body between the markers of that name."""
    text = page.read_text(encoding="utf-8")
    marked(text, name)
    fresh = _pattern(name).sub(lambda found: f"{found.group(1)}\n{body}\n{found.group(3)}", text)
    page.write_text(fresh, encoding="utf-8")


def without_marked(text: str) -> str:
    """The text without anything that a command wrote."""
    return re.sub(r"<!-- (\S+):begin -->.*?<!-- \1:end -->", "", text, flags=re.DOTALL)


def _pattern(name: str) -> re.Pattern[str]:
    begin, end = (re.escape(f"<!-- {name}:{side} -->") for side in ("begin", "end"))
    return re.compile(f"({begin})(.*?)({end})", re.DOTALL)
