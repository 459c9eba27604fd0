"""Numbers of several processes are added up and outlive them; a page tells them to nobody from elsewhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from hub.metrics import exposition
from hub.metrics.known import METRICS

#: Counts, sets a gauge, says what all processes have together where it is asked to, and waits to be killed.
PROCESS = """
import asyncio, sys, time
from pathlib import Path
from hub.metrics.sharing import share
share(Path(sys.argv[1]))
from hub.metrics import exposition, known
known.DELIVERIES.count("delivered", times=int(sys.argv[2]))
known.DELIVERY_SECONDS.took(0.2, "delivered")
known.IN_FLIGHT.is_now(int(sys.argv[2]), "webhooks")
print(asyncio.run(exposition.exposed()).decode() + "END", flush=True)
time.sleep(60)
"""


def _started(folder: Path, number: int) -> tuple[subprocess.Popen[str], dict[str, float]]:
    """A process that has counted, and what it told then."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), str(number)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = []
    while (line := process.stdout.readline()).strip() != "END":
        assert line, "the process ended"
        lines.append(line)
    return process, {m[1]: float(m[2]) for m in re.finditer(r"^(\w+(?:\{.*\})?) (\S+)$", "".join(lines), re.MULTILINE)}


def _killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


DELIVERED = 'rosterhub_deliveries_total{outcome="delivered"}'
FLYING = 'rosterhub_in_flight{queue="webhooks"}'
SUM = 'rosterhub_delivery_seconds_count{outcome="delivered"}'


def test_processes_add_up_and_what_is_gone_stays_counted(tmp_path: Path) -> None:
    folder = tmp_path / "metrics" / "api"
    first, told = _started(folder, 1)
    try:
        assert (told[DELIVERED], told[FLYING], told[SUM]) == (1, 1, 1)
        assert folder.stat().st_mode & 0o777 == 0o700
        second, told = _started(folder, 10)
        assert (told[DELIVERED], told[FLYING], told[SUM]) == (11, 11, 2)
        _killed(second)
        third, told = _started(folder, 100)
        _killed(third)
        assert (told[DELIVERED], told[FLYING], told[SUM]) == (111, 101, 3)
        fourth, told = _started(folder, 0)
        _killed(fourth)
        assert (told[DELIVERED], told[FLYING], told[SUM]) == (111, 1, 4)
        kept = {path.name for path in folder.glob("counter_*.db")}
        assert kept == {"counter_0.db", f"counter_{first.pid}.db", f"counter_{fourth.pid}.db"}
    finally:
        _killed(first)


@pytest.mark.parametrize(
    ("remote", "headers", "token", "admitted"),
    [
        ("127.0.0.1", {}, None, True),
        ("::1", {}, "secret", True),
        ("::ffff:127.0.0.1", {}, None, True),
        ("10.0.0.1", {}, None, False),
        ("127.0.0.1", {"X-Forwarded-For": "9.9.9.9"}, None, False),  # a proxy on this machine
        ("127.0.0.1", {"Forwarded": "for=9.9.9.9"}, "secret", False),
        ("9.9.9.9", {"Authorization": "Bearer secret"}, "secret", True),
        ("9.9.9.9", {"Authorization": "Bearer wrong"}, "secret", False),
        ("9.9.9.9", {"Authorization": "Bearer None"}, None, False),
        ("9.9.9.9", {"Authorization": "Bearer "}, "secret", False),
        (None, {}, None, False),
    ],
)
def test_metrics_are_for_the_machine_itself_or_for_who_has_the_token(
    remote: str | None, headers: dict[str, str], token: str | None, *, admitted: bool
) -> None:
    request = make_mocked_request("GET", "/metrics", headers=headers).clone(remote=remote or "")
    assert exposition.admitted(request, token) is admitted


def test_names_are_prometheus_own_and_labels_are_few() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"rosterhub_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert set(metric.labels) <= {
            "version", "outcome", "channel", "queue", "state", "kind", "route", "status", "pool"}  # fmt: skip
        assert "`" not in metric.name + "".join(metric.labels)


def test_a_process_that_has_counted_cannot_share_any_more() -> None:
    code = (
        "from pathlib import Path; from hub.metrics import known, sharing\n"
        "known.DELIVERIES.count('dns')\n"
        "try: sharing.share(Path('/nonexistent'))\n"
        "except RuntimeError: print('refused')\n"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "refused\n"
    assert time.monotonic() - started < 20
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
