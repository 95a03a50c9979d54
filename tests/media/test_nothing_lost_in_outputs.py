"""What a container or its muxer refuses is left out alone, and said: packets of sound, whole tracks, long gaps."""

from fractions import Fraction

import pytest

from support.media_files import make_frames, read, write
from support.videos import sound_of, write_video_with_sound
from vtok.container.packets import PacketChunks
from vtok.container.reader import ContainerReader, PacketChunk
from vtok.container.writer import ContainerWriter
from vtok.errors import MediaError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.video.frame import VideoInfo

AAC, EAC3, ALAC, ADPCM = (
    ("aac", 48000, "stereo"),
    ("eac3", 48000, "5.1"),
    ("alac", 44100, "stereo"),
    ("adpcm_ms", 44100, "stereo"),
)
INFO = VideoInfo(width=32, height=32, time_base=Fraction(1, 1_000_000))


def with_changed_packets(path, change):
    """The same file, with the packets of sound that `change` gives for a number and a packet."""
    with path.open("rb") as file:
        reader = ContainerReader(file)
        items, number = list(reader.items()), 0
    with path.open("wb") as file:
        writer = ContainerWriter(file, reader.header)
        sound = PacketChunks(reader.header.audio, reader.header.time_base)
        for item in items:
            if isinstance(item, PacketChunk):
                for packet in item.packets:
                    sound.push(change(number, packet))
                    number += 1
                writer.write_packets(sound.take())
            else:
                writer.write_group(item)
        writer.finish()
    return path


@pytest.fixture
def coded(tmp_path, tiny_tokenizer):
    def run(name, track, **options):
        source = write_video_with_sound(tmp_path / name, [track], **options)
        path = tmp_path / "a.vtok"
        return source, path, encode_file(source, path, tokenizer=tiny_tokenizer, overwrite=True)

    return run


@pytest.mark.parametrize(
    ("track", "bad", "suffixes"), [(AAC, (3, 20), ("mp4", "mov", "mkv")), (EAC3, (5, 30), ("mp4",))]
)
def test_packets_that_a_muxer_refuses_are_left_out_alone(track, bad, suffixes, coded, tmp_path, tiny_tokenizer):
    source, path, _ = coded("a.ts", track)
    with_changed_packets(path, lambda i, packet: packet._replace(data=bytes(range(1, 60))) if i in bad else packet)
    for name in (f"out.{suffix}" for suffix in suffixes):
        result = decode_file(path, tmp_path / name, tokenizer=tiny_tokenizer)
        assert result.notices == ["packets of sound that the container refuses, and which are left out: 2"]
        (before,), (after,) = sound_of(source), sound_of(tmp_path / name)
        expected = [time for i, (_, time) in enumerate(before) if i not in bad]
        assert [float(time) for _, time in after] == pytest.approx([float(time) for time in expected], abs=0.001)


@pytest.mark.parametrize("bad", [[60], [97], [98], [99], [1], [1, 50, 98, 99]])
def test_refused_packets_of_sound_that_goes_on_after_the_pictures_are_left_out_alone(
    bad, coded, tmp_path, tiny_tokenizer
):
    source, path, _ = coded("a.ts", EAC3, seconds=3.2)
    with_changed_packets(path, lambda i, packet: packet._replace(data=bytes(range(1, 60))) if i in bad else packet)
    result = decode_file(path, tmp_path / "out.mp4", tokenizer=tiny_tokenizer)
    assert result.notices == [f"packets of sound that the container refuses, and which are left out: {len(bad)}"]
    (before,), (after,) = sound_of(source), sound_of(tmp_path / "out.mp4")
    assert len(before) == 100
    assert [data for data, _ in after] == [data for i, (data, _) in enumerate(before) if i not in bad]


def test_the_last_packet_of_a_source_without_durations_is_kept(coded, tmp_path, tiny_tokenizer):
    source, path, _ = coded("a.mkv", ALAC)
    packets = []
    with_changed_packets(path, lambda i, packet: packets.append(packet) or packet._replace(duration=0))
    assert len(packets) > 8
    for name in ("out.mp4", "out.mov", "out.mkv"):
        assert decode_file(path, tmp_path / name, tokenizer=tiny_tokenizer).notices == []
        (before,), (after,) = sound_of(source), sound_of(tmp_path / name)
        assert [data for data, _ in after] == [data for data, _ in before]


@pytest.mark.parametrize(("track", "suffix", "says"), [(ADPCM, "avi", True), (AAC, "mkv", False)])
def test_sound_that_no_output_can_hold_is_told_when_it_is_encoded(track, suffix, says, coded, tmp_path, tiny_tokenizer):
    _, path, result = coded(f"a.{suffix}", track)
    notice = "the sound adpcm_ms is kept, but no container that vtok writes can hold it: decoded videos will lack it"
    assert (notice in result.notices) == says
    decoded = decode_file(path, tmp_path / "out.mkv", tokenizer=tiny_tokenizer)
    assert any("sound dropped" in line for line in decoded.notices) == says


@pytest.mark.parametrize("seconds", [300, 3000])
def test_gaps_that_mp4_cannot_hold_well_or_at_all(seconds, tmp_path):
    frames = make_frames(INFO, [0, 40_000, seconds * 10**6, seconds * 10**6 + 40_000])
    write(tmp_path / "a.mkv", INFO, frames)
    assert [frame.pts for frame in read(tmp_path / "a.mkv")[1]] == [0, 40, 1000 * seconds, 1000 * seconds + 40]
    for path in (tmp_path / "a.mp4", tmp_path / "a.mov"):
        if seconds == 300:
            (notice,) = write(path, INFO, frames).notices
            assert (
                notice
                == f"frame 1 is shown for 299.96 s, which some players misread in {path.suffix}; .mkv has no such limit"
            )
            assert [frame.pts for frame in read(path)[1]] == [frame.pts for frame in frames]
        else:
            message = f"^{path}: frame 1 is shown for 2999.96 s, which {path.suffix} cannot hold; .mkv can$"
            with pytest.raises(MediaError, match=message):
                write(path, INFO, frames)
            assert not path.exists()
