"""Files from paths, bytes and file objects: the same pictures, tokens and bytes, from any number of threads."""

import io
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import vtok
from support.coded_files import random_codes, write_codes
from support.videos import sound_of, write_video_with_sound
from vtok.container.reader import ContainerReader
from vtok.errors import ConfigError, FormatError, MediaError, TruncatedError
from vtok.files.cut import cut_file

CODES = random_codes(10)


@pytest.fixture
def path(tiny_tokenizer, tmp_path):
    return write_codes(tmp_path / "a.vtok", tiny_tokenizer, CODES)


class Yielding:
    """Lets other threads run between the calls of whoever seeks and then reads."""

    def seek(self, *arguments):
        result = super().seek(*arguments)
        time.sleep(0.0005)
        return result

    def read(self, *arguments):
        time.sleep(0.0005)
        return super().read(*arguments)


class YieldingFile(Yielding, io.FileIO):
    pass


class YieldingBytes(Yielding, io.BytesIO):
    pass


class Trickle:
    """Takes a few bytes at a time; has nothing but `write`."""

    name = "trickle"

    def __init__(self):
        self.data = bytearray()

    def write(self, data):
        self.data += data[:1000]
        return len(data[:1000])


class Full(Trickle):
    """Has room for 100 bytes."""

    def write(self, data):
        if len(self.data) >= 100:
            raise OSError(28, "No space left on device")
        self.data += data[:100]
        return min(100, len(data))


# Each as it gives all of a file's data.
KINDS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "BytesIO": io.BytesIO,
    "buffered": lambda data: io.BufferedReader(io.BytesIO(data)),
}


# -- threads


def test_reading_ahead_does_not_move_the_position_of_another_thread(path, tiny_tokenizer, tmp_path, monkeypatch):
    with vtok.open(path, tokenizer=tiny_tokenizer) as video:
        expected = video[:]
    vtok.decode_file(path, tmp_path / "a.y4m", start_seconds=0.3, tokenizer=tiny_tokenizer)
    monkeypatch.setattr(Path, "open", lambda self, *_, **__: YieldingFile(self))
    for source in (path, YieldingBytes(path.read_bytes())):
        with vtok.open(source, tokenizer=tiny_tokenizer) as video:
            assert torch.equal(video[:], expected)
            assert torch.equal(video.get_frames_played_at([0, 3.1]).data, expected[[0, 77]])
        vtok.decode_file(source, tmp_path / "b.y4m", start_seconds=0.3, tokenizer=tiny_tokenizer, overwrite=True)
        assert (tmp_path / "b.y4m").read_bytes() == (tmp_path / "a.y4m").read_bytes()


def test_threads_may_share_a_file_object(path, tiny_tokenizer):
    file = YieldingBytes(path.read_bytes())
    with vtok.open(file, tokenizer=tiny_tokenizer) as video, ThreadPoolExecutor(4) as threads:
        tokens = threads.map(video.tokens.__getitem__, range(10))
        pictures = threads.map(video.__getitem__, (70, 10, 40))
        assert np.array_equal(list(tokens), CODES)
        assert all(map(torch.equal, pictures, video.get_frames_at([70, 10, 40]).data))


# -- bytes and file objects instead of paths


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_holds_the_bytes_pictures_and_tokens_are_the_same(kind, path, tiny_tokenizer):
    source = KINDS[kind](path.read_bytes())
    with vtok.open(path, tokenizer=tiny_tokenizer) as a, vtok.open(source, tokenizer=tiny_tokenizer) as b:
        assert torch.equal(a[20:60:7], b[20:60:7])
        assert np.array_equal(b.tokens[2:7], CODES[2:7])
        assert b.metadata.num_bytes == path.stat().st_size
    tokens = vtok.TokenReader(source, tokenizer=tiny_tokenizer)
    assert np.array_equal(tokens[:], CODES)
    assert np.array_equal(tokens.between_seconds(0.97, 1.3), CODES[3:5])


def test_a_round_trip_through_memory_is_that_through_files(tiny_tokenizer, tmp_path):
    source = write_video_with_sound(tmp_path / "in.mkv", [("libmp3lame", 44100, "mono")])

    def encode(target, **options):
        return vtok.encode_file(source, target, tokenizer=tiny_tokenizer, keyframe_seconds=0.6, **options)

    of_file = encode(tmp_path / "a.vtok")
    expected = (tmp_path / "a.vtok").read_bytes()
    whole, trickle = io.BytesIO(), Trickle()
    for target, name in ((whole, "<BytesIO>"), (trickle, "trickle")):
        result = encode(target, verify=True)
        assert (result.target, result.num_bytes) == (name, of_file.num_bytes)
    assert not whole.closed
    assert whole.getvalue() == expected == trickle.data

    def decoded(source, **options):
        for name in ("out.y4m", "out.mkv"):
            result = vtok.decode_file(source, tmp_path / name, overwrite=True, tokenizer=tiny_tokenizer, **options)
        return result.source, (tmp_path / "out.y4m").read_bytes(), sound_of(tmp_path / "out.mkv")

    for recover in (False, True):
        _, *video = decoded(tmp_path / "a.vtok", recover=recover)
        assert decoded(expected, recover=recover) == ("<bytes>", *video)
        assert decoded(whole, recover=recover) == ("<BytesIO>", *video)


def test_a_file_object_is_read_from_its_beginning_and_stays_where_it_is(path, tiny_tokenizer, tmp_path):
    with path.open("rb") as file:
        file.seek(77)
        with vtok.open(file, tokenizer=tiny_tokenizer) as video:
            assert np.array_equal(video.tokens[3], CODES[3])
            assert video[50].shape == (3, 24, 37)
            assert file.tell() == 77
            assert video.metadata.path == str(path)
        vtok.decode_file(file, tmp_path / "a.y4m", tokenizer=tiny_tokenizer)
        assert (file.closed, file.tell()) == (False, 77)


