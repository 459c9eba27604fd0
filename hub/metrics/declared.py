"""How a metric is declared.

The library decides at its import whether numbers are kept in memory or in files that several processes share: a process
that shares them calls ``sharing.share`` before it imports this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import prometheus_client as library

Kind = Literal["counter", "histogram", "gauge"]
#: Every metric by its name, in the order of the page.
METRICS: dict[str, Declared] = {}
#: Upper bounds of histograms, in seconds.
SHORT = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LONG = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200)


class Declared:
    """One metric: ``name`` as Prometheus shows it, ``text`` for its help and the page, and the names of its labels.

    ``read``: its value is found when somebody asks (see ``exposition``), and nobody sets it.
    """

    def __init__(
        self, kind: Kind, name: str, text: str, labels: Sequence[str] = (), *, bounds: Sequence[float] = SHORT,
        read: bool = False,
    ) -> None:  # fmt: skip
        if name in METRICS:
            raise ValueError(f"{name} is declared twice")
        self.kind, self.name, self.text, self.labels, self.bounds, self.read = kind, name, text, labels, bounds, read
        self._metric: Any = None if read else self._made()
        self._children: dict[tuple[str, ...], Any] = {}
        METRICS[name] = self

    def child(self, values: tuple[str, ...] = ()) -> Any:
        """The metric of the library with these values of the labels, in the order in which they are declared."""
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = self._metric.labels(*values) if values else self._metric
        return found

    def _made(self) -> Any:
        if self.kind == "counter":
            return library.Counter(self.name.removesuffix("_total"), self.text, self.labels)
        if self.kind == "histogram":
            return library.Histogram(self.name, self.text, self.labels, buckets=self.bounds)
        # Those of processes that are gone do not count.
        return library.Gauge(self.name, self.text, self.labels, multiprocess_mode="livesum")


class Counter(Declared):
    """Something that happens."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        super().__init__("counter", name, text, labels)

    def count(self, *values: str, times: int = 1) -> None:
        """It happened so many times."""
        self.child(values).inc(times)


class Histogram(Declared):
    """Seconds that something takes."""

    def __init__(self, name: str, text: str, *labels: str, bounds: Sequence[float] = SHORT) -> None:
        super().__init__("histogram", name, text, labels, bounds=bounds)

    def took(self, seconds: float, *values: str) -> None:
        """It took so long."""
        self.child(values).observe(seconds)


class Gauge(Declared):
    """How much there is right now, over all processes on the machine."""

    def __init__(self, name: str, text: str, *labels: str, read: bool = False) -> None:
        super().__init__("gauge", name, text, labels, read=read)

    def is_now(self, value: float, *values: str) -> None:
        """So much."""
        self.child(values).set(value)
