"""Sound, tags and chapters through whole commands: packets come back byte for byte, and in step with the pictures."""

import dataclasses
import json
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from make_golden import WEIGHTS

from support.commands import assert_failed, in_folder
from support.independent_reader import read as read_independently
from support.videos import ROOT, sound_of, write_video_with_sound
from vtok.cli.output import EXIT_INCOMPLETE
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.packet_queue import PacketQueue
from vtok.container.packets import PacketChunks
from vtok.container.reader import ContainerReader, PacketChunk
from vtok.container.verification import verify_file
from vtok.container.writer import ContainerWriter
from vtok.errors import ChecksumError, ConfigError
from vtok.files.concat import concat_files
from vtok.files.cut import cut_file
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.files.inspection import file_info
from vtok.measure.stats import file_stats
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.video.times import Span

AAC, OPUS, MP3 = ("aac", 48000, "stereo"), ("libopus", 48000, "mono"), ("libmp3lame", 44100, "mono")
PCM, PCM_BE, ULAW = ("pcm_s16le", 8000, "mono"), ("pcm_s24be", 44100, "stereo"), ("pcm_mulaw", 8000, "mono")
AC3, FLAC, ALAC = ("ac3", 48000, "5.1"), ("flac", 44100, "stereo"), ("alac", 44100, "stereo")
CHAPTERS = [
    {"id": i, "start": 1000 * i, "end": 1000 * i + 1000, "time_base": Fraction(1, 1000), "metadata": {"title": f"{i}"}}
    for i in range(2)
]
TAGS = {"title": "Größe 日本", "artist": "a", "date": "2024"}


@pytest.fixture
def sources(tmp_path, tiny_tokenizer):
    """Makes a source, and the .vtok file of it in groups of 16 frames."""

    def run(name, tracks, **options):
        source = write_video_with_sound(tmp_path / name, tracks, **options)
        path = tmp_path / f"{Path(name).stem}.vtok"
        result = encode_file(source, path, tokenizer=tiny_tokenizer, keyframe_seconds=0.6, overwrite=True)
        assert (result.notices, result.incomplete) == ([], None)
        return source, path

    return run


@pytest.fixture
def decode(tmp_path, tiny_tokenizer):
    def run(path, name="out.mp4", **options):
        codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
        options = {"codec": codec, "codec_options": {} if codec == "libvpx-vp9" else {"preset": "ultrafast"}} | options
        options = {"tokenizer": tiny_tokenizer, "overwrite": True} | options
        return tmp_path / name, decode_file(path, tmp_path / name, **options)

    return run


def assert_same_sound(tracks, expected, *, within=0.0):
    """The same packets, and when they begin differs by no more than `within` seconds."""
    assert [[data for data, _ in track] for track in tracks] == [[data for data, _ in track] for track in expected]
    for track, other in zip(tracks, expected, strict=True):
        assert track
        assert max(abs(a - b) for (_, a), (_, b) in zip(track, other, strict=True)) <= within


@pytest.mark.parametrize(
    ("source", "tracks", "targets"),
    [
        ("a.mp4", [AAC], ["mp4", "mov", "mkv"]),
        ("a.mp4", [MP3, AAC], ["mp4", "mkv"]),
        ("a.mkv", [AAC, OPUS], ["mp4", "mkv"]),
        ("a.webm", [OPUS], ["webm", "mp4"]),
        ("a.mp4", [OPUS], ["webm", "mkv", "mp4"]),
        ("a.mov", [PCM], ["mov", "mkv", "mp4"]),
        ("a.mov", [PCM_BE, ULAW, ALAC], ["mov"]),
        ("a.mkv", [AC3, FLAC], ["mkv", "mp4"]),
    ],
)
def test_packets_come_back_and_in_step(source, tracks, targets, sources, decode):
    options = {"video_codec": "libvpx-vp9"} if source.endswith("webm") else {}
    source, path = sources(source, tracks, **options)
    expected = sound_of(source)
    assert len(expected) == len(tracks)
    for target in targets:
        out, result = decode(path, f"out.{target}")
        # Matroska has milliseconds, and in MP4 a sample is the unit.
        assert_same_sound(sound_of(out), expected, within=0.0005 if target in ("mkv", "webm") else 1.2e-5)
        assert [notice for notice in result.notices if "moved by" not in notice] == []
        with av.open(str(source)) as a, av.open(str(out)) as b:
            for before, after in zip(a.streams.audio, b.streams.audio, strict=True):
                assert after.codec_context.codec.canonical_name == before.codec_context.codec.canonical_name
                assert (after.sample_rate, after.channels) == (before.sample_rate, before.channels)
                assert sum(frame.samples for frame in b.decode(after)) > 0
                b.seek(0)


