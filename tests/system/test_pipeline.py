"""Stages in threads: order, errors, early ends, bounded queues."""

import threading
import time

import pytest
import torch

from support.videos import cut_sample
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.media.reader import VideoReader
from vtok.system.pipeline import ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "vtok-stage"]


def test_order_is_kept_through_two_stages():
    with ahead(range(100), depth=2) as numbers, ahead((n * n for n in numbers), depth=3) as squares:
        assert list(squares) == [n * n for n in range(100)]
    assert threads() == []


def test_items_are_produced_elsewhere_and_only_so_far_ahead():
    produced = []

    def numbers():
        for n in range(100):
            produced.append((n, threading.current_thread().name))
            yield n

    with ahead(numbers(), depth=3) as items:
        assert next(items) == 0
        deadline = time.monotonic() + 10
        while len(produced) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.3)  # longer than a stage that waits for room sleeps at once
        # One was taken, three wait, one is at hand.
        assert [n for n, _ in produced] == [0, 1, 2, 3, 4]
        assert {name for _, name in produced} == {"vtok-stage"}
    assert len(produced) == 5


def test_an_error_comes_after_the_items_before_it():
    def numbers():
        yield from range(3)
        raise OSError("broken")

    with ahead(numbers(), depth=9) as items:
        assert [next(items) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="broken"):
            next(items)
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 8])
def test_leaving_early_closes_what_was_read_from(depth):
    closed = []

    def numbers():
        try:
            yield from range(10**9)
        finally:
            closed.append(threading.current_thread().name)

    def interrupted():
        with ahead(numbers(), depth=depth) as items:
            assert next(items) == 0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert closed == ["vtok-stage"]
    assert threads() == []


def test_an_early_end_behind_two_stages():
    with ahead(iter(range(10**9)), depth=2) as numbers, ahead((n + 1 for n in numbers), depth=2) as items:
        assert [next(items) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert threads() == []


def test_what_a_stage_raises_to_end_the_program_ends_it():
    def stop():
        raise SystemExit(143)
        yield

    with pytest.raises(SystemExit) as exited, ahead(stop(), depth=1) as items:
        next(items)
    assert exited.value.code == 143


def test_networks_in_float32_do_not_depend_on_threads(tiny_tokenizer):
    model, quality = tiny_tokenizer.networks, torch.tensor([5.0])
    codes = torch.randint(-3, 4, (1, 12, 2, 45, 80), generator=torch.Generator().manual_seed(1)).float()
    before, results = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            with torch.inference_mode():
                planes = model.decode(codes, quality)
                results.append((*planes, model.encode(planes, quality)))
    finally:
        torch.set_num_threads(before)
    for of_more in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], of_more, strict=True))


@pytest.mark.parametrize(("depth", "num_threads"), [(1, 1), (1, 2), (7, 2)])
def test_files_do_not_depend_on_queues_or_threads(depth, num_threads, tiny_tokenizer, tmp_path, monkeypatch):
    source = cut_sample(tmp_path / "cut.mkv", codec="ffv1", num_frames=45)

    def there_and_back(name):
        coded, decoded = tmp_path / f"{name}.vtok", tmp_path / f"{name}.mkv"
        encode_file(source, coded, tokenizer=tiny_tokenizer, keyframe_seconds=0.6)
        decode_file(coded, decoded, tokenizer=tiny_tokenizer, codec="ffv1")
        with VideoReader(decoded) as video:
            return coded.read_bytes(), [frame.y.tobytes() for frame in video]

    expected = there_and_back("as it is")
    for name in ("codec.encoder.DEPTH", "codec.compressed_video.DEPTH", "codec.output_part.FRAMES_AHEAD"):
        monkeypatch.setattr(f"vtok.{name}", depth)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        assert there_and_back("other") == expected
    finally:
        torch.set_num_threads(before)


def test_a_signal_while_a_stage_starts_ends_it(monkeypatch):
    """Else its thread ran on into the end of the program, which then aborted."""
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), ahead(items(), depth=1):
        pass
    assert closed.is_set()
    assert not threads()
