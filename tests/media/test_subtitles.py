"""Subtitles through whole commands: packets come back byte for byte, in step, or in the form that a container has."""

import json
import re
from dataclasses import replace
from fractions import Fraction

import pytest

from support.chunk_assembly import edited_header, joined, split
from support.commands import assert_failed
from support.videos import sound_of, subtitles_of, write_video_with_subtitles
from vtok.codec.recovery import RecoveredVideo
from vtok.container.packets import PacketChunks
from vtok.container.reader import ContainerReader
from vtok.container.writer import ContainerWriter
from vtok.errors import ConfigError
from vtok.files.concat import concat_files
from vtok.files.cut import cut_file
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.files.inspection import file_info
from vtok.video.tracks import SubtitleTrack, TrackPacket

FLAC = ("flac", 48000, "mono")
CUES = [(100, 300, b"one"), (600, 500, "<b>zwei</b> Größe".encode()), (1200, 300, b"three\nlines")]
SRT = ("subrip", CUES)
ASS = ("ass", [(t, d, b"%d,0,Default,,0,0,0,,{\\i1}%s" % (i, text)) for i, (t, d, text) in enumerate(CUES[:2])])
VTT = ("webvtt", [(t, d, text) for t, d, text in CUES[:2]])
PGS = ("hdmv_pgs_subtitle", [(100, 400, b"\x80\0\0"), (1000, 200, b"\x80\0\0")])
DVD = ("dvd_subtitle", [(100, 400, b"\0\4\0\0"), (1000, 200, b"\0\4\0\1")])
MOV = ("mov_text", [(t, d, len(text).to_bytes(2) + text) for t, d, text in CUES])


@pytest.fixture
def coded(tmp_path, tiny_tokenizer):
    """Makes a source, and the .vtok file of it in groups of 16 frames."""

    def run(name, tracks, *, keyframe_seconds=0.6, options=None, **more):
        source = write_video_with_subtitles(tmp_path / name, tracks, **more)
        path = source.with_suffix(".vtok")
        result = encode_file(
            source, path, tokenizer=tiny_tokenizer, keyframe_seconds=keyframe_seconds, overwrite=True, **(options or {})
        )
        assert (result.notices, result.incomplete) == ([], None)
        return source, path

    return run


@pytest.fixture
def decoded(tmp_path, tiny_tokenizer):
    """Decodes a .vtok file; returns its tracks of subtitles and the notices."""

    def run(path, suffix, **options):
        target = tmp_path / f"decoded{suffix}"
        result = decode_file(path, target, tokenizer=tiny_tokenizer, overwrite=True, **options)
        return subtitles_of(target), result.notices

    return run


def cues_of(tracks):
    """Begin and words of each cue of each track, whatever the form."""
    return [[(begin, data) for begin, _, data in packets if data != b"\0\0"] for _, _, _, packets in tracks]


@pytest.mark.parametrize(
    ("name", "tracks"),
    [("a.mkv", [SRT, ASS, VTT, PGS, DVD]), ("a.mp4", [MOV, DVD]), ("a.mov", [MOV]), ("a.webm", [VTT])],
)
def test_packets_come_back_byte_for_byte_and_in_step(name, tracks, coded, decoded):
    source, path = coded(name, tracks, languages=("deu", "eng"))
    expected = subtitles_of(source)
    assert [len(packets) > 1 for *_, packets in expected] == [True] * len(tracks)
    again, notices = decoded(path, source.suffix)
    assert notices == []
    for track, other in zip(again, expected, strict=True):
        assert (*track[:2], track[3]) == (*other[:2], other[3])
        assert (track[2] or b"").startswith(other[2] or b"")  # FFmpeg adds the bitrate to that of MP4
    info = file_info(path)
    assert [track["codec"] for track in info.subtitle_tracks] == [codec for codec, _ in tracks]
    assert [track["tags"].get("language") for track in info.subtitle_tracks] == [track[1] for track in expected]


def test_text_is_converted_to_what_the_container_holds(coded, decoded):
    _, path = coded("a.mkv", [SRT, ASS, VTT, PGS], languages=("deu",))
    tracks, notices = decoded(path, ".mp4")
    assert [codec for codec, *_ in tracks] == ["mov_text"] * 3
    assert tracks[0][1] == "deu"
    words = [[data[2 : 2 + int.from_bytes(data[:2])].decode() for _, data in track] for track in cues_of(tracks)]
    assert words == [["one", "zwei Größe", "three\nlines"], ["one", "<b>zwei</b> Größe"], ["one", "zwei Größe"]]
    begins = [[begin for begin, _ in track] for track in cues_of(tracks)]
    assert begins[0] == [Fraction(begin, 1000) for begin, _, _ in CUES]
    assert notices == [
        "subtitles subrip deu converted to mov_text for .mp4",
        "subtitles ass converted to mov_text for .mp4",
        "subtitles webvtt converted to mov_text for .mp4",
        "subtitles dropped: .mp4 cannot hold the track hdmv_pgs_subtitle; .mkv can",
    ]
    tracks, _ = decoded(path, ".webm")
    assert [codec for codec, *_ in tracks] == ["webvtt"] * 3
    assert cues_of(tracks)[0] == [(Fraction(begin, 1000), text) for begin, _, text in CUES]


