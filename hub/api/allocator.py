"""What the C library does with memory that was freed.

It gives back what a page of 10,000 records held, some megabytes, at the end of each; asking for them again costs a page
fault for every 4 KiB, as much as making a quarter of the page.
"""

from __future__ import annotations

import ctypes
import sys

#: Parameters of glibc's mallopt (malloc.h), and bytes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _MAPPED = 64 << 20, 32 << 20


def keep_freed_memory() -> bool:
    """Lets a process that answers many requests keep up to 64 MiB of freed memory; whether the C library knows how."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_MMAP_THRESHOLD, _MAPPED))
