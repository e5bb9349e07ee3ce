"""The figures as one table, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One line: what was measured, ours, what it is compared with, their ratio, and the target with its verdict.

    What it is compared with is said by `what`; mostly it is what people write by hand.
    """

    what: str
    ours: float | None
    unit: str
    other: float | None = None
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    digits: int = 2


@dataclass
class Report:
    """Sections of figures, in order, with notes below."""

    sections: dict[str, list[Figure]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, section: str, *figures: Figure) -> None:
        """Appends figures to a section, made where it is new."""
        self.sections.setdefault(section, []).extend(figures)

    def print(self) -> None:
        """The table, wide enough for its longest line wherever it goes."""
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
        table.add_column("what", no_wrap=True)
        for heading in ("ours", "other", "ratio"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("target", no_wrap=True)
        table.add_column("met", no_wrap=True)
        for section, figures in self.sections.items():
            table.add_row(f"[bold]{section}[/bold]")
            for each in figures:
                table.add_row(
                    f"  {each.what}",
                    _number(each.ours, each.digits, each.unit),
                    _number(each.other, each.digits, each.unit),
                    _number(each.ratio, 2),
                    each.target,
                    {True: "yes", False: "no", None: ""}[each.met],
                )
        console = Console(width=160, highlight=False, soft_wrap=True)
        console.print(table)
        for note in self.notes:
            console.print(note, markup=False)

    def write(self, file: Path) -> None:
        """The same figures as JSON."""
        document: dict[str, Any] = {
            "sections": {name: [asdict(each) for each in figures] for name, figures in self.sections.items()},
            "notes": self.notes,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=2) + "\n")


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "" if value is None else f"{value:,.{digits}f} {unit}".rstrip()
