"""Mutants of the golden files: whatever a file holds, only frames or a VtokError come of it, in bounded memory."""

import random
import resource
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from make_golden import WEIGHTS
from mutations import SEEDS, mutant_of
from reading_everything import Reader

from vtok.model.tokenizer import VideoTokenizer

NUM_MUTANTS = 2000
NUM_BATCHES = 2
MEMORY = 256 << 20  # bytes; the largest frames that are decoded here need a hundredth of it


@contextmanager
def memory_ceiling(num_bytes):
    """Let at most `num_bytes` of address space be added: any allocation beyond fails where it is asked for.

    A limit on the address space, and not the peak of resident memory afterwards: that would not see memory which is
    asked for and not touched, nor tell whose fault it was. Set in this process, relative to what it has: torch alone
    maps gigabytes. Linux alone enforces it.
    """
    try:
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def one_thread():
    """Tensors here are so small that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reader(tmp_path_factory, one_thread):
    reader = Reader(VideoTokenizer.from_pretrained(WEIGHTS), tmp_path_factory.mktemp("mutants"))
    for seed in SEEDS:  # so that what is loaded or cached once does not count
        reader.read(seed, accesses=True, edits=True, decodes_to_video=True)
    return reader


@pytest.mark.parametrize("batch", range(NUM_BATCHES))
def test_of_mutants_come_frames_or_errors_of_the_tree(batch, reader):
    hows = Counter()
    reader.outcomes.clear()
    with memory_ceiling(MEMORY):
        for number in range(batch, NUM_MUTANTS, NUM_BATCHES):
            rng = random.Random(number)
            mutant = mutant_of(SEEDS[number // NUM_BATCHES % len(SEEDS)], rng)
            hows[mutant.how.partition("+")[0]] += 1
            try:
                reader.read(
                    mutant.data,
                    trusts_codes=rng.random() < 0.3,
                    accesses=rng.random() < 0.3,
                    edits=rng.random() < 0.2,
                    decodes_to_video=rng.random() < 0.015,
                )
            except Exception as error:
                raise AssertionError(f"mutant {number}, {mutant.how}: {error!r}") from error
    # The mutants are no use if all of them fail at once: they have to reach the decoder and every kind of error.
    assert len(hows) > 10
    outcomes = {way for way, count in reader.outcomes.items() if count}
    for error in ("FormatError", "ChecksumError", "TruncatedError", "UnsupportedVersionError"):
        assert f"CompressedVideo: {error}" in outcomes
    for way in ("CompressedVideo", "RecoveredVideo", "access", "info", "verify", "cut", "concat", "decode"):
        assert reader.outcomes[f"{way}: done"] > 0


def test_the_ceiling_holds():
    with memory_ceiling(MEMORY), pytest.raises((MemoryError, RuntimeError)):
        torch.empty(2 * MEMORY, dtype=torch.uint8)