def test_the_text_of_mp4_goes_into_matroska(coded, decoded):
    _, path = coded("a.mp4", [MOV])
    (track,), notices = decoded(path, ".mkv")
    assert notices == ["subtitles mov_text converted to subrip for .mkv"]
    assert track[3] == [(Fraction(begin, 1000), Fraction(duration, 1000), text) for begin, duration, text in CUES], (
        "and nothing where no text is shown"
    )


def test_other_outputs_say_that_they_have_none(coded, decoded, tmp_path, tiny_tokenizer):
    _, path = coded("a.mkv", [SRT], sound=FLAC)
    for suffix in (".gif", ".y4m"):
        result = decode_file(path, tmp_path / f"out{suffix}", tokenizer=tiny_tokenizer)
        assert "sound and subtitles dropped: the output holds pictures only; .mkv holds sound and subtitles too" in (
            result.notices
        )


def test_subtitles_and_sound_can_be_left_out_each(coded, decoded, tmp_path, tiny_tokenizer):
    source, path = coded("a.mkv", [SRT, ASS], sound=FLAC)
    expected, sound = subtitles_of(source), sound_of(source)
    target = tmp_path / "decoded.mkv"
    assert decoded(path, ".mkv")[0] == expected
    assert sound_of(target) == sound
    assert decoded(path, ".mkv", with_audio=False)[0] == expected
    assert sound_of(target) == []
    assert decoded(path, ".mkv", with_subtitles=False)[0] == []
    assert sound_of(target) == sound
    for edit in (cut_file, lambda path, target, **options: concat_files([path], target, **options)):
        for kept in ({"with_audio": False}, {"with_subtitles": False}, {"with_audio": False, "with_subtitles": False}):
            edit(path, tmp_path / "edited.vtok", overwrite=True, **kept)
            assert decoded(tmp_path / "edited.vtok", ".mkv")[0] == (expected if "with_subtitles" not in kept else [])
            assert sound_of(target) == (sound if "with_audio" not in kept else [])
    for kept in ({"with_audio": False}, {"with_subtitles": False}):
        _, path = coded("b.mkv", [SRT, ASS], sound=FLAC, options=kept)
        assert decoded(path, ".mkv")[0] == (expected if "with_subtitles" not in kept else [])
        assert sound_of(target) == (sound if "with_audio" not in kept else [])


def test_parts_have_the_cues_that_begin_in_them_in_step(coded, decoded, tmp_path, tiny_tokenizer):
    source, path = coded("a.mkv", [SRT], sound=FLAC)
    inside = [(Fraction(200, 1000), CUES[1][2]), (Fraction(800, 1000), CUES[2][2])]
    part = {"start_seconds": Fraction("0.4"), "end_seconds": Fraction("1.4")}
    assert cues_of(decoded(path, ".mkv", **part)[0]) == [inside]
    encode_file(source, tmp_path / "b.vtok", tokenizer=tiny_tokenizer, **part)
    assert cues_of(decoded(tmp_path / "b.vtok", ".mkv")[0]) == [inside]
    cut_file(path, tmp_path / "c.vtok", start_seconds=0.7)  # from 0.64 s on, where a group begins
    assert cues_of(decoded(tmp_path / "c.vtok", ".mkv")[0]) == [[(Fraction(560, 1000), CUES[2][2])]]
    cut_file(path, tmp_path / "d.vtok", end_seconds=0.6)
    concat_files([tmp_path / "d.vtok", tmp_path / "c.vtok"], tmp_path / "e.vtok")
    assert decoded(tmp_path / "e.vtok", ".mkv")[0] == subtitles_of(source)


def test_only_tracks_that_agree_are_joined(coded, tmp_path):
    paths = [coded("a.mkv", [SRT])[1], coded("b.mkv", [ASS])[1]]
    message = r"b\.vtok: has the subtitles tracks ass 1/1000, and .*a\.vtok has subrip 1/1000\. .*with_subtitles=False"
    with pytest.raises(ConfigError, match=message):
        concat_files(paths, tmp_path / "out.vtok")
    assert concat_files(paths, tmp_path / "out.vtok", with_subtitles=False).num_frames == 80


