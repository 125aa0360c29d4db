"""What is aimed at, beside what was measured."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """A bound on one figure."""

    what: str
    bound: float
    side: Literal["at least", "at most"]
    found: float
    unit: str = ""

    @property
    def reached(self) -> bool:
        """Whether the figure is on the right side."""
        return self.found >= self.bound if self.side == "at least" else self.found <= self.bound

    @property
    def row(self) -> str:
        """The goal's line in the table."""
        unit = f" {self.unit}" if self.unit else ""
        found = f"{self.found:.0f}" if self.bound >= 100 else f"{self.found:.2f}".removesuffix(".00")
        mark = "reached" if self.reached else "**missed**"
        return f"| {self.what} | {self.side} {self.bound:g}{unit} | {found}{unit} | {mark} |"


def goals_table(goals: list[Goal]) -> list[str]:
    """The lines of the table."""
    return ["| goal | wanted | measured | |", "|---|---|---|---|", *(goal.row for goal in goals)]
