import platform
import resource
import subprocess
import sys

import psutil
import pytest
import torch

from hybrid_dip.execution.allocator import keep_freed_memory, scarce_memory

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc", reason="only glibc is told what to do with freed memory"
)
MIB = 2**20


def allocate_and_free(mib: int) -> None:
    torch.empty(mib * MIB // 4).fill_(1)


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_pages_are_mapped_once() -> None:
    rounds, mib = 10, 64
    anew = rounds * mib * MIB // resource.getpagesize()
    with keep_freed_memory():
        # A small block that stays may take a bite out of what was freed; the heap then grows once more.
        for _ in range(rounds):
            allocate_and_free(mib)
        before = faults()
        for _ in range(rounds):
            allocate_and_free(mib)
        assert faults() - before < anew / 4


MORE_THAN_AN_INT_COUNTS = """
import resource, torch
from hybrid_dip.execution.allocator import keep_freed_memory

def round_of_three_gigabytes():
    blocks = [torch.empty(200 * 2**18).fill_(1) for _ in range(15)]

with keep_freed_memory():
    round_of_three_gigabytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    round_of_three_gigabytes()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(psutil.virtual_memory().available < 4 * 2**30, reason="it takes three gigabytes")
def test_more_is_kept_than_an_int_counts() -> None:
    done = subprocess.run([sys.executable, "-c", MORE_THAN_AN_INT_COUNTS], capture_output=True, text=True)
    assert int(done.stdout) < 3000 * MIB // resource.getpagesize() / 4, done.stderr


def test_what_is_free_goes_back_in_the_end() -> None:
    process = psutil.Process()
    with keep_freed_memory():
        allocate_and_free(256)
        kept = process.memory_info().rss
    assert process.memory_info().rss < kept - 200 * MIB


def test_it_leaves_a_function_as_it_was() -> None:
    @keep_freed_memory()
    def add(a: int, *, b: int) -> int:
        return a + b

    assert [add(1, b=2), add(3, b=4)] == [3, 7]
    with pytest.raises(RuntimeError, match="inside"), keep_freed_memory():
        raise RuntimeError("inside")


def test_where_memory_is_scarce_nothing_is_kept() -> None:
    process = psutil.Process()
    with scarce_memory(), keep_freed_memory():
        before = process.memory_info().rss
        allocate_and_free(256)
        assert process.memory_info().rss < before + 50 * MIB
    with keep_freed_memory():
        before = process.memory_info().rss
        allocate_and_free(256)
        assert process.memory_info().rss > before + 200 * MIB