def test_what_is_intact_is_recovered(coded, decoded, tiny_tokenizer):
    _, path = coded("a.mkv", [SRT])
    data = bytearray(path.read_bytes())
    data[data.index(CUES[0][2])] ^= 1
    path.write_bytes(data)
    with RecoveredVideo(path, tokenizer=tiny_tokenizer) as video:
        (fault,) = video.faults
    end = re.search(r"is damaged: subtitles from 0\.100 s to (\d\.\d{3}) s are lost$", fault)[1]
    target = path.with_suffix(".mkv").with_name("recovered.mkv")
    result = decode_file(path, target, recover=True, tokenizer=tiny_tokenizer)
    assert result.incomplete.endswith(", and subtitles are missing")
    assert result.num_frames == 40
    kept = [(Fraction(begin, 1000), text) for begin, duration, text in CUES if begin + duration > 1000 * float(end)]
    assert kept
    assert cues_of(subtitles_of(target)) == [kept]


def with_tracks(path, tracks, packets):
    """The same file, with other tracks and packets."""
    with path.open("rb") as file:
        reader = ContainerReader(file)
        groups = list(reader)
    header = replace(reader.header, audio=(), subtitles=tracks)
    with path.open("wb") as out:
        writer, waiting = ContainerWriter(out, header), PacketChunks(tracks, header.time_base)
        for packet in packets:
            waiting.push(packet)
        writer.write_packets(waiting.take())
        for group in groups:
            writer.write_group(group)
        writer.finish()
    return path


@pytest.mark.parametrize(
    ("track", "data"),
    [
        ({"codec": "h264"}, b"x"),
        ({"codec": "aac"}, b"x"),
        ({"codec": "no-such-codec"}, b"x"),
        ({"codec": "ass"}, b"no comma"),
        ({"codec": "ass", "extradata": b"\xff" * 1000}, b"0,0,Default,,0,0,0,,text"),
        ({"codec": "mov_text"}, b"\xff\xff" + b"\0" * 70_000),
        ({"codec": "mov_text", "extradata": b"\xff" * 100}, b"\0\4\xff\xff\xff\xff\0\0\0\x16styl\xff\xff"),
        ({"codec": "subrip"}, b"\xff\xfe not UTF-8"),
        ({"codec": "subrip"}, b"<b>" * 300_000 + b"a" * 1_000_000),
        ({"codec": "webvtt"}, b""),
        ({"codec": "hdmv_pgs_subtitle", "extradata": b"x" * 100}, b"\x16\xff\xff\xff"),
        ({"codec": "dvd_subtitle", "time_base": Fraction(2**31 - 1, 1)}, b"\0\2"),
    ],
)
def test_hostile_tracks_cost_no_picture(track, data, coded, tmp_path, tiny_tokenizer):
    _, path = coded("a.mkv", [SRT])
    described = SubtitleTrack(**{"codec": "subrip", "time_base": Fraction(1, 1000)} | track)
    packets = [TrackPacket(0, t, t, 10, data) for t in (0, 500, 400, -100, 900)]
    with_tracks(path, (described,), packets)
    for suffix in (".mp4", ".mkv", ".webm"):
        result = decode_file(path, tmp_path / f"out{suffix}", tokenizer=tiny_tokenizer, overwrite=True)
        assert result.num_frames == 40
        assert all("\n" not in notice for notice in result.notices)


def test_too_many_tracks_are_refused(coded):
    _, path = coded("a.mkv", [SRT])
    parts = split(path.read_bytes())
    header = json.loads(parts[0].payload)
    path.write_bytes(joined([edited_header(parts[0], subtitles=header["subtitles"] * 257), *parts[1:]]))
    with pytest.raises(Exception, match="subtitles has 257 tracks: must be at most 256"):
        file_info(path)


def test_the_commands(vtok, tmp_path):
    write_video_with_subtitles(tmp_path / "a.mkv", [SRT, PGS], sound=FLAC, languages=("deu",))
    assert vtok("encode", "a.mkv", "a.vtok").err == ""
    lines = vtok("info", "a.vtok").out.splitlines()
    assert "of sound and subtitles" in lines[0]
    assert [line for line in lines if line.startswith("subtitles ")] == [
        "subtitles subrip, deu",
        "subtitles hdmv_pgs_subtitle",
    ]
    outcome = vtok("decode", "a.vtok", "a.mp4")
    assert outcome.code == 0
    assert (
        "vtok: notice: a.vtok: subtitles dropped: .mp4 cannot hold the track hdmv_pgs_subtitle; .mkv can" in outcome.err
    )
    assert vtok("encode", "a.mkv", "b.vtok", "--no-subtitles").err == ""
    assert json.loads(vtok("info", "b.vtok", "--json").out)["subtitle_tracks"] == []
    assert_failed(vtok("concat", "a.vtok", "b.vtok", "c.vtok"), r"b\.vtok: .* unless --no-subtitles leaves them out")
    assert vtok("concat", "a.vtok", "b.vtok", "c.vtok", "--no-subtitles").code == 0
    assert vtok("cut", "a.vtok", "d.vtok", "--no-subtitles").code == 0
    assert vtok("decode", "a.vtok", "e.mkv", "--no-subtitles").code == 0
    assert subtitles_of(tmp_path / "e.mkv") == []
