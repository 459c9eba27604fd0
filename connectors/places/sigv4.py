"""Signing of requests to S3 (AWS Signature Version 4, "Authenticating Requests: Using the Authorization Header").

Only what a place asks: requests without a body. AWS publishes signed examples; a test compares with them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

EMPTY = hashlib.sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Signer:
    """The keys of one region."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str

    def headers(
        self, method: str, host: str, path: str, query: Sequence[tuple[str, str]], given: Mapping[str, str],
        at: datetime,
    ) -> dict[str, str]:  # fmt: skip
        """The headers of a signed request: those ``given``, in lower case, and those of the signature.

        ``path`` is encoded already (``encoded``), ``query`` is not. ``at``: now, in UTC.
        """
        stamp = at.strftime("%Y%m%dT%H%M%SZ")
        signed = {**given, "host": host, "x-amz-date": stamp, "x-amz-content-sha256": EMPTY}
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
        canonical = "\n".join((method, path, canonical_query(query), lines, names, EMPTY))
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"Credential={self.access_key}/{scope}"
        authorization = f"{_ALGORITHM} {credential},SignedHeaders={names},Signature={signature}"
        return {**signed, "authorization": authorization}


def encoded(path: str) -> str:
    """A path with all but unreserved characters and slashes encoded, as S3 signs it."""
    return quote(path, safe="/-_.~")


def canonical_query(query: Sequence[tuple[str, str]]) -> str:
    """A query as it is signed, and sent."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)
