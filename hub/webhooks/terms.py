"""How a subscription wants to be told: as what, of what, in which portions and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from hub.changes.types import Wanted
from hub.errors import Code, HubError

#: signal: that something moved; refs: which records, by id; records: what they say.
Mode = Literal["signal", "refs", "records"]
MODES: tuple[Mode, ...] = ("signal", "refs", "records")
#: Standard Webhooks advises to stay under 20 kB; records would come by the dozen then.
USUAL_BYTES: dict[Mode, int] = {"signal": 20_000, "refs": 20_000, "records": 256_000}
BYTES = (2_000, 1_000_000)
CHANGES = (1, 5_000)
QUIET_SECONDS = (0, 60)
LONGEST_WAIT_SECONDS = (0, 600)
RATE_PER_MINUTE = (1, 6_000)
#: By how many seconds the clocks of two processes may differ.
CLOCKS_APART = 1.0


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings of a subscription. What they are set to has an effect at the receiver, from the next batch on.

    ``types``: patterns of hub.changes.types.Wanted, none for all. ``max_bytes``: of a body; None is what is usual for
    the mode. ``quiet_seconds``: a window is opened once nothing has come for so long, but at the latest when its first
    change has waited for ``longest_wait_seconds``. ``rate_per_minute``: most attempts in a minute, None for no bound.
    """

    mode: Mode = "refs"
    types: tuple[str, ...] = ()
    max_bytes: int | None = None
    max_changes: int = 500
    quiet_seconds: float = 0
    longest_wait_seconds: float = 30
    rate_per_minute: int | None = None

    @property
    def most_bytes(self) -> int:
        """Of one body; a single change that is longer is sent alone."""
        return self.max_bytes or USUAL_BYTES[self.mode]

    @property
    def spacing(self) -> float:
        """Seconds from one attempt to the next."""
        return 60 / self.rate_per_minute if self.rate_per_minute else 0

    @property
    def wanted(self) -> Wanted:
        """The types that it is told of."""
        return _wanted(self.types)

    def hush(self, since_first: float, since_last: float) -> float:
        """Seconds for which a window is not opened yet, given the ages of its first and of its last change.

        None for what will only come to be, by our clock: one was set back, and nobody can say how long that is.
        """
        if since_last < -CLOCKS_APART:
            return 0
        left = min(self.quiet_seconds - since_last, self.longest_wait_seconds - since_first)
        return max(0.0, min(left, self.quiet_seconds))

    def check(self) -> None:
        """Raises HubError(INVALID_REQUEST) that names what is out of bounds."""
        if self.mode not in MODES:
            raise HubError(Code.INVALID_REQUEST, f"mode is one of {', '.join(MODES)}.")
        bounds = {
            "max_bytes": BYTES, "max_changes": CHANGES, "quiet_seconds": QUIET_SECONDS,
            "longest_wait_seconds": LONGEST_WAIT_SECONDS, "rate_per_minute": RATE_PER_MINUTE,
        }  # fmt: skip
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise HubError(Code.INVALID_REQUEST, f"{name} goes from {least} to {most}.")
        _wanted(self.types)


@lru_cache(maxsize=1000)
def _wanted(types: tuple[str, ...]) -> Wanted:
    return Wanted.of(types)
