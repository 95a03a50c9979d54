"""Chunks that are aligned and predicted: encoder and decoder see the same frames, and motion saves bits."""

import numpy as np
import pytest
import torch

from support.sources import panned
from vtok.codec.chunk_coder import ChunkDecoder, ChunkEncoder
from vtok.codec.group_encoder import GroupEncoder
from vtok.model.loading import shared_model
from vtok.networks.arithmetic import choose_arithmetic
from vtok.video.frame import VideoInfo


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
    frames, model = panned(96, 136, 32, speed=2.25), shared_model()
    arithmetic, info = choose_arithmetic("cpu", precision), info_of(frames[0])
    encoder, decoder = (kind(model, info, 5, arithmetic) for kind in (ChunkEncoder, ChunkDecoder))
    num_threads = torch.get_num_threads()
    try:
        for number, chunk in enumerate(chunks_of(frames)):
            # Both keep the number of threads that they are made with; here they change it from chunk to chunk.
            encoder._num_threads, decoder._num_threads = (1, 2) if number % 2 else (2, 1)
            tokens = encoder.encode(chunk)
            assert number == 0 or tokens.motion.is_predicted.any()
            if number:
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
    monkeypatch.setattr(f"{still}.prediction", lambda *_: (np.zeros((2, 8, 12), np.int16), np.zeros((8, 12), bool)))
    tokens = encoded(frames, model)
    assert not any(each.motion.fields.any() for each in tokens)
    without = num_bytes(tokens, frames, model), psnr(frames, decoded(tokens, frames, model))
    assert with_motion[0] < 0.8 * without[0]
    assert with_motion[1] > without[1] - 0.3
