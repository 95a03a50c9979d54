"""Files whose groups end at scene cuts, with latent frames of fewer than eight frames before: all ways to read them."""

from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch

from support.independent_reader import read as read_independently
from support.independent_reader import read_chunks
from support.models import new_tiny_tokenizer
from support.sources import scenes, write_source
from vtok import VideoTokenizer
from vtok import open as open_video
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.recovery import RecoveredVideo
from vtok.container.reader import ContainerReader
from vtok.files.concat import concat_files
from vtok.files.cut import cut_file
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.media.reader import VideoReader
from vtok.tokens.npz_export import export_npz
from vtok.tokens.npz_import import import_npz

LENGTHS = (11, 29, 16, 5, 24)
NUM_FRAMES = sum(LENGTHS)
GROUPS = [11, 16, 13, 16, 5, 16, 8]  # frames; at most two latent frames, 0.64 s
STARTS = list(accumulate(GROUPS, initial=0))
SIZE = 48, 64
PTS = [40 * t for t in range(NUM_FRAMES)]  # Matroska counts milliseconds


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("scenes") / "in.mkv", scenes(*SIZE, LENGTHS))


@pytest.fixture(scope="module")
def tiny():
    return new_tiny_tokenizer()


@pytest.fixture(scope="module")
def encoded(source, tiny):
    target = source.with_suffix(".vtok")
    encode_file(source, target, tokenizer=tiny, keyframe_seconds=0.64, verify=True)
    return target


@pytest.fixture(scope="module")
def whole(encoded, tiny):
    return decoded(encoded, tiny)


def decoded(path, tokenizer):
    with CompressedVideo(path, tokenizer=tokenizer) as video:
        return list(video)


def groups_of(path):
    with path.open("rb") as file:
        return list(ContainerReader(file))


def same_pictures(frames, others):
    return len(frames) == len(others) and all(
        np.array_equal(getattr(a, plane), getattr(b, plane))
        for a, b in zip(frames, others, strict=True)
        for plane in "yuv"
    )


def test_groups_end_at_cuts_and_after_their_length(encoded):
    groups = groups_of(encoded)
    assert [group.num_frames for group in groups] == GROUPS
    assert [group.num_latent_frames for group in groups] == [2, 2, 2, 2, 1, 2, 1]
    parsed = read_independently(encoded.read_bytes())
    assert parsed.fault is None
    assert [(group.first_frame, len(group.pts)) for group in parsed.groups] == list(
        zip(STARTS[:-1], GROUPS, strict=True)
    )


def test_groups_of_one_length_are_an_option(source, tiny, tmp_path):
    encode_file(source, tmp_path / "fixed.vtok", tokenizer=tiny, keyframe_seconds=0.64, scene_cuts=False)
    assert [group.num_frames for group in groups_of(tmp_path / "fixed.vtok")] == [16, 16, 16, 16, 16, 5]


@pytest.mark.parametrize("model", ["tiny", "pretrained"])
@pytest.mark.parametrize("lengths", [(13, 12), (16, 5), (4, 20)])
def test_nothing_of_a_scene_is_seen_in_another(lengths, model, tiny, tmp_path):
    """Two stills side by side in time: each is decoded, to the bit, as if it were alone."""
    tokenizer = tiny if model == "tiny" else VideoTokenizer.from_pretrained()
    alone = []
    for seed, length in enumerate(lengths):
        source = write_source(tmp_path / f"{seed}.mkv", scenes(*SIZE, [length], speed=0, first_seed=seed))
        encode_file(source, tmp_path / f"{seed}.vtok", tokenizer=tokenizer)
        alone += decoded(tmp_path / f"{seed}.vtok", tokenizer)
    source = write_source(tmp_path / "both.mkv", scenes(*SIZE, lengths, speed=0))
    encode_file(source, tmp_path / "both.vtok", tokenizer=tokenizer)
    assert same_pictures(decoded(tmp_path / "both.vtok", tokenizer), alone)
    assert [group.coded for group in groups_of(tmp_path / "both.vtok")] == [
        group.coded for name in "01" for group in groups_of(tmp_path / f"{name}.vtok")
    ]


def test_any_frame_alone_is_that_of_the_whole(encoded, whole, tiny):
    with CompressedVideo(encoded, tokenizer=tiny) as video:
        for start in range(NUM_FRAMES):
            (frame,) = video.frames(start, start + 1)
            assert (frame.pts, same_pictures([frame], [whole[start]])) == (PTS[start], True)
        for start, stop in [(8, 13), (26, 42), (0, 57), (54, 85)]:
            assert same_pictures(list(video.frames(start, stop)), whole[start:stop])
    with open_video(encoded, tokenizer=tiny) as video:
        assert len(video) == NUM_FRAMES
        assert torch.equal(video.get_frames_played_at([t / 25 for t in range(NUM_FRAMES)]).data, video[:])


