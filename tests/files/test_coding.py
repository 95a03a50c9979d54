"""Files in and out: sizes, lengths, timestamps, determinism, streaming, damage, and what is left behind."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

import vtok
from support.models import set_hash
from support.sources import make_frames, read, write_source
from support.videos import ROOT
from vtok.codec.chunk_coder import ChunkDecoder, ChunkEncoder
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.token_reader import TokenReader
from vtok.container.reader import ContainerReader
from vtok.errors import (
    ChecksumError,
    ConfigError,
    FormatError,
    MediaError,
    ModelMismatchError,
    TruncatedError,
)
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.media.reader import VideoReader
from vtok.video.frame import Frame


@pytest.fixture
def tokenizer(tiny_tokenizer):
    return tiny_tokenizer


@pytest.mark.parametrize("num_frames", [1, 7, 8, 9, 17])
@pytest.mark.parametrize("size", [(1, 1), (15, 22), (64, 48)])
def test_size_length_and_timestamps_come_back(num_frames, size, tokenizer, tmp_path):
    frames = make_frames(num_frames, *size)
    source = write_source(tmp_path / "in.mp4", frames)
    result = encode_file(source, tmp_path / "out.vtok", tokenizer=tokenizer, quality=7)
    assert (result.num_frames, result.num_bytes) == (num_frames, (tmp_path / "out.vtok").stat().st_size)
    assert result.bits_per_pixel == pytest.approx(8 * result.num_bytes / (size[0] * size[1] * num_frames))
    assert result.kbit_per_second == pytest.approx(8e-3 * result.num_bytes / (num_frames / 25))
    decode_file(tmp_path / "out.vtok", tmp_path / "rec.mp4", tokenizer=tokenizer, codec="ffv1")
    decoded = read(tmp_path / "rec.mp4")
    assert [frame.pts for frame in decoded] == [frame.pts for frame in frames]
    assert all(frame.y.shape == size and frame.u.shape == frames[0].u.shape for frame in decoded)


def test_large_odd_frames_come_back(tokenizer, tmp_path):
    source = write_source(tmp_path / "in.mp4", make_frames(3, 200, 300))
    encode_file(source, tmp_path / "out.vtok", tokenizer=tokenizer)
    decode_file(tmp_path / "out.vtok", tmp_path / "rec.mkv", tokenizer=tokenizer)
    assert [frame.y.shape for frame in read(tmp_path / "rec.mkv")] == [(200, 300)] * 3


def test_variable_frame_rate_aspect_and_colour_tags_come_back(tokenizer, tmp_path):
    pts = [5, 6, 9, 10, 17, 40, 41, 43, 50, 90, 1000]
    info = {"sample_aspect_ratio": Fraction(4, 3), "color_matrix": 1, "color_primaries": 9, "color_transfer": 1}
    frames = make_frames(len(pts), 16, 24, pts=pts)
    source = write_source(tmp_path / "in.mp4", frames, time_base=Fraction(1, 600), average_rate=None, **info)
    encode_file(source, tmp_path / "out.vtok", tokenizer=tokenizer)
    decode_file(tmp_path / "out.vtok", tmp_path / "rec.mp4", tokenizer=tokenizer)
    with VideoReader(source) as original, VideoReader(tmp_path / "rec.mp4") as decoded:
        seconds = [[frame.pts * reader.info.time_base for frame in reader] for reader in (original, decoded)]
        assert seconds[0] == seconds[1]
        assert len(set(np.diff([float(s) for s in seconds[1]]).round(5))) > 3
        assert decoded.info.sample_aspect_ratio == Fraction(4, 3)
        tags = (decoded.info.color_matrix, decoded.info.color_primaries, decoded.info.color_transfer)
        assert tags == (1, 9, 1)


def test_decoded_frames_are_those_of_the_networks(tokenizer, tmp_path):
    """The file adds nothing and loses nothing: frames equal those of the model run on its own codes."""
    frames = make_frames(20, 24, 40)
    source = write_source(tmp_path / "in.mp4", frames)
    encode_file(source, tmp_path / "out.vtok", tokenizer=tokenizer, quality=8)
    with VideoReader(source) as reader:
        encoder = ChunkEncoder(tokenizer.pretrained, reader.info, 8.0)
        decoder = ChunkDecoder(tokenizer.pretrained, reader.info)
    tokens = [encoder.encode(frames[i : i + 8]) for i in (0, 8, 16)]
    pts = [range(8), range(8, 16), range(16, 20)]
    expected = [frame for t, times in zip(tokens, pts, strict=True) for frame in decoder.decode(t, times, 8.0)]
    with CompressedVideo(tmp_path / "out.vtok", tokenizer=tokenizer) as video:
        for a, b in zip(video, expected, strict=True):
            assert a.pts == b.pts
            assert np.array_equal(a.y, b.y)
            assert np.array_equal(a.v, b.v)
    with CompressedVideo(tmp_path / "out.vtok", tokenizer=tokenizer) as video:
        stored = [latent.tokens for latent in video.latent_frames()]
    for a, b in zip(stored, tokens, strict=True):
        assert np.array_equal(a.codes, b.codes)
        assert np.array_equal(a.motion.fields, b.motion.fields)
    assert len(np.unique(stored[0].codes)) > 5


def test_groups_begin_alike_wherever_they_begin(tokenizer, tmp_path):
    source = write_source(tmp_path / "in.mp4", make_frames(40, 24, 40))
    codes = {}
    for seconds in (0.1, 0.7, 4):
        path = tmp_path / f"{seconds}.vtok"
        encode_file(source, path, tokenizer=tokenizer, keyframe_seconds=seconds)
        with path.open("rb") as file:
            reader = ContainerReader(file)
            lengths = [group.num_frames for group in reader]
        assert lengths == {0.1: [8] * 5, 0.7: [16, 16, 8], 4: [40]}[seconds]
        with CompressedVideo(path, tokenizer=tokenizer) as video:
            codes[seconds] = np.stack([latent.tokens.codes for latent in video.latent_frames()])
    assert np.array_equal(codes[0.7][:2], codes[4][:2])
    assert np.array_equal(codes[0.7][::2], codes[0.1][::2])


def test_tokens_hardly_depend_on_the_groups(tokenizer, tmp_path):
    source = write_source(tmp_path / "in.mp4", make_frames(24, 24, 40))
    encode_file(source, tmp_path / "one.vtok", tokenizer=tokenizer)
    encode_file(source, tmp_path / "three.vtok", tokenizer=tokenizer, keyframe_seconds=0.1)
    tokens = [TokenReader(tmp_path / name, tokenizer=tokenizer) for name in ("one.vtok", "three.vtok")]
    # Codes are chosen to be those that the prior expects where that is nearly as good, but not across groups.
    codes = [np.asarray(reader).astype(int) for reader in tokens]
    assert np.array_equal(codes[0][0], codes[1][0])
    assert np.abs(codes[0] - codes[1]).max() <= 1
    motion = [np.asarray(reader.motion) for reader in tokens]
    assert np.array_equal(motion[0][:, :-1], motion[1][:, :-1])
    assert not motion[1][:, -1].any()
    assert [reader.num_groups for reader in tokens] == [1, 3]


def test_same_input_gives_the_same_bytes(tokenizer, tmp_path):
    source = write_source(tmp_path / "in.mp4", make_frames(12, 32, 32))
    for name in ("a.vtok", "b.vtok"):
        encode_file(source, tmp_path / name, tokenizer=tokenizer)
    assert (tmp_path / "a.vtok").read_bytes() == (tmp_path / "b.vtok").read_bytes()


def test_full_range_stays_full_range(tokenizer, tmp_path):
    source = write_source(tmp_path / "in.mp4", make_frames(2, 16, 16), color_range=2)
    encode_file(source, tmp_path / "out.vtok", tokenizer=tokenizer)
    with CompressedVideo(tmp_path / "out.vtok", tokenizer=tokenizer) as video:
        assert video.info.is_full_range


@pytest.fixture
def encoded(tokenizer, tmp_path):
    source = write_source(tmp_path / "in.mp4", make_frames(24, 24, 40))
    encode_file(source, tmp_path / "good.vtok", tokenizer=tokenizer, keyframe_seconds=0.3)
    return tmp_path / "good.vtok"


def damaged(encoded, change):
    data = bytearray(encoded.read_bytes())
    path = encoded.with_name("bad.vtok")
    path.write_bytes(bytes(change(data)))
    return path


def flip(data, position):
    data[position] ^= 0x10
    return data


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: b"", FormatError),
        (lambda data: b"not a video file at all", FormatError),
        (lambda data: data[: len(data) // 2], TruncatedError),
        (lambda data: data[:-1], TruncatedError),
        (lambda data: flip(data, len(data) // 2), ChecksumError),
        (lambda data: data.replace(b'"tiny"', b'"tinz"'), ChecksumError),
    ],
)
def test_damage_is_one_clear_error_and_leaves_nothing(change, error, encoded, tokenizer):
    bad = damaged(encoded, change)
    before = set(bad.parent.iterdir())
    with pytest.raises(error) as caught:
        decode_file(bad, bad.with_name("rec.mp4"), tokenizer=tokenizer)
    assert str(caught.value).startswith(str(bad))
    assert "\n" not in str(caught.value)
    assert set(bad.parent.iterdir()) == before


def test_wrong_codes_are_noticed_before_any_network_runs(encoded, tokenizer, monkeypatch):
    """A wrong scale, as a bug or another machine might have, passes every CRC of bytes; that of the codes tells."""
    tokenizer.pretrained.exact_prior.magnitude_weights *= 2
    monkeypatch.setattr(ChunkDecoder, "decode", lambda *_: pytest.fail("a network was run"))
    with pytest.raises(FormatError), CompressedVideo(encoded, tokenizer=tokenizer) as video:
        list(video)


def test_other_weights_are_refused_with_both_ids(encoded, tokenizer):
    set_hash(tokenizer, "f" * 64)
    with pytest.raises(ModelMismatchError, match=f"{'0' * 64}.*{'f' * 64}"):
        decode_file(encoded, encoded.with_name("rec.mp4"), tokenizer=tokenizer)
    with pytest.raises(
        ModelMismatchError, match=rf"the model tiny {'0' * 64}; at hand are only .*tokenizer=\.\.\..*VTOK_MODELS"
    ):
        decode_file(encoded, encoded.with_name("rec.mp4"))


def test_no_output_is_overwritten_unasked(encoded, tokenizer, tmp_path):
    source, target = tmp_path / "in.mp4", tmp_path / "good.vtok"
    before = target.read_bytes()
    with pytest.raises(ConfigError, match=r"good.vtok: exists already. Overwrite it with overwrite=True"):
        encode_file(source, target, tokenizer=tokenizer, quality=2)
    assert target.read_bytes() == before
    encode_file(source, target, tokenizer=tokenizer, quality=2, overwrite=True)
    assert target.read_bytes() != before
    with pytest.raises(ConfigError, match="is the input too"):
        encode_file(source, source, tokenizer=tokenizer, overwrite=True)


def test_bad_arguments_are_clear_errors(tokenizer, tmp_path):
    source = write_source(tmp_path / "in.mp4", make_frames(2, 16, 16))
    with pytest.raises(ConfigError, match="quality is 10; expected 1"):
        encode_file(source, tmp_path / "out.vtok", tokenizer=tokenizer, quality=10)
    with pytest.raises(MediaError, match=r"missing.mp4"):
        encode_file(tmp_path / "missing.mp4", tmp_path / "out.vtok", tokenizer=tokenizer)
    with pytest.raises(MediaError, match=r"missing.vtok: cannot be opened"):
        decode_file(tmp_path / "missing.vtok", tmp_path / "rec.mp4", tokenizer=tokenizer)
    with pytest.raises(ConfigError, match="pretrained kind"):
        encode_file(source, tmp_path / "out.vtok", tokenizer=vtok.VideoTokenizer())
    untrained = vtok.VideoTokenizer((("klt", 12), ("latent_residual", 8)), num_codebooks=12, codebook_size=256)
    with pytest.raises(ConfigError, match="files need trained weights"):
        encode_file(source, tmp_path / "out.vtok", tokenizer=untrained)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_memory_does_not_grow_with_duration(tokenizer, tmp_path):
    """Peak memory of encoding 640 frames is that of 64, within what the allocator does (whole processes measured)."""
    program = """
