"""What the tests of the documentation need to know of Markdown: fences, links, headings, commands."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.marked import without_marked

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^ *```(.*)$")
FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block; `language` is the whole word line after the fence, `line` where its body starts."""

    page: Path
    line: int
    language: str
    body: str

    @property
    def place(self) -> str:
        """Where it stands, as `docs/recipes.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that people write: those at the top and all below docs/."""
    return sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md"))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, start, language, body = [], 0, "", list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if fence and not start:
            start, language, body = number + 1, fence.group(1).strip(), []
        elif fence:
            found.append(Block(page, start, language, textwrap.dedent("\n".join(body)) + "\n"))
            start = 0
        else:
            body.append(line)
    assert not start, f"{page}: the fence opened before line {start} is never closed"
    return found


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of these languages on every page."""
    return [block for page in pages() for block in blocks(page) if block.language in languages]


def prose(page: Path) -> str:
    """A page's own words: without fenced blocks, code spans, and parts that a command wrote."""
    text = without_marked(page.read_text(encoding="utf-8"))
    text = FENCED.sub("", text)
    return re.sub(r"`[^`]*`", "", text)


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(block: Block) -> list[str]:
    """The commands of a shell block: comments dropped, continued lines joined."""
    joined = block.body.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]
