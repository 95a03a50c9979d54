"""Encoding a part of a video: pictures, sound and chapters of it, and nothing else."""

from fractions import Fraction

import pytest

from support.videos import sound_of, write_video, write_video_with_sound
from vtok.container.reader import ContainerReader
from vtok.errors import ConfigError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter


def groups(path):
    with path.open("rb") as file:
        return list(ContainerReader(file))


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [(0, 0.5, (0, 13)), (0.4, None, (10, 40)), (0.41, 0.9, (11, 23)), (1.56, 99, (39, 40)), (0.4, 0.41, (10, 11))],
)
def test_a_part_is_coded_as_if_there_were_nothing_else(start, end, kept, tiny_tokenizer, tmp_path):
    source = write_video(tmp_path / "whole.mkv", num_frames=40, codec="ffv1")
    with (
        VideoReader(source) as reader,
        VideoWriter(tmp_path / "alone.mkv", reader.info, codec="ffv1") as writer,
    ):
        for frame in list(reader)[slice(*kept)]:
            writer.write(frame)
    part, alone = tmp_path / "part.vtok", tmp_path / "alone.vtok"
    result = encode_file(
        source, part, tokenizer=tiny_tokenizer, start_seconds=start, end_seconds=end, keyframe_seconds=0.6
    )
    encode_file(tmp_path / "alone.mkv", alone, tokenizer=tiny_tokenizer, keyframe_seconds=0.6)
    assert result.num_frames == kept[1] - kept[0]
    assert [group.coded for group in groups(part)] == [group.coded for group in groups(alone)]
    # Moved by what was left out, so that the first frame is less than one frame after the beginning.
    pts = [value for group in groups(part) for value in group.pts]
    assert pts == [round(1000 * (t / 25 - start)) for t in range(*kept)]


def test_its_sound_comes_with_it_in_step(tiny_tokenizer, tmp_path):
    source = write_video_with_sound(tmp_path / "a.mkv", [("libmp3lame", 44100, "mono")])
    (expected,) = sound_of(source)
    coded, decoded = tmp_path / "a.vtok", tmp_path / "out.mkv"
    encode_file(source, coded, tokenizer=tiny_tokenizer, start_seconds=0.4, end_seconds=0.9)
    decode_file(coded, decoded, tokenizer=tiny_tokenizer, codec="ffv1")
    (sound,) = sound_of(decoded)
    inside = [(data, seconds) for data, seconds in expected if 0.4 <= seconds < 0.9]
    assert 3 < len(inside) < len(expected)
    assert [data for data, _ in sound] == [data for data, _ in inside]
    assert max(abs(a - (b - 0.4)) for (_, a), (_, b) in zip(sound, inside, strict=True)) < 0.001


def test_an_empty_part_is_refused(tiny_tokenizer, tmp_path):
    source = write_video(tmp_path / "whole.mkv", num_frames=8)
    for start, end in [(0.32, None), (0.01, 0.03), (5, 6)]:
        with pytest.raises(ConfigError, match=r"whole.mkv: no frame begins in that range"):
            encode_file(source, tmp_path / "a.vtok", tokenizer=tiny_tokenizer, start_seconds=start, end_seconds=end)
    assert not (tmp_path / "a.vtok").exists()
    encode_file(source, tmp_path / "a.vtok", tokenizer=tiny_tokenizer, end_seconds=Fraction(1, 1000))
    assert [len(group.pts) for group in groups(tmp_path / "a.vtok")] == [1]
