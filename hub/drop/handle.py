"""A file that is being written, and what of it is missing."""

from __future__ import annotations

import os

#: More gaps than that become one.
_MOST_GAPS = 256
_FAR = 1 << 64


class Handle:
    """An open file.

    ``missing``: stretches of bytes that a client was refused or that it skipped, in order and apart: with any of them
    the file is not whole, whatever the client says. ``why``: what was refused last.
    """

    def __init__(self, name: str, descriptor: int, size: int, *, appends: bool) -> None:
        self.name, self.descriptor, self.size, self.appends = name, descriptor, size, appends
        self.missing: list[tuple[int, int]] = []
        self.why = "Some of it was never written."

    @property
    def live(self) -> bool:
        """Whether it may still be written: not once another session opened the same file."""
        return self.descriptor >= 0

    def wrote(self, start: int, end: int) -> None:
        """Notes bytes that are there now."""
        if start > self.size:
            self._miss(self.size, start)
        self.size = max(self.size, end)
        if not self.appends:
            parts = [part for a, b in self.missing for part in ((a, min(b, start)), (max(a, end), b))]
            self.missing = [(a, b) for a, b in parts if a < b]

    def failed(self, start: int, end: int, why: str) -> None:
        """Notes bytes that are not there. Where a client appends nobody knows what comes in their place."""
        self.why = why
        self._miss(start, _FAR if self.appends else max(end, start + 1))

    def spoiled(self, why: str) -> None:
        """Notes that nothing of it can be relied on."""
        self.why = why
        self._miss(0, _FAR)

    def cut(self, size: int) -> None:
        """Notes that it has this size now. A file that begins anew lacks nothing."""
        self.size = size
        if not size:
            self.missing = []

    def close(self) -> None:
        """Closes the file as it is, but without what comes after a gap: who resumes goes on at its end.

        Raises OSError; it is closed then, too.
        """
        if not self.live:
            return
        descriptor, self.descriptor = self.descriptor, -1
        try:
            if self.missing and self.missing[0][0] < os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, self.missing[0][0])
        finally:
            os.close(descriptor)

    def _miss(self, start: int, end: int) -> None:
        merged: list[tuple[int, int]] = []
        for a, b in sorted([*self.missing, (start, end)]):
            if merged and a <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(b, merged[-1][1])
            else:
                merged.append((a, b))
        self.missing = merged if len(merged) <= _MOST_GAPS else [(merged[0][0], merged[-1][1])]
