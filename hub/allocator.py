"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes
import sys

#: Parameters of glibc's mallopt (malloc.h), and bytes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Lets a process that answers many requests keep up to 64 MiB of freed memory; whether the C library knows how.

    It gives back what a page of 10,000 records held, some megabytes, at the end of each; asking for them again costs a
    page fault for every 4 KiB, as much as making a quarter of the page.
    """
    return _set(_TRIM_THRESHOLD, 64 << 20) and _set(_MMAP_THRESHOLD, 32 << 20)


def give_back_freed_memory() -> bool:
    """Lets a process that works on whole districts give back columns that it freed; whether the C library knows how.

    Pieces of a megabyte and more are mapped one by one. Otherwise glibc raises that size, up to 32 MiB, with each such
    piece that is freed, and holes between others stay with the process: of half a million compared people a tenth. Of
    smaller pieces, such as the objects of a page of JSON, 64 MiB are kept: the next page wants them again.
    """
    return _set(_TRIM_THRESHOLD, 64 << 20) and _set(_MMAP_THRESHOLD, 1 << 20)


def _set(parameter: int, value: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(parameter, value))
