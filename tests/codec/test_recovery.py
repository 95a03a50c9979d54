"""Decoding what is left of damaged files: intact groups as they were, held pictures in between, time as it was."""

import dataclasses
import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from support.commands import assert_failed, in_folder
from support.independent_reader import read_chunks
from support.sources import make_frames, read, write_source
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.recovery import RecoveredVideo
from vtok.container import chunks
from vtok.container.reader import ContainerReader
from vtok.errors import ChecksumError, FormatError, TruncatedError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file

NUM_FRAMES = 70
PTS = [40 * t + 13 * (t % 3) + 100 for t in range(NUM_FRAMES)]
GROUPS = [range(0, 16), range(16, 32), range(32, 48), range(48, 64), range(64, 70)]


@pytest.fixture
def encoded(tiny_tokenizer, tmp_path):
    frames = make_frames(NUM_FRAMES, 24, 40, pts=PTS)
    source = write_source(tmp_path / "in.mp4", frames, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    encode_file(source, tmp_path / "in.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=0.6)
    return tmp_path / "in.vtok"


@pytest.fixture
def whole(encoded, tiny_tokenizer):
    with CompressedVideo(encoded, tokenizer=tiny_tokenizer) as video:
        return list(video)


def recovered(path, tokenizer, **part):
    with RecoveredVideo(path, tokenizer=tokenizer) as video:
        return list(video.frames(**part)), video.num_held_frames, video.faults


def damage(path, *numbers):
    """Flip a byte in the payload of the groups with these numbers, in place."""
    data = bytearray(path.read_bytes())
    offsets = [chunk.offset for chunk in read_chunks(bytes(data)) if chunk.kind == "VGRP"]
    for number in numbers:
        data[offsets[number] + 70] ^= 1
    path.write_bytes(data)


def luma(frames):
    return np.stack([frame.y for frame in frames]).astype(int)


def test_of_a_sound_file_everything_is_as_without_recovery(encoded, whole, tiny_tokenizer):
    frames, num_held, faults = recovered(encoded, tiny_tokenizer)
    assert (num_held, faults) == (0, [])
    assert np.array_equal(luma(frames), luma(whole))
    assert [frame.pts for frame in frames] == PTS


@pytest.mark.parametrize("lost", [(0,), (1,), (2, 3), (4,), (0, 2, 4)])
def test_lost_groups_are_held_pictures_and_time_goes_on(lost, encoded, whole, tiny_tokenizer):
    damage(encoded, *lost)
    frames, num_held, faults = recovered(encoded, tiny_tokenizer)
    lost_frames = [t for number in lost for t in GROUPS[number]]
    assert len(frames) == NUM_FRAMES
    assert num_held == len(lost_frames)
    assert len(faults) == len(lost)
    pts = [frame.pts for frame in frames]
    good = [t for t in range(NUM_FRAMES) if t not in lost_frames]
    assert [pts[t] for t in good] == [PTS[t] for t in good]
    assert all(a < b for a, b in pairwise(pts))
    assert max(abs(a - b) for a, b in zip(pts, PTS, strict=True)) <= 40
    for t in lost_frames:
        source = max((g for g in good if g < t), default=good[0])
        assert np.array_equal(frames[t].y, frames[source].y)
    assert np.array_equal(luma(frames)[good], luma(whole)[good])


def test_parts_of_a_damaged_file(encoded, tiny_tokenizer):
    damage(encoded, 1)
    for start, stop in [(0, 70), (10, 40), (18, 30), (20, 50), (33, 36)]:
        frames, num_held, _ = recovered(encoded, tiny_tokenizer, start=start, stop=stop)
        if start == 18:
            assert frames == []  # nothing is known here
            continue
        assert len(frames) == stop - start
        assert num_held == len(set(range(start, stop)) & set(GROUPS[1]))
        for t, frame in enumerate(frames, start):
            assert t in GROUPS[1] or frame.pts == PTS[t]


def test_a_file_that_was_cut_off(encoded, tiny_tokenizer):
    data = encoded.read_bytes()
    encoded.write_bytes(data[: len(data) * 2 // 3])
    frames, num_held, faults = recovered(encoded, tiny_tokenizer)
    assert 16 < len(frames) < NUM_FRAMES
    assert len(frames) % 16 == 0
    assert faults[-1] == "the end chunk is missing: the file was cut off"
    assert num_held == (16 if "frames" in faults[0] else 0)


def test_codes_that_do_not_decode_are_a_gap_too(encoded, tiny_tokenizer):
    with encoded.open("rb") as file:
        groups = list(ContainerReader(file))
    parts = [(chunk.kind.encode(), chunk.payload) for chunk in read_chunks(encoded.read_bytes())]
    parts[3] = (b"VGRP", dataclasses.replace(groups[2], coded=groups[1].coded).to_bytes())
    encoded.write_bytes(
        chunks.pack_preamble() + b"".join(chunks.pack_chunk(kind, i, data) for i, (kind, data) in enumerate(parts))
    )
    frames, num_held, faults = recovered(encoded, tiny_tokenizer)
    assert (len(frames), num_held) == (NUM_FRAMES, 16)
    assert faults[-1].startswith("codes or motion of frames 32 to 47 have CRC-32")


def test_gaps_that_cannot_be_believed_are_left_out(encoded, tiny_tokenizer):
    with encoded.open("rb") as file:
        reader = ContainerReader(file)
        first, second, *_ = reader
    far = dataclasses.replace(second, first_frame=1 << 40)
    parts = [(b"HEAD", reader.header.to_bytes()), (b"VGRP", first.to_bytes()), (b"VGRP", far.to_bytes())]
    encoded.write_bytes(
        chunks.pack_preamble() + b"".join(chunks.pack_chunk(kind, i, data) for i, (kind, data) in enumerate(parts))
    )
    frames, num_held, faults = recovered(encoded, tiny_tokenizer)
    assert (len(frames), num_held) == (32, 0)
    assert "too many to be believed" in faults[-1]


def test_pictures_are_held_only_where_there_is_time_for_them(encoded, tiny_tokenizer):
    with encoded.open("rb") as file:
        reader = ContainerReader(file)
        groups = list(reader)
    groups[2] = dataclasses.replace(groups[2], pts=tuple(groups[0].pts[-1] + 5 + i for i in range(16)))
    parts = [(b"HEAD", reader.header.to_bytes()), *((b"VGRP", group.to_bytes()) for group in groups[:3])]
    del parts[2]
    encoded.write_bytes(
        chunks.pack_preamble() + b"".join(chunks.pack_chunk(kind, i, data) for i, (kind, data) in enumerate(parts))
    )
    frames, num_held, _ = recovered(encoded, tiny_tokenizer)
    pts = [frame.pts for frame in frames]
    assert all(a < b for a, b in pairwise(pts))
    assert num_held == 4


def test_what_cannot_be_recovered_says_so(encoded, tiny_tokenizer):
    data = encoded.read_bytes()
    offsets = [chunk.offset for chunk in read_chunks(data)]
    encoded.write_bytes(data[:30] + data[31:])  # the header; there is no copy in so short a file
    with pytest.raises(FormatError, match=r"in.vtok: nothing can be recovered: no header is intact$"):
        RecoveredVideo(encoded, tokenizer=tiny_tokenizer)
    encoded.write_bytes(data[: offsets[1]])
    with pytest.raises(FormatError, match="no group of frames is intact"):
        RecoveredVideo(encoded, tokenizer=tiny_tokenizer)


def test_latent_frames_of_intact_groups(encoded, tiny_tokenizer):
    damage(encoded, 1)
    with RecoveredVideo(encoded, tokenizer=tiny_tokenizer) as video:
        assert [latent.first_frame for latent in video.latent_frames()] == [0, 8, 32, 40, 48, 56, 64]


def test_decoding_with_recovery(encoded, tiny_tokenizer, tmp_path):
    damage(encoded, 2)
    options = {"codec": "ffv1", "tokenizer": tiny_tokenizer, "overwrite": True}
    with pytest.raises(ChecksumError, match=r"frames 32 to 47 are lost\. What is intact can be had with recover=True"):
        decode_file(encoded, tmp_path / "out.mp4", **options)
    result = decode_file(encoded, tmp_path / "out.mp4", recover=True, **options)
    assert (result.num_frames, result.num_held_frames, len(result.faults)) == (NUM_FRAMES, 16, 1)
    assert result.incomplete == "damaged, 16 of 70 pictures are held ones in place of lost ones"
    frames = read(tmp_path / "out.mp4")
    assert len(frames) == NUM_FRAMES
    assert frames[-1].pts == PTS[-1]
    result = decode_file(encoded, tmp_path / "out.mp4", recover=True, start_seconds=2, **options)
    assert (result.num_held_frames, result.num_frames) == (0, 20)


def test_the_command_line_lists_faults_and_exits_3(vtok, made):
    data = (made / "good.vtok").read_bytes()
    Path("damaged.vtok").write_bytes(data)
    damage(Path("damaged.vtok"), 1)
    assert_failed(vtok("decode", "damaged.vtok", "out.mp4"), "damaged.vtok: VGRP chunk 2 at byte offset")
    assert in_folder() == ["damaged.vtok"]
    outcome = vtok("decode", "damaged.vtok", "out.mp4", "--recover")
    assert outcome.code == 3
    fault, warning = outcome.err.splitlines()
    assert fault.startswith("vtok: fault: damaged.vtok: VGRP chunk 2 at byte offset")
    assert "frames 8 to 15 are lost" in fault
    assert warning.startswith("vtok: warning: damaged.vtok: damaged, 8 of 24 pictures are held")
    outcome = vtok("decode", "damaged.vtok", "out.mp4", "--recover", "--force", "--json")
    assert len(json.loads(outcome.out)["faults"]) == 1
    assert outcome.code == 3
    sound = vtok("decode", made / "good.vtok", "sound.mp4", "--recover")
    assert (sound.code, sound.err) == (0, "")


def test_a_header_that_is_damaged_is_replaced_by_its_copy(tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("vtok.container.writer._COPY_SHARE", 4)  # else only files of 60 kB or more have one
    source = write_source(tmp_path / "in.mp4", make_frames(64, 48, 80))
    encode_file(source, tmp_path / "in.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=0.6)
    data = (tmp_path / "in.vtok").read_bytes()
    assert any(chunk.kind == "head" for chunk in read_chunks(data))
    (tmp_path / "in.vtok").write_bytes(data[:9] + bytes(200) + data[209:])
    with pytest.raises(ChecksumError):
        CompressedVideo(tmp_path / "in.vtok", tokenizer=tiny_tokenizer)
    frames, num_held, faults = recovered(tmp_path / "in.vtok", tiny_tokenizer)
    assert (len(frames), num_held) == (64, 0)
    assert len(faults) == 1


def test_of_an_empty_file_nothing_is_recovered(encoded, tiny_tokenizer):
    encoded.write_bytes(b"")
    with pytest.raises(TruncatedError):
        RecoveredVideo(encoded, tokenizer=tiny_tokenizer)