@pytest.mark.parametrize(("start", "seconds"), [(0.7, 0.5), (0.0, 3.0), (2.2, 0.5)])
def test_sound_may_begin_later_and_last_longer_than_the_pictures(start, seconds, sources, decode):
    source, path = sources("a.mkv", [MP3], start=start, seconds=seconds)
    expected = sound_of(source)
    assert expected[0][0][1] == pytest.approx(start, abs=0.03)
    for name in ("out.mp4", "out.mkv"):
        assert_same_sound(sound_of(decode(path, name)[0]), expected, within=0.0005)


def test_sound_stands_beside_its_pictures_in_the_file(sources):
    source, path = sources("a.mkv", [AAC], num_frames=64, seconds=3)
    with path.open("rb") as file:
        items = list(ContainerReader(file).items())
    kinds = "".join("a" if isinstance(item, PacketChunk) else "v" for item in items)
    assert kinds.startswith("avavav")  # then the decoder still has pictures of what was read
    ends = [item.packets[-1].pts / 1000 for item in items if isinstance(item, PacketChunk)]
    assert ends[0] < 1.2
    assert ends[1] < 1.9
    parsed = read_independently(path.read_bytes())
    assert parsed.fault is None
    assert [packet.data for packet in parsed.packets] == [data for data, _ in sound_of(source)[0]]
    assert verify_file(path).is_sound