import resource, sys, torch
sys.path.insert(0, sys.argv[2])
from support.models import new_tiny_tokenizer
from vtok.files.encode import encode_file
encode_file(sys.argv[1], sys.argv[1] + ".vtok", tokenizer=new_tiny_tokenizer())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for num_frames in (64, 640):
        frames = make_frames(64, 160, 160)
        repeated = [Frame(f.y, f.u, f.v, t) for t in range(num_frames) for f in [frames[t % 64]]]
        source = write_source(tmp_path / f"{num_frames}.mp4", repeated)
        arguments = [sys.executable, "-c", program, str(source), str(ROOT / "tests")]
        peaks.append(int(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout))
    # 576 more frames are 22 MB of pixels and 28 MB of codes: were they kept, it would show.
    assert peaks[1] - peaks[0] < 10_000


def test_public_names_are_imported_lazily():
    program = "import vtok, sys; assert 'torch' not in sys.modules; vtok.VideoTokenizer; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert all(hasattr(vtok, name) for name in vtok.__all__)
    with pytest.raises(AttributeError):
        vtok.nonsense  # noqa: B018


def test_threads_do_not_change_the_bytes(tokenizer, tmp_path):
    source = write_source(tmp_path / "in.mp4", make_frames(12, 64, 64))
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            encode_file(source, tmp_path / f"{number}.vtok", tokenizer=tokenizer)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "1.vtok").read_bytes() == (tmp_path / "2.vtok").read_bytes()
