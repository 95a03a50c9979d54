"""Chunks that are aligned and predicted: encoder and decoder see the same frames, and motion saves bits."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from support.sources import panned
from vtok.codec.chunk_coder import ChunkDecoder, ChunkEncoder
from vtok.codec.group_encoder import GroupEncoder
from vtok.codec.motion_choice import choose_motion
from vtok.model.loading import shared_model
from vtok.networks import objective
from vtok.networks.arithmetic import choose_arithmetic
from vtok.networks.klt import pad_to_blocks
from vtok.networks.motion import VideoMotion, displace
from vtok.networks.planes import Planes
from vtok.video.frame import VideoInfo
from vtok.video.motion import STEPS

MOST_OF_A_REPEAT = 0.03  # of the first chunk's bytes


def predicting_model():
    """The released model as if it had learned to predict."""
    model = shared_model()
    networks = deepcopy(model.networks)
    networks.config = replace(networks.config, predicts=True)
    return replace(model, networks=networks)


def chunks_of(frames):
    return [frames[start : start + 8] for start in range(0, len(frames), 8)]


def info_of(frame):
    return VideoInfo(width=frame.y.shape[1], height=frame.y.shape[0], time_base=1)


def encoded(frames, model, *, quality=5.0, arithmetic=None, independent=False):
    encoder = ChunkEncoder(model, info_of(frames[0]), quality, arithmetic, independent=independent)
    return [encoder.encode(chunk) for chunk in chunks_of(frames)]


def decoded(tokens, frames, model, *, quality=5.0, arithmetic=None):
    decoder = ChunkDecoder(model, info_of(frames[0]), quality, arithmetic)
    parts = zip(tokens, chunks_of(frames), strict=True)
    return [frame for each, chunk in parts for frame in decoder.decode(each, [frame.pts for frame in chunk])]


def num_bytes(tokens, frames, model, *, quality=5.0):
    group = GroupEncoder(model.exact_prior, quality, frames[0].y.shape)
    for each, chunk in zip(tokens, chunks_of(frames), strict=True):
        group.push(each, [frame.pts for frame in chunk])
    return len(group.finish(0).coded)


def psnr(frames, others):
    errors = [np.square(a.y.astype(float) - b.y).mean() for a, b in zip(frames, others, strict=True)]
    return 10 * np.log10(255**2 / np.mean(errors))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_encoder_sees_what_the_decoder_puts_out(precision):
    frames, model = panned(96, 136, 32, speed=2.25), predicting_model()
    arithmetic, info = choose_arithmetic("cpu", precision), info_of(frames[0])
    encoder, decoder = (kind(model, info, 5, arithmetic) for kind in (ChunkEncoder, ChunkDecoder))
    num_threads, before = torch.get_num_threads(), None
    try:
        for number, chunk in enumerate(chunks_of(frames)):
            # Both keep the number of threads that they are made with; here they change it from chunk to chunk.
            encoder._num_threads, decoder._num_threads = (1, 2) if number % 2 else (2, 1)
            tokens = encoder.encode(chunk)
            assert number == 0 or tokens.motion.is_predicted.any()
            if before is not None:
                for a, b in zip(encoder._decoder.reference, before, strict=True):
                    assert torch.equal(a, b)
            decoder.decode(tokens, [frame.pts for frame in chunk])
            before = decoder.reference
    finally:
        torch.set_num_threads(num_threads)


def test_a_pan_costs_less_than_without_motion(monkeypatch):
    frames, model = panned(128, 192, 24, speed=2.25), shared_model()
    tokens = encoded(frames, model)
    assert all(each.motion.fields[:7].any() for each in tokens)
    with_motion = num_bytes(tokens, frames, model), psnr(frames, decoded(tokens, frames, model))
    still = "vtok.motion.search.MotionSearch"
    monkeypatch.setattr(f"{still}.alignment", lambda self, luma, _: np.zeros((7, 2, 8, 12), np.int16))
    monkeypatch.setattr(f"{still}.prediction", lambda *_: np.zeros((2, 8, 12), np.int16))
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


def test_the_choice_is_that_of_training():
    """The encoder leaves out what cannot matter, and so does not call the function that training has."""
    model, quality = shared_model().networks, torch.tensor([5.0])
    frames = panned(96, 144, 16, speed=2.25)
    planes = pad_to_blocks(
        Planes.from_uint8(
            *(torch.from_numpy(np.stack([getattr(frame, name) for frame in frames]))[None] for name in "yuv"),
            full_range=False,
        )
    )
    chunk, last = planes.frames(8, 16), planes.frames(7, 8)
    rng = np.random.default_rng(0)
    for alignment, reference in (((9, 0), last), ((-90, 31), last), ((9, 0), None), ((0, 0), last)):
        fields = np.zeros((8, 2, 6, 9), np.int16)
        for k, (anchor, moved) in enumerate(STEPS):
            fields[k] = (moved - anchor) * np.array(alignment)[:, None, None]
        fields[7] = -27 + rng.integers(0, 9, (2, 6, 9)) // 8 * 60
        allowed = VideoMotion(torch.from_numpy(fields)[None], torch.ones(1, 6, 9, dtype=torch.bool))
        with torch.inference_mode():
            aligned, _, taken = objective.choose_motion(model, chunk, reference, allowed, quality)
            moved = None if reference is None else displace(reference, torch.from_numpy(fields[-1:]))
            chosen, motion = choose_motion(model, chunk, moved, fields, quality)
        assert np.array_equal(motion.fields, taken.fields[0].numpy())
        assert np.array_equal(motion.is_predicted, taken.is_predicted[0].numpy())
        for a, b in zip(chosen, aligned, strict=True):
            assert torch.equal(a, b)