def test_sound_does_not_count_as_bits_of_pixels(sources, tiny_tokenizer, tmp_path):
    source, path = sources("a.mkv", [AAC])
    silent = encode_file(source, tmp_path / "b.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=0.6, with_audio=False)
    info = file_info(path)
    pictures = info.num_bytes - info.num_track_bytes
    assert 0 <= pictures - silent.num_bytes < 500  # the description of the track, and the packets' times
    assert info.bits_per_pixel == 8 * pictures / (64 * 48 * 40)
    assert f"{info.num_bytes} bytes with {info.num_track_bytes} of sound" in info.summary()
    stats = file_stats(source, path, tokenizer=tiny_tokenizer)
    assert (stats.num_bytes, stats.bits_per_pixel) == (pictures, info.bits_per_pixel)
    assert silent.bits_per_pixel == 8 * silent.num_bytes / (64 * 48 * 40)


def test_a_container_that_cannot_hold_the_sound_gets_none(sources, decode):
    source, path = sources("a.mkv", [AAC, OPUS], languages=["deu", "eng"])
    out, result = decode(path, "out.webm")
    assert_same_sound(sound_of(out), sound_of(source)[1:], within=0.0005)
    assert result.notices == ["sound dropped: .webm cannot hold the track aac deu; .mkv can"]
    out, result = decode(path, "silent.webm", with_audio=False)
    assert (sound_of(out), result.notices) == ([], [])
    _, path = sources("b.mov", [ULAW])
    assert decode(path, "out.mkv")[1].notices == ["sound dropped: .mkv cannot hold the track pcm_mulaw; .mov can"]


def test_a_codec_that_cannot_be_described_is_dropped(sources, decode, monkeypatch):
    _, path = sources("a.mkv", [AAC])
    monkeypatch.setattr("vtok.media.track_formats._MATROSKA_CODECS", {})
    out, result = decode(path)
    assert sound_of(out) == []
    assert result.notices == [
        "sound dropped: .mp4 cannot hold the track aac; nor can any other container that vtok writes"
    ]


def test_tags_and_chapters_come_back(sources, decode):
    _, path = sources("a.mkv", [AAC], tags=TAGS | {"mood": "calm"}, chapters=CHAPTERS, languages=["fra"])
    info = file_info(path)
    assert {key.lower(): value for key, value in info.tags.items()} == TAGS | {"mood": "calm"}
    assert [(c["start_seconds"], c["end_seconds"], c["tags"]) for c in info.chapters] == [
        (0, 1, {"title": "0"}),
        (1, 2, {"title": "1"}),
    ]
    (track,) = info.audio_tracks
    assert (track["codec"], track["sample_rate"], track["channel_layout"]) == ("aac", 48000, "stereo")
    assert re.search(r"^audio     aac, 48000 Hz, stereo.*, fra$", info.summary(), re.MULTILINE)
    assert re.search(r"^chapter   1.000 s to 2.000 s 1$", info.summary(), re.MULTILINE)
    for name, lost in [("out.mp4", {"mood"}), ("out.mov", {"mood"}), ("out.mkv", set())]:
        out, result = decode(path, name)
        assert result.notices == [f"tags that {out.suffix} cannot hold: MOOD; .mkv can"] * len(lost)
        with av.open(str(out)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
            chapters = container.chapters()
            assert container.streams.audio[0].language in (
                ("fra", "fre") if name != "out.mov" else ("fra", "fre", None)
            )
        assert {key: tags[key] for key in TAGS} == TAGS
        assert [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in chapters] == [(0, 1), (1, 2)]
        assert [c["metadata"]["title"] for c in chapters] == ["0", "1"]
    with VideoReader(decode(path, "out.mp4")[0], sink=PacketQueue()) as reader:
        assert reader.notices == []  # the track that MP4 keeps chapters in is not one that gets lost


def test_chapters_and_sound_move_with_a_video_that_begins_before_zero(sources, decode, tmp_path):
    source, path = sources("a.mp4", [AAC], chapters=CHAPTERS)
    early = tmp_path / "early.vtok"
    with path.open("rb") as file, early.open("wb") as out:
        reader = ContainerReader(file)
        ticks = round(Fraction(1, 2) / reader.header.time_base)
        writer, sound = ContainerWriter(out, reader.header), PacketChunks(reader.header.audio, reader.header.time_base)
        for item in reader.items():
            if isinstance(item, PacketChunk):
                for packet in item.packets:
                    sound.push(packet.moved(Fraction(-1, 2), reader.header.audio))
                writer.write_packets(sound.take())
            else:
                writer.write_group(dataclasses.replace(item, pts=tuple(pts - ticks for pts in item.pts)))
        writer.finish()
    for name in ("out.mp4", "out.mkv"):
        out, result = decode(early, name)
        assert result.notices[0] == "all timestamps moved by 0.5 s, for none may be below zero"
        assert_same_sound(sound_of(out), sound_of(source), within=0.0005)
        with av.open(str(out)) as container:
            times = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in container.chapters()]
        # In MP4 the first chapter begins with the file.
        begin = Fraction(1, 2) if name == "out.mkv" else 0
        assert times == [(begin, Fraction(3, 2)), (Fraction(3, 2), Fraction(5, 2))]
    golden = ROOT / "tests" / "golden" / "sound_and_chapters.vtok"  # with a chapter from long before zero on
    for name in ("out.mp4", "out.mkv"):
        out, _ = decode(golden, name, tokenizer=VideoTokenizer.from_pretrained(WEIGHTS))
        with av.open(str(out)) as container:
            assert [c["start"] * c["time_base"] for c in container.chapters()] == [0, Fraction(12, 100)]


def test_outputs_without_sound_say_so(sources, decode):
    _, path = sources("a.mkv", [AAC])
    for name in ("out.gif", "out.y4m"):
        options = {"codec": None, "codec_options": None}
        assert (
            "sound dropped: the output holds pictures only; .mkv holds sound too"
            in decode(path, name, **options)[1].notices
        )
        assert not any("sound" in notice for notice in decode(path, name, with_audio=False, **options)[1].notices)


def test_parts_take_their_sound_with_them(sources, decode):
    source, path = sources("a.mp4", [AAC, OPUS], chapters=CHAPTERS)
    whole = sound_of(source)
    for start, end in [(0, 0.5), (0.7, None), (0.36, 1.2)]:
        out, result = decode(path, start_seconds=start, end_seconds=end)
        first = Fraction(result.first_frame, 25)
        expected = [
            [(data, time - first) for data, time in track if (not start or time >= first) and (not end or time < end)]
            for track in whole
        ]
        assert_same_sound(sound_of(out), expected, within=2.2e-5)
        with av.open(str(out)) as container:
            (begin, *_), (*_, last) = container.chapters(), container.chapters()
        assert begin["start"] == 0
        assert last["end"] * last["time_base"] == pytest.approx((end or 2) - float(first), abs=1e-3)


def test_cut_and_joined_again_the_sound_is_the_same(sources, decode, tmp_path):
    source, path = sources("a.mp4", [AAC, OPUS], chapters=CHAPTERS)
    cut_file(path, tmp_path / "first.vtok", end_seconds=0.64)
    cut_file(path, tmp_path / "second.vtok", start_seconds=0.64)
    concat_files([tmp_path / "first.vtok", tmp_path / "second.vtok"], tmp_path / "again.vtok")
    assert verify_file(tmp_path / "again.vtok").is_sound
    assert_same_sound(sound_of(decode(tmp_path / "again.vtok")[0]), sound_of(source), within=2.2e-5)
    out, _ = decode(tmp_path / "second.vtok", "second.mp4")
    expected = [
        [(data, time - Fraction("0.64")) for data, time in t if time >= Fraction("0.64")] for t in sound_of(source)
    ]
    assert_same_sound(sound_of(out), expected, within=2.2e-5)
    chapters = file_info(tmp_path / "again.vtok").chapters
    assert [c["end_seconds"] for c in chapters] == [0.64, 1.0, 2.0]


def test_joined_sound_stays_with_the_pictures_of_each(sources, decode, tmp_path):
    source, path = sources("a.mp4", [AAC], seconds=2.5)
    concat_files([path, path, path], tmp_path / "all.vtok")
    (track,), (joined,) = sound_of(source), sound_of(decode(tmp_path / "all.vtok")[0])
    duration = Fraction(40, 25)
    inner = [(data, time) for data, time in track if 0 <= time < duration]
    expected = [(data, time) for data, time in track if time < duration]
    expected += [(data, time + duration) for data, time in inner]
    expected += [(data, time + 2 * duration) for data, time in track if time >= 0]
    assert_same_sound([joined], [expected], within=2.2e-5)


def test_only_sound_that_agrees_is_joined(sources, tmp_path):
    paths = [sources("a.mp4", [AAC])[1], sources("b.mp4", [AAC, OPUS])[1], sources("c.mp4", [])[1]]
    for pair, message in [
        (paths[:2], r"b.vtok: has the audio tracks aac 48000 Hz stereo 1/48000, opus .*, and .*a.vtok has aac"),
        (paths[::2], r"c.vtok: has the audio tracks none, and .*a.vtok has aac .*with_audio=False leaves them out$"),
    ]:
        with pytest.raises(ConfigError, match=message):
            concat_files(pair, tmp_path / "all.vtok", overwrite=True)
        concat_files(pair, tmp_path / "all.vtok", with_audio=False, overwrite=True)
        info = file_info(tmp_path / "all.vtok")
        assert (info.num_frames, info.audio_tracks) == (80, [])
    cut_file(paths[0], tmp_path / "silent.vtok", with_audio=False)
    assert file_info(tmp_path / "silent.vtok").audio_tracks == []
    assert verify_file(tmp_path / "silent.vtok").is_sound


def test_damage_to_sound_costs_no_picture(sources, decode, tiny_tokenizer):
    source, path = sources("a.mkv", [AAC])
    with CompressedVideo(path, tokenizer=tiny_tokenizer) as video:
        pictures = [frame.y.tobytes() for frame in video]
        packets = list(video.index.packets(Span()))
    data = bytearray(path.read_bytes())
    locations = file_info(path).groups
    second = locations[0]["byte_offset"]
    while data[second : second + 4] != b"apkt":
        second += 1
    data[second + 60] ^= 1
    path.write_bytes(data)
    (fault,) = verify_file(path).faults
    assert re.match(
        r"apkt chunk 3 at byte offset \d+ is damaged: sound from \d.\d+ s to \d.\d+ s is lost$", fault["message"]
    )
    with pytest.raises(ChecksumError, match=r"apkt chunk 3 .* is lost\. What is intact can be had with recover=True"):
        decode(path)
    out, result = decode(path, "out.mkv", recover=True)
    assert (result.num_frames, result.num_held_frames, result.faults) == (40, 0, [fault["message"]])
    assert result.incomplete.endswith("and sound is missing")
    (before,), (after,) = sound_of(source), sound_of(out)
    lost = [packet for packet in before if packet not in after]
    assert 0 < len(lost) < len(before)
    assert [packet for packet in before if packet not in lost] == after
    assert [data for data, _ in before] == [packet.data for packet in packets]
    recovered, _ = decode(path, "lossless.mkv", recover=True, codec="ffv1", codec_options={})
    with VideoReader(recovered) as reader:
        assert [frame.y.tobytes() for frame in reader] == pictures
    _, result = decode(path, end_seconds=0.3)  # what is intact can be had as it is
    assert result.num_frames == 8


def test_lost_pictures_leave_the_sound_in_step(sources, decode):
    source, path = sources("a.mkv", [AAC])
    data = bytearray(path.read_bytes())
    data[file_info(path).groups[1]["byte_offset"] + 60] ^= 1
    path.write_bytes(data)
    out, result = decode(path, "out.mkv", recover=True)
    assert (result.num_held_frames, "sound" in result.incomplete) == (16, False)
    assert_same_sound(sound_of(out), sound_of(source), within=0.0005)


def test_sound_whose_time_goes_back_is_moved_forward(sources, decode, tmp_path):
    _, path = sources("a.mp4", [AAC])
    with path.open("rb") as file:
        reader = ContainerReader(file)
        items = list(reader.items())
    with path.open("wb") as file:
        writer = ContainerWriter(file, reader.header)
        sound = PacketChunks(reader.header.audio, reader.header.time_base)
        for item in items:
            if isinstance(item, PacketChunk):
                for packet in item.packets:
                    sound.push(packet._replace(pts=packet.pts - 1500 * (packet.pts >= 4096)))
                writer.write_packets(sound.take())
            else:
                writer.write_group(item)
        writer.finish()
    for name in ("out.mp4", "out.mkv"):
        out, result = decode(path, name)
        (track,) = sound_of(out)
        assert [data for data, _ in track] == [
            packet.data for item in items if isinstance(item, PacketChunk) for packet in item.packets
        ]
        assert all(a <= b for (_, a), (_, b) in pairwise(track))
        assert "timestamps of the sound repeat or go back: moved forward" in result.notices


def test_what_the_command_line_says_of_sound(vtok, tmp_path):
    source = write_video_with_sound(tmp_path / "in.mkv", [AAC], num_frames=8, seconds=0.3)
    assert vtok("encode", source, "a.vtok").err == ""
    assert len(json.loads(vtok("info", "a.vtok", "--json").out)["audio_tracks"]) == 1
    outcome = vtok("decode", "a.vtok", "a.webm", "--codec", "libvpx-vp9")
    assert (outcome.code, outcome.err) == (
        0,
        "vtok: notice: a.vtok: sound dropped: .webm cannot hold the track aac; .mkv can\n",
    )
    assert vtok("decode", "a.vtok", "b.webm", "--codec", "libvpx-vp9", "--no-audio").err == ""
    for arguments in (["encode", source], ["cut", "a.vtok"], ["concat", "a.vtok"]):
        assert vtok(*arguments, "silent.vtok", "--no-audio", "--force").code == 0
        assert file_info("silent.vtok").audio_tracks == []
    assert_failed(vtok("concat", "a.vtok", "silent.vtok", "b.vtok"), "silent.vtok: has the audio tracks none")
    assert "b.vtok" not in in_folder()
    data = bytearray(Path("a.vtok").read_bytes())
    data[data.index(b"apkt") + 80] ^= 1
    Path("a.vtok").write_bytes(data)
    assert vtok("decode", "a.vtok", "c.mp4", "--recover").code == EXIT_INCOMPLETE