def test_a_reader_of_bytes_can_be_pickled_and_one_of_a_file_object_cannot(path, tiny_tokenizer):
    reader = vtok.TokenReader(path.read_bytes(), tokenizer=tiny_tokenizer)
    assert np.array_equal(pickle.loads(pickle.dumps(reader))[4], CODES[4])
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(vtok.TokenReader(io.BytesIO(path.read_bytes()), tokenizer=tiny_tokenizer))


def test_an_open_video_is_read_on_when_its_path_is_gone(path, tiny_tokenizer):
    with vtok.open(path, tokenizer=tiny_tokenizer) as video:
        expected = video[70]
        path.unlink()
        assert torch.equal(video[70], expected)


# -- what is refused


@pytest.mark.parametrize(("kind", "name"), [("bytes", "<bytes>"), ("memoryview", "<bytes>"), ("BytesIO", "<BytesIO>")])
def test_messages_name_what_has_no_path(kind, name, path, tiny_tokenizer, tmp_path):
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        data[ContainerReader(file).read_index().locations[1].byte_offset + 70] ^= 1
    source = KINDS[kind](bytes(data))
    message = rf"^{name}: VGRP chunk 2 at byte offset \d+ is damaged: frames 16 to 31 are lost"
    with vtok.open(source, tokenizer=tiny_tokenizer) as video, pytest.raises(FormatError, match=f"{message}$"):
        video[20]
    with pytest.raises(FormatError, match=f"{message}$"):
        vtok.TokenReader(source, tokenizer=tiny_tokenizer)[2]
    with pytest.raises(FormatError, match=rf"{message}\. What is intact can be had"):
        vtok.decode_file(source, tmp_path / "a.y4m", tokenizer=tiny_tokenizer)
    with pytest.raises(TruncatedError, match=f"^{name}: the file is empty$"):
        vtok.open(KINDS[kind](b""))


def test_a_cut_names_a_damaged_source_once(path, tmp_path):
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        data[ContainerReader(file).read_index().locations[1].byte_offset + 70] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=rf"^{path}: VGRP chunk 2 at byte offset \d+ is damaged"):
        cut_file(path, tmp_path / "b.vtok")


def test_what_cannot_seek_is_refused(tmp_path):
    for opened in (vtok.open, vtok.TokenReader, lambda source: vtok.decode_file(source, tmp_path / "a.mp4")):
        read_end, write_end = os.pipe()
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe, pytest.raises(MediaError, match=r"^<BufferedReader>: cannot seek.*$"):
            opened(pipe)
    os.mkfifo(tmp_path / "fifo")
    held = os.open(tmp_path / "fifo", os.O_RDWR)  # else to open it waits for a writer
    with pytest.raises(MediaError, match="fifo: cannot seek"):
        vtok.open(tmp_path / "fifo")
    os.close(held)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (io.StringIO("text"), "<StringIO>: is open as text"),
        (7, "^7: expected a path, bytes"),
        (None, "^None: expected"),
    ],
)
def test_what_is_no_file_is_refused(source, message, tmp_path):
    for opened in (vtok.open, vtok.TokenReader, lambda source: vtok.decode_file(source, tmp_path / "a.mp4")):
        with pytest.raises(ConfigError, match=message):
            opened(source)
    with pytest.raises(ConfigError, match="text" if isinstance(source, io.StringIO) else "object with `write`"):
        vtok.encode_file(tmp_path / "in.mp4", source)


def test_what_was_written_before_an_error_stays(tiny_tokenizer, tmp_path):
    source = write_video_with_sound(tmp_path / "in.mkv", [])
    target = Full()
    with pytest.raises(MediaError, match=r"^trickle: cannot be written: No space left on device$"):
        vtok.encode_file(source, target, tokenizer=tiny_tokenizer)
    vtok.encode_file(source, tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
    assert target.data
    assert (tmp_path / "a.vtok").read_bytes().startswith(target.data)


# -- times


def test_many_times_of_one_group_cost_one_reading_of_it(path, tiny_tokenizer, monkeypatch):
    read = []
    read_group = ContainerReader.read_group
    monkeypatch.setattr(
        ContainerReader, "read_group", lambda self, at: read.append(at.first_frame) or read_group(self, at)
    )
    with vtok.open(path, tokenizer=tiny_tokenizer) as video:
        monkeypatch.setattr(video, "get_frames_at", list)
        assert video.get_frames_played_at([t / 100 for t in range(70, 90, 4)]) == [17, 18, 19, 20, 21]
        assert read == [64, 16]
        video.get_frames_played_at([0.7, 2.9])
        assert read == [64, 16, 64]


@pytest.mark.parametrize("wrong", [-0.5, float("nan"), float("inf"), -float("inf")])
def test_times_are_finite_and_not_negative(wrong, path, tiny_tokenizer, tmp_path):
    with vtok.open(path, tokenizer=tiny_tokenizer) as video:
        with pytest.raises(ConfigError, match=rf"a.vtok: .* at {wrong:g} s: must be at least 0 and less than 3.2 s$"):
            video.get_frames_played_at([0, wrong])
        with pytest.raises(ConfigError, match=f"^{wrong:g} s is no time in a video: must be at least 0 and finite$"):
            video.tokens.between_seconds(wrong)
    for bound in ("start_seconds", "end_seconds"):
        with pytest.raises(ConfigError, match=rf"^{bound} is {wrong:g}; expected seconds"):
            vtok.decode_file(path, tmp_path / "a.y4m", tokenizer=tiny_tokenizer, **{bound: wrong})
