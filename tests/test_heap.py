import os
import platform
import subprocess
import sys

import pytest

from napari_lrcs import heap

SIZES = """
import resource
from pathlib import Path

import numpy as np

from napari_lrcs.heap import keep_freed_memory, return_freed_memory


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


keep_freed_memory()
before = resident()
np.ones(2**28, np.uint8)
print(resident() - before)
return_freed_memory()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs GNU's C library")
@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ({}, True),
        ({"MALLOC_TRIM_THRESHOLD_": "65536"}, True),  # dask's workers
        ({"MALLOC_MMAP_THRESHOLD_": "131072"}, False),
    ],
    ids=str,
)
def test_freed_memory_is_kept_until_it_is_returned(
    given: dict[str, str], is_kept: bool
) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | given

    printed = subprocess.check_output([sys.executable, "-c", SIZES], env=env, text=True)

    kept, left = map(int, printed.split())
    assert kept == pytest.approx(256 if is_kept else 0, abs=32)
    assert left == pytest.approx(0, abs=32)


@pytest.mark.parametrize("most", [2**25, 2**40])
def test_older_libraries_take_what_they_can(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        largest = 0

        def mallopt(self, parameter: int, value: int) -> int:
            if parameter == -3 and value <= most:  # M_MMAP_THRESHOLD of <malloc.h>
                self.largest = value
            return int(value <= most)

    library = Library()
    monkeypatch.setattr(heap, "_gnu_c_library", lambda: library)
    for name in heap._USERS_CHOICE:
        monkeypatch.delenv(name, raising=False)

    heap.keep_freed_memory()

    assert library.largest == min(most, 2**29)
