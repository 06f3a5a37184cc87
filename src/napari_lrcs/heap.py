"""Memory that the C library keeps, or gives back to the system."""

import ctypes
import os
import platform
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``: https://man7.org/linux/man-pages/man3/mallopt.3.html"""

_LARGEST_KEPT, _MOST_OF_OLD = 2**29, 2**25
"""Bytes of the largest block that is kept: what a prediction takes in all on a CPU, and
the most that older versions of the library take."""

_MOST_KEPT = 2**30
"""Bytes that are kept at the end of the heap."""

_USERS_CHOICE = ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Not ``MALLOC_TRIM_THRESHOLD_``: dask sets it, that its workers keep nothing."""


def keep_freed_memory() -> None:
    """Have large arrays take the memory that earlier ones have left, from now on.

    GNU's C library gives large blocks back to the system at once, and the system clears
    whatever it hands out again: a quarter of the time of a narrow network on a
    processor (benchmarks/pages.py). Nothing changes with another C library, or if the
    user has chosen; see `_USERS_CHOICE`.
    """
    if (library := _gnu_c_library()) and os.environ.keys().isdisjoint(_USERS_CHOICE):
        library.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        if not library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT):
            library.mallopt(_M_MMAP_THRESHOLD, _MOST_OF_OLD)


def return_freed_memory() -> None:
    """Give all that is kept back to the system."""
    if library := _gnu_c_library():
        library.malloc_trim(0)


@cache
def _gnu_c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
