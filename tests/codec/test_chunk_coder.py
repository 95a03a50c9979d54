"""The chunk coder: each chunk decodes from its own tokens, and motion saves bits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from support.models import new_tiny_tokenizer
from support.sources import panned
from vtok.codec.chunk_coder import ChunkDecoder, ChunkEncoder
from vtok.codec.group_encoder import GroupEncoder
from vtok.model.loading import shared_model
from vtok.networks.arithmetic import choose_arithmetic
from vtok.video.frame import VideoInfo

MOST_OF_A_REPEAT = 0.03  # of the first chunk's bytes


def chunks_of(frames):
    return [frames[start : start + 8] for start in range(0, len(frames), 8)]


def info_of(frame):
    return VideoInfo(width=frame.y.shape[1], height=frame.y.shape[0], time_base=1)


def encoded(frames, model, *, quality=5.0, arithmetic=None):
    encoder = ChunkEncoder(model, info_of(frames[0]), quality, arithmetic)
    return [encoder.encode(chunk) for chunk in chunks_of(frames)]


def decoded(tokens, frames, model, *, quality=5.0, arithmetic=None):
    decoder = ChunkDecoder(model, info_of(frames[0]), arithmetic)
    parts = zip(tokens, chunks_of(frames), strict=True)
    return [frame for each, chunk in parts for frame in decoder.decode(each, [frame.pts for frame in chunk], quality)]


def num_bytes(tokens, frames, model, *, quality=5.0):
    group = GroupEncoder(model.exact_prior, quality, frames[0].y.shape, verify=True)
    for each, chunk in zip(tokens, chunks_of(frames), strict=True):
        group.push(each, [frame.pts for frame in chunk])
    return len(group.finish(0).coded)


def psnr(frames, others):
    errors = [np.square(a.y.astype(float) - b.y).mean() for a, b in zip(frames, others, strict=True)]
    return 10 * np.log10(255**2 / np.mean(errors))


def assert_equal(some, others):
    for a, b in zip(some, others, strict=True):
        assert all(np.array_equal(getattr(a, plane), getattr(b, plane)) for plane in "yuv")


@pytest.mark.parametrize("blend_dim", [0, 4])
def test_a_chunk_decodes_alone_but_for_its_blend(blend_dim):
    frames, model = panned(48, 72, 32, speed=2.25), new_tiny_tokenizer(blend_dim=blend_dim).pretrained
    tokens = encoded(frames, model)
    whole = decoded(tokens, frames, model)
    for number, chunk in enumerate(chunks_of(frames)):
        alone = decoded(tokens[number : number + 1], chunk, model)
        same = slice(7, 8) if blend_dim and number else slice(0, 8)  # the last frame has no share in the blend
        assert_equal(alone[same], whole[8 * number : 8 * number + 8][same])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_number_of_threads_changes_nothing(precision):
    frames, model, arithmetic = panned(96, 136, 24, speed=2.25), shared_model(), choose_arithmetic("cpu", precision)
    num_threads, outcomes = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)  # coders keep the number of threads that they are made with
            tokens = encoded(frames, model, arithmetic=arithmetic)
            outcomes.append((tokens, decoded(tokens, frames, model, arithmetic=arithmetic)))
    finally:
        torch.set_num_threads(num_threads)
    for a, b in zip(*(tokens for tokens, _ in outcomes), strict=True):
        assert np.array_equal(a.codes, b.codes)
        assert np.array_equal(a.motion.fields, b.motion.fields)
    assert_equal(*(result for _, result in outcomes))


def test_groups_begin_alike():
    frames, model = panned(96, 136, 24, speed=2.25), shared_model()
    encoder = ChunkEncoder(model, info_of(frames[0]), 5)
    chunks = chunks_of(frames)
    first = [encoder.encode(chunk) for chunk in chunks]
    assert not first[0].motion.fields[-1].any()
    assert all(each.motion.fields[-1].any() for each in first[1:])
    encoder.start_group()
    again, alone = encoder.encode(chunks[1]), encoded(chunks[1], model)[0]
    assert np.array_equal(again.codes, alone.codes)
    assert np.array_equal(again.motion.fields, alone.motion.fields)
    assert not again.motion.fields[-1].any()


def test_a_pan_costs_less_than_without_motion(monkeypatch):
    frames, model = panned(128, 192, 24, speed=2.25), shared_model()
    tokens = encoded(frames, model)
    assert all(each.motion.fields[:7].any() for each in tokens)
    with_motion = num_bytes(tokens, frames, model), psnr(frames, decoded(tokens, frames, model))
    none = np.zeros((2, 8, 12), np.int16)
    monkeypatch.setattr("vtok.motion.displacement.DisplacementSearch.field", lambda *_: none)
    tokens = encoded(frames, model)
    aligned = num_bytes(tokens, frames, model)
    assert with_motion[0] < 0.95 * aligned
    monkeypatch.setattr("vtok.motion.search.MotionSearch.alignment", lambda *_: np.zeros((7, *none.shape), np.int16))
    tokens = encoded(frames, model)
    assert not any(each.motion.fields.any() for each in tokens)
    without = num_bytes(tokens, frames, model), psnr(frames, decoded(tokens, frames, model))
    assert with_motion[0] < 0.8 * without[0]
    assert with_motion[1] > without[1] - 0.3


def test_a_repeated_frame_costs_next_to_nothing():
    still = panned(96, 136, 1, speed=0)[0]
    frames, model = [replace(still, pts=t) for t in range(40)], shared_model()
    tokens = encoded(frames, model)
    assert not any(each.motion.fields.any() for each in tokens)
    first = num_bytes(tokens[:1], frames[:8], model)
    assert num_bytes(tokens, frames, model) - first < MOST_OF_A_REPEAT * 4 * first


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (8, 300), (300, 8), (64, 48)])
@pytest.mark.parametrize("num_frames", range(1, 9))
def test_odd_sizes_and_short_ends(size, num_frames, tiny_tokenizer):
    frames, model = panned(*size, 8 + num_frames, speed=1.5), tiny_tokenizer.pretrained
    tokens = encoded(frames, model)
    result = decoded(tokens, frames, model)
    assert [frame.pts for frame in result] == list(range(8 + num_frames))
    for a, b in zip(result, frames, strict=True):
        assert (a.y.shape, a.u.shape, a.v.shape) == (b.y.shape, b.u.shape, b.v.shape)
