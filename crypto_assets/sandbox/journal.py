"""What was asked of the sandbox: counters and the most recent requests, so that tests can count instead of guessing.

Called by `server` for every answer, and read by tests directly or through `GET /sandbox/requests`.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: path, query as sent, the HTTP status (0 for a dropped connection), the weight used, ms UTC."""

    path: str
    query: str
    status: int
    used_weight: int
    time_ms: int


class RequestLog:
    """Counters since the start or the last reset, and the last 1000 requests. Safe to read from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[Asked] = deque(maxlen=_REMEMBERED)
        self._paths: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._max_weight = 0

    def reset(self) -> None:
        """Forgets everything counted so far."""
        self.take()

    def take(self) -> list[Asked]:
        """What `recent` gives; everything counted so far is forgotten, and nothing is lost in between."""
        with self._lock:
            recent = list(self._recent)
            self._recent.clear()
            self._paths.clear()
            self._statuses.clear()
            self._max_weight = 0
        return recent

    def record(self, asked: Asked) -> None:
        """Counts one answered (or dropped) request."""
        with self._lock:
            self._recent.append(asked)
            self._paths[asked.path] += 1
            self._statuses[asked.status] += 1
            self._max_weight = max(self._max_weight, asked.used_weight)

    @property
    def total(self) -> int:
        """How many requests there were."""
        with self._lock:
            return self._statuses.total()

    @property
    def by_path(self) -> dict[str, int]:
        """Requests by path."""
        with self._lock:
            return dict(self._paths)

    @property
    def by_status(self) -> dict[int, int]:
        """Requests by HTTP status; 0 counts dropped connections."""
        with self._lock:
            return dict(self._statuses)

    @property
    def max_used_weight(self) -> int:
        """The highest weight used in any minute."""
        with self._lock:
            return self._max_weight

    def recent(self) -> list[Asked]:
        """The last requests, at most 1000, oldest first."""
        with self._lock:
            return list(self._recent)

    def as_json(self) -> dict[str, Any]:
        """Everything, as `GET /sandbox/requests` shows it."""
        return {
            "total": self.total,
            "by_path": self.by_path,
            "by_status": {str(status): count for status, count in self.by_status.items()},
            "max_used_weight": self.max_used_weight,
            "recent": [asdict(asked) for asked in self.recent()],
        }
