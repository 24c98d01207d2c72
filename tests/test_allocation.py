import platform
import resource

import psutil
import pytest
import torch

from hybrid_dip.allocation import keeping_freed_memory

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc", reason="only glibc is told what to do with freed memory"
)
MIB = 2**20


def allocate_and_free(mib: int) -> None:
    torch.empty(mib * MIB // 4).fill_(1)


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_pages_are_mapped_once() -> None:
    with keeping_freed_memory():
        allocate_and_free(64)
        before = faults()
        for _ in range(10):
            allocate_and_free(64)
        assert faults() - before < 1000  # anew each time they would be 16384, with pages of 4 KiB


def test_what_is_free_goes_back_in_the_end() -> None:
    process = psutil.Process()
    with keeping_freed_memory():
        allocate_and_free(256)
        kept = process.memory_info().rss
    assert process.memory_info().rss < kept - 200 * MIB


def test_it_leaves_a_function_as_it_was() -> None:
    @keeping_freed_memory()
    def add(a: int, *, b: int) -> int:
        return a + b

    assert [add(1, b=2), add(3, b=4)] == [3, 7]
    with pytest.raises(RuntimeError, match="inside"), keeping_freed_memory():
        raise RuntimeError("inside")
