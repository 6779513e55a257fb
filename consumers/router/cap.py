"""How much of a source partition may be quarantined before it stands still."""

from __future__ import annotations

from bianhe.consumers.router.limits import Limits


class Cap:
    """At most so many of so many records in a row; more of them are no bad records but a bad deployment.

    A window begins with its first bad record. What the open transaction counted can be undone.
    """

    def __init__(self, limits: Limits, released: int = 0) -> None:
        self._most = limits.quarantine_max
        self._window = limits.quarantine_window
        self._released = released
        """Offset before which an administrator lets everything be quarantined."""
        self._begin = self.count = 0
        self._committed = 0, 0

    def admits(self, offset: int) -> bool:
        """Count one more bad record, or say that it is one too many."""
        if offset < self._released:
            return True
        if offset - self._begin >= self._window:
            self._begin, self.count = offset, 0
        if self.count >= self._most:
            return False
        self.count += 1
        return True

    def commit(self) -> None:
        self._committed = self._begin, self.count

    def abort(self) -> None:
        self._begin, self.count = self._committed
