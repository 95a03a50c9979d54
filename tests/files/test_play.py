"""Files that are played: what a player gets, and what happens when there is none, it fails, or it is closed."""

import io
import json
import stat
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import vtok
from support.commands import assert_failed
from support.sources import make_frames, write_source
from support.videos import subtitles_of, write_video_with_sound, write_video_with_subtitles
from vtok.files.encode import encode_file
from vtok.media.player import player_command
from vtok.video.frame import VideoInfo

INFO = VideoInfo(width=64, height=48, time_base=Fraction(1, 25))


@pytest.fixture
def player(tmp_path, monkeypatch):
    """Makes a player that runs some lines of Python, the only one on the PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(lines, name="ffplay"):
        program = folder / name
        program.write_text(f"#!{sys.executable}\nimport json, sys\nfrom pathlib import Path\n{lines}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    return make


KEEPS = """
Path("played.mkv").write_bytes(sys.stdin.buffer.read())
Path("arguments.json").write_text(json.dumps(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("play")
    source = write_video_with_sound(folder / "in.mp4", [("aac", 48000, "stereo")])
    encode_file(source, folder / "a.vtok", keyframe_seconds=0.5)
    return folder / "a.vtok"


def played():
    with av.open("played.mkv") as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("rawvideo", "yuv420p")
        frames, sound = [], []
        for packet in container.demux():
            if packet.stream is video:
                frames += [(float(frame.time), frame) for frame in packet.decode()]
            elif packet.size:
                sound.append(bytes(packet))
        begin = frames[0][0]
        return [(time - begin, picture) for time, picture in frames], sound


def test_the_player_gets_what_is_decoded_with_sound(file, player, vtok):
    player(KEEPS)
    assert vtok("play", file) == (0, "", "")
    assert vtok("decode", file, "a.mkv", "--codec", "ffv1", "--quiet").code == 0
    frames, sound = played()
    with av.open("a.mkv") as container:
        decoded = [frame.to_ndarray() for frame in container.decode(video=0)]
    with av.open("a.mkv") as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert [time for time, _ in frames] == pytest.approx([t / 25 for t in range(40)], abs=2e-3)
    assert all(np.array_equal(a.to_ndarray(), b) for (_, a), b in zip(frames, decoded, strict=True))
    assert sound == packets
    arguments = json.loads(Path("arguments.json").read_text())
    assert arguments[-2:] == ["-i", "-"]
    assert arguments[arguments.index("-window_title") + 1] == str(file)


def test_a_part_and_without_sound(file, player, vtok):
    player(KEEPS, "mpv")
    assert vtok("play", file, "--start", "0:01", "--no-audio").code == 0
    frames, sound = played()
    assert ([time for time, _ in frames], sound) == (pytest.approx([t / 25 for t in range(15)], abs=2e-3), [])
    assert json.loads(Path("arguments.json").read_text())[-1] == "-"


def test_the_player_gets_subtitles_too(player, vtok, tmp_path):
    cues = [(100, 300, b"one"), (900, 300, b"two")]
    write_video_with_subtitles(tmp_path / "in.mkv", [("subrip", cues)])
    assert vtok("encode", "in.mkv", "a.vtok").code == 0
    player(KEEPS)
    assert vtok("play", "a.vtok") == (0, "", "")
    assert played()[1] == [b"one", b"two"]
    assert [(float(begin), data) for begin, _, data in subtitles_of("played.mkv")[0][3]] == [
        (0.1, b"one"),
        (0.9, b"two"),
    ]
    assert vtok("play", "a.vtok", "--no-subtitles") == (0, "", "")
    assert played()[1] == []
    assert subtitles_of("played.mkv") == []


def test_standard_input_is_played(file, player, vtok, monkeypatch):
    player(KEEPS)
    with file.open("rb") as data:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
        assert vtok("play", "-") == (0, "", "")
    assert len(played()[0]) == 40


@pytest.mark.parametrize("lines", ["", "sys.stdin.buffer.read(100_000)"])
def test_a_player_may_be_closed_at_any_time(lines, file, player, vtok):
    player(lines)
    assert vtok("play", file) == (0, "", "")


def test_python_is_told_whether_all_was_played(file, player):
    player("sys.stdin.buffer.read()")
    whole = vtok.play_file(file)
    assert (whole.num_frames, whole.is_complete, whole.notices) == (40, True, [])
    player("sys.stdin.buffer.read(50_000)")
    part = vtok.play_file(file.read_bytes(), start_seconds=0.2)
    assert part.num_frames < 35
    assert not part.is_complete
    assert part.source == "<bytes>"


def test_without_a_player_one_line_says_how_to_get_one(file, player, vtok):
    assert_failed(vtok("play", file), "no player found: ffplay or mpv is needed. Install FFmpeg")


def test_a_player_that_fails_is_told_in_its_words(file, player, vtok):
    program = player("sys.exit('Could not initialize SDL - No available video device\\nmore')")
    assert_failed(vtok("play", file), f"{program}: Could not initialize SDL - No available video device")
    player("sys.exit(3)")
    assert_failed(vtok("play", file), f"{program}: ended with code 3")
    player(KEEPS)
    assert_failed(vtok("play", file, "--start", "9"), ".*no frame begins from 9 s to the end")


def test_ctrl_c_ends_the_player_too(file, player, tmp_path, monkeypatch):
    player("Path('pid').write_text(str(__import__('os').getpid()))\n__import__('time').sleep(60)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vtok.files.play.PlayerWriter.write", interrupt, raising=True)
    with pytest.raises(KeyboardInterrupt):
        vtok.play_file(file)
    process = (tmp_path / "pid").read_text()
    assert subprocess.run(["/bin/kill", "-0", process], capture_output=True).returncode


def interrupt(self, frame):
    while not Path("pid").exists():
        time.sleep(0.01)
    raise KeyboardInterrupt


def test_odd_sizes_and_uneven_times_are_played(player, tmp_path, tiny_tokenizer, monkeypatch):
    player(KEEPS)
    monkeypatch.chdir(tmp_path)
    frames = make_frames(5, 15, 17, pts=[0, 3, 4, 9, 11])
    encode_file(write_source(tmp_path / "in.mkv", frames), tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
    vtok.play_file(tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
    shown, _ = played()
    assert (shown[0][1].width, shown[0][1].height) == (17, 15)
    assert [time for time, _ in shown] == pytest.approx([pts / 25 for pts in (0, 3, 4, 9, 11)], abs=2e-3)


def test_players_are_told_the_shape_of_pixels(player):
    player("")
    stretched = VideoInfo(width=64, height=48, time_base=Fraction(1, 25), sample_aspect_ratio=Fraction(4, 3))
    assert "setsar=4/3" in player_command("a", stretched)
    assert "-vf" not in player_command("a", INFO)
    player("", "ffplay").unlink()
    player("", "mpv")
    assert "--video-aspect-override=256:144" in player_command("a", stretched)
