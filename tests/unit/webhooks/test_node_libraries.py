"""npm's standardwebhooks and svix, and Node's own ed25519, take our signatures, and we take theirs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from hub.webhooks import sign

PACKAGES = ("standardwebhooks@1.1.1", "svix@2.5.0")
SCRIPT = Path(__file__).with_name("libraries.mjs")
BODIES = ("{}", '{"test": 2432232314}', '{"name": "Zoë 𝄞 \\u0000"}', " [1,\n2] ", json.dumps("x" * 20_000))


@pytest.fixture(scope="module")
def node() -> Any:
    """Answers cases with the libraries, which are kept in the user's cache once they were fetched."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: signatures are compared with Python's libraries only")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rosterhub-tests"
    folder = cache / "-".join(PACKAGES).replace("@", "_")
    if not folder.exists():
        _fetch(cache, folder)

    def ask(cases: list[dict[str, Any]]) -> list[Any]:
        done = subprocess.run(
            ["node", SCRIPT, folder], input=json.dumps(cases), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        answers: list[Any] = json.loads(done.stdout)
        return answers

    return ask


def _fetch(cache: Path, folder: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as draft:
        # By default npm waits 10 and then 60 s before it asks a registry again that it cannot reach.
        quick = ["--fetch-retries=1", "--fetch-retry-maxtimeout=1000", "--fetch-retry-mintimeout=1000"]
        plain = ["--ignore-scripts", "--no-audit", "--no-fund"]
        install = ["npm", "install", "--prefix", draft, *plain, *quick, *PACKAGES]
        try:
            subprocess.run(install, capture_output=True, check=True, timeout=60)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            pytest.skip("npm could not fetch the libraries: its registry does not answer")
        try:
            Path(draft).rename(folder)
        except OSError:
            assert folder.exists()  # another process was faster
        else:
            Path(draft).mkdir()  # for the clean-up, which wants its folder


@pytest.mark.threat("T36")
def test_ours_are_verified_and_altered_ones_refused(node: Any) -> None:
    secret, private, now = sign.new_secret(), sign.new_private_key(), int(time.time())
    keys = {"standardwebhooks": secret, "svix": secret, "node": sign.public_key(private)}
    cases, expected = [], []
    for library, key in keys.items():
        for body in BODIES:
            # One header for all: a receiver skips the entries that it does not know.
            headers = sign.headers([private, sign.new_secret(), secret], "msg_1", now, body.encode())
            good = {"library": library, "key": key, "body": body, "headers": headers}
            other = headers | {"webhook-id": "msg_2"}
            cases += [good, good | {"body": body + " "}, good | {"headers": other}]
            refusal = "TypeError" if library == "node" else "WebhookVerificationError"
            expected += [True, refusal, refusal]
    assert node(cases) == expected


@pytest.mark.threat("T36")
def test_theirs_are_the_same_as_ours_and_we_verify_them(node: Any) -> None:
    secret, private, now = sign.new_secret(), sign.new_private_key(), int(time.time())
    keys = {"standardwebhooks": secret, "svix": secret, "node": private}
    wanted = [(library, key, body) for library, key in keys.items() for body in BODIES]
    signed = node([{"library": name, "key": key, "id": "msg_1", "at": now, "body": body} for name, key, body in wanted])
    for (_, key, body), theirs in zip(wanted, signed, strict=True):
        assert theirs == sign.signature(key, "msg_1", now, body.encode())
        shown = sign.public_key(key) if key == private else key
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": theirs}
        assert sign.verify(shown, headers, body.encode(), now=now)
        assert not sign.verify(shown, headers, body.encode() + b" ", now=now)
