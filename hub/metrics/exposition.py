"""The text that Prometheus scrapes, and who may have it."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

import prometheus_client as library
from aiohttp import web
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from hub import __version__
from hub.metrics import sharing
from hub.metrics.declared import Declared
from hub.metrics.known import INFO

#: Values of one metric by those of its labels.
Values = Mapping[tuple[str, ...], float]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REFUSAL = "Metrics are for this machine itself, and for who sends HUB_METRICS_TOKEN as a bearer token."
#: What a proxy adds: a request that came through one is not this machine's own, whatever its address.
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")


async def exposed(read: Mapping[Declared, Values] | None = None) -> bytes:
    """All metrics of this process, or of all that share its folder, with ``read``: those that were found just now."""
    return await asyncio.to_thread(_text, {INFO: {(__version__,): 1}, **(read or {})})


def _text(read: Mapping[Declared, Values]) -> bytes:
    folder = sharing.shared()
    found = library.CollectorRegistry()
    found.register(_Read(read))
    if folder is None:
        return library.generate_latest(found) + library.generate_latest(library.REGISTRY)
    MultiProcessCollector(found, str(folder))
    with sharing.alone(folder):
        sharing.tidy(folder)
        return library.generate_latest(found)


class _Read:
    """Gauges that were found just now, as the library collects them."""

    def __init__(self, read: Mapping[Declared, Values]) -> None:
        self._read = read

    def collect(self) -> Iterator[Any]:
        """One family for each."""
        for metric, values in self._read.items():
            family = GaugeMetricFamily(metric.name, metric.text, labels=list(metric.labels))
            for labels, value in values.items():
                family.add_metric(list(labels), value)
            yield family


def admitted(request: web.Request, token: str | None) -> bool:
    """Whether a request may have the metrics: it comes from this machine and through no proxy, or shows the token."""
    if token is not None:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(shown.encode(), token.encode()):
            return True
    return _local(request.remote) and not any(name in request.headers for name in _FORWARDED)


def _local(address: str | None) -> bool:
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
