"""Tokens by latent frame and by time: what was written, by the range coder alone, from threads and processes too."""

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import vtok
from support.coded_files import random_codes, write_codes
from support.models import set_hash
from support.sources import make_frames, write_source
from vtok.codec.chunk_coder import ChunkDecoder
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.token_reader import GroupCache, TokenReader
from vtok.container.reader import ContainerReader
from vtok.errors import ChecksumError, ConfigError, FormatError, ModelMismatchError
from vtok.files.concat import concat_files
from vtok.files.encode import encode_file

PTS = [40 * t + 13 * (t % 3) + 100 for t in range(77)]  # uneven, and not from zero
CODES = random_codes(10)


@pytest.fixture
def path(tiny_tokenizer, tmp_path):
    return write_codes(tmp_path / "a.vtok", tiny_tokenizer, CODES, pts=PTS, latents_per_group=3, num_missing=3)


@pytest.fixture
def tokens(path, tiny_tokenizer):
    return TokenReader(path, tokenizer=tiny_tokenizer)


@pytest.mark.parametrize("key", [0, 9, -1, -10, slice(None), slice(2, 7), slice(8, 1, -3), slice(5, 5), slice(-2, 99)])
def test_it_is_indexed_like_an_array(key, tokens):
    assert (tokens.shape, len(tokens), tokens.dtype) == (CODES.shape, 10, np.uint8)
    np.testing.assert_array_equal(tokens[key], CODES[key])
    assert tokens[key].dtype == np.uint8


def test_it_can_be_iterated_and_made_an_array(tokens):
    np.testing.assert_array_equal(list(tokens), CODES)
    np.testing.assert_array_equal(np.asarray(tokens), CODES)
    assert tokens.nbytes == CODES.nbytes


@pytest.mark.parametrize("index", [10, -11])
def test_there_is_nothing_behind_the_end(index, tokens):
    with pytest.raises(IndexError, match="of a file of 10 latent frames"):
        tokens[index]


def test_what_is_returned_is_the_callers(tokens):
    tokens[0][:] = 7
    np.testing.assert_array_equal(tokens[0], CODES[0])