def test_latent_frames_and_frames_lead_to_each_other(encoded, tiny):
    with open_video(encoded, tokenizer=tiny) as video:
        tokens = video.tokens
    firsts = [0, 8, 11, 19, 27, 35, 40, 48, 56, 61, 69, 77]
    assert [tokens.first_frame(i) for i in range(len(tokens))] == firsts
    assert [tokens.pts_seconds(i) for i in range(len(tokens))] == [first / 25 for first in firsts]
    assert [tokens.latent_of_frame(t) for t in range(NUM_FRAMES)] == [
        i for i, (first, end) in enumerate(pairwise([*firsts, NUM_FRAMES])) for _ in range(first, end)
    ]
    assert len(tokens.between_seconds(10 / 25, 20 / 25)) == 3
    assert tokens.index.latent_runs == [range(2), range(2, 6), range(6, 9), range(9, 12)]


def test_parts_of_the_source_have_the_cuts_that_are_in_them(source, tiny, tmp_path):
    part = tmp_path / "part.vtok"
    encode_file(source, part, tokenizer=tiny, start_seconds=Fraction(5, 25), end_seconds=Fraction(50, 25))
    assert [group.num_frames for group in groups_of(part)] == [6, 29, 10]


@pytest.mark.parametrize(("start", "stop"), [(0, 85), (12, 30), (38, 60), (57, 85)])
def test_parts_are_decoded(start, stop, encoded, whole, tiny, tmp_path):
    times = {"start_seconds": Fraction(start, 25), "end_seconds": Fraction(stop, 25)}
    decode_file(encoded, tmp_path / "part.mkv", tokenizer=tiny, codec="ffv1", **times)
    with VideoReader(tmp_path / "part.mkv") as reader:
        assert same_pictures(list(reader), whole[start:stop])


def test_cut_and_joined_parts_are_the_file(encoded, whole, tiny, tmp_path):
    parts = [tmp_path / f"{number}.vtok" for number in range(len(GROUPS))]
    for part, start in zip(parts, STARTS, strict=False):
        times = {"start_seconds": Fraction(start, 25), "end_seconds": Fraction(start + 1, 25)}
        result = cut_file(encoded, part, **times)
        assert (result.num_groups, Fraction(result.start_seconds)) == (1, Fraction(start / 25))
    result = concat_files(parts, tmp_path / "joined.vtok")
    assert (result.num_groups, result.num_frames) == (len(GROUPS), NUM_FRAMES)
    frames = decoded(tmp_path / "joined.vtok", tiny)
    assert [frame.pts for frame in frames] == PTS
    assert same_pictures(frames, whole)


@pytest.mark.parametrize("lost", range(len(GROUPS)))
def test_a_lost_group_is_held_pictures_of_its_number(lost, encoded, whole, tiny):
    data = bytearray(encoded.read_bytes())
    offset = [chunk.offset for chunk in read_chunks(bytes(data)) if chunk.kind == "VGRP"][lost]
    data[offset + 70] ^= 1
    with RecoveredVideo(bytes(data), tokenizer=tiny) as video:
        frames = list(video)
    gap = range(STARTS[lost], STARTS[lost + 1])
    assert video.num_held_frames == len(gap)
    assert [frame.pts for frame in frames] == PTS
    good = [t for t in range(NUM_FRAMES) if t not in gap]
    assert same_pictures([frames[t] for t in good], [whole[t] for t in good])


def test_tokens_go_out_and_in(encoded, tiny, tmp_path):
    export_npz(encoded, tmp_path / "tokens.npz", tokenizer=tiny)
    with np.load(tmp_path / "tokens.npz") as arrays:
        assert arrays["frames_of_latent"].tolist() == [8, 3, 8, 8, 8, 5, 8, 8, 5, 8, 8, 8]
    import_npz(tmp_path / "tokens.npz", tmp_path / "again.vtok", tokenizer=tiny)
    assert groups_of(tmp_path / "again.vtok") == groups_of(encoded)


def test_a_size_is_reached_with_groups_of_any_length(source, encoded, tiny, tmp_path):
    target, size = tmp_path / "small.vtok", encoded.stat().st_size * 4 // 5
    result = encode_file(source, target, tokenizer=tiny, keyframe_seconds=0.64, size=size, verify=True)
    assert 0.95 * size <= result.num_bytes <= size
    assert [group.num_frames for group in groups_of(target)] == GROUPS


@pytest.mark.parametrize(("options", "expected"), [([], list(LENGTHS)), (["--no-scene-cuts"], [NUM_FRAMES])])
def test_commands_end_groups_at_cuts_unless_told_otherwise(options, expected, source, vtok, tmp_path):
    assert vtok("encode", source, "out.vtok", "--keyframe-seconds", "inf", *options).code == 0
    assert [group.num_frames for group in groups_of(tmp_path / "out.vtok")] == expected
