"""What became of the rows of a write. Who counts is said by the modules beside this one; `writes` shows it to all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WriteCounts:
    """What became of a frame's rows, by distinct key: new ones, differing ones, and those that were stored already.

    With `only_existing`, rows without a stored key are in none of the three.
    """

    inserted: int = 0
    changed: int = 0
    unchanged: int = 0

    @property
    def written(self) -> int:
        """Rows that were written at all."""
        return self.inserted + self.changed

    def __add__(self, other: WriteCounts) -> WriteCounts:
        return WriteCounts(
            self.inserted + other.inserted, self.changed + other.changed, self.unchanged + other.unchanged
        )