def test_tokens_of_an_open_video_are_its_latent_frames_and_no_network_runs(tiny_tokenizer, tmp_path, monkeypatch):
    source = write_source(tmp_path / "in.mp4", make_frames(21, 24, 40))
    encode_file(source, tmp_path / "in.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=0.6)
    with CompressedVideo(tmp_path / "in.vtok", tokenizer=tiny_tokenizer) as video:
        expected = [latent.tokens.codes for latent in video.latent_frames()]
    monkeypatch.delattr(ChunkDecoder, "decode")
    monkeypatch.setattr(tiny_tokenizer.networks, "forward", None)
    with vtok.open(tmp_path / "in.vtok", tokenizer=tiny_tokenizer) as video:
        np.testing.assert_array_equal(video.tokens[:], expected)
        assert video.tokens is video.tokens


@pytest.mark.parametrize(
    ("start", "end", "latents"),
    [
        (0, 0.001, [0]),
        (0, None, range(10)),
        (0, 0.32, [0]),  # frame 8 begins at 40 * 8 + 26 ms
        (0.346, 0.4, [1]),
        (0.3461, 0.361, [1]),
        (0.29, 0.35, [0, 1]),
        (0.9, 1.0, [2, 3]),  # of two groups
        (3.0, 99, [9]),
    ],
)
def test_a_stretch_of_time(start, end, latents, tokens):
    np.testing.assert_array_equal(tokens.between_seconds(start, end), CODES[list(latents)])


@pytest.mark.parametrize(("start", "end"), [(9, None), (1, 1), (2, 1), (0.001, 0.002)])
def test_a_stretch_of_time_has_frames(start, end, tokens, path):
    with pytest.raises(ConfigError, match=f"{path}: no frame begins from {start}"):
        tokens.between_seconds(start, end)


def test_frames_and_times_of_latent_frames(tokens):
    assert [tokens.first_frame(i) for i in range(10)] == list(range(0, 80, 8))
    assert [tokens.latent_of_frame(i) for i in range(77)] == [i // 8 for i in range(77)]
    assert tokens.pts_seconds(4) == pytest.approx((PTS[32] - PTS[0]) / 1000)
    with pytest.raises(IndexError):
        tokens.latent_of_frame(77)
    with pytest.raises(IndexError):
        tokens.first_frame(10)


def test_in_joined_files_short_latent_frames_count(path, tmp_path, tiny_tokenizer):
    concat_files([path, path], tmp_path / "two.vtok")
    tokens = TokenReader(tmp_path / "two.vtok", tokenizer=tiny_tokenizer)
    np.testing.assert_array_equal(tokens[:], np.concatenate([CODES, CODES]))
    assert [tokens.first_frame(i) for i in (9, 10, 11)] == [72, 77, 85]
    assert [tokens.latent_of_frame(i) for i in (76, 77, 84, 85)] == [9, 10, 10, 11]


def test_only_the_groups_that_are_needed_are_read_and_only_once(tokens, monkeypatch):
    read = []
    read_group = ContainerReader.read_group
    monkeypatch.setattr(
        ContainerReader, "read_group", lambda self, at: read.append(at.first_frame) or read_group(self, at)
    )
    for i in (4, 5, 3, 6, 4):
        tokens[i]
    assert read == [24, 48]
    tokens[0], tokens[3]  # two groups are kept
    assert read == [24, 48, 0]


def test_damage_elsewhere_does_not_matter(path, tokens):
    with path.open("rb") as file:
        location = ContainerReader(file).read_index().locations[1]
    data = bytearray(path.read_bytes())
    data[location.byte_offset + 70] ^= 1
    path.write_bytes(data)
    np.testing.assert_array_equal(tokens[6:], CODES[6:])
    with pytest.raises(ChecksumError, match=f"{path}: .* frames 24 to 47 are lost"):
        tokens[2:4]


def test_of_a_file_that_was_cut_off_there_are_the_complete_groups(path, tiny_tokenizer):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 300])
    tokens = TokenReader(path, tokenizer=tiny_tokenizer)
    assert not tokens.is_complete
    assert 0 < len(tokens) < 10
    np.testing.assert_array_equal(tokens[:], CODES[: len(tokens)])


def test_a_file_that_was_replaced_is_noticed(path, tokens, tiny_tokenizer):
    write_codes(path, tiny_tokenizer, CODES[..., :4], latents_per_group=3)
    with pytest.raises(FormatError, match=f"{path}: is not the file any more that was opened"):
        tokens[0]


def test_the_model_is_checked(path, tmp_path, tiny_tokenizer):
    with pytest.raises(ModelMismatchError, match=f"{path}: was written with the model tiny"):
        TokenReader(path)
    set_hash(tiny_tokenizer, "1" * 64)
    with pytest.raises(ModelMismatchError, match="the weights at hand are tiny 1111"):
        TokenReader(path, tokenizer=tiny_tokenizer)


def test_threads_may_share_it(path, tiny_tokenizer):
    tokens = TokenReader(path, tokenizer=tiny_tokenizer, cache=GroupCache(1))
    wanted = [3 * i % 10 for i in range(60)]
    with ThreadPoolExecutor(4) as threads:
        for i, codes in zip(wanted, threads.map(tokens.__getitem__, wanted), strict=True):
            np.testing.assert_array_equal(codes, CODES[i])


def test_processes_may_have_it(tokens):
    wanted = [0, 9, 4, 2]
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        for i, codes in zip(wanted, processes.map(tokens.__getitem__, wanted), strict=True):
            np.testing.assert_array_equal(codes, CODES[i])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tokens))[:], CODES)
