"""Golden files: good ones decode to the same codes for ever, bad ones are refused for what their names say."""

import hashlib
import json
import re
import sys
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from make_golden import FOLDER, GOOD_FILES, MANIFEST, WEIGHTS, main, sha256_of_tokens

from support import independent_reader
from support.commands import assert_failed
from support.containers import as_ours, header_as_theirs, packets_as_ours
from support.golden_faults import BAD_FILES
from support.integer_motion import MotionReference
from vtok import errors
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.recovery import RecoveredVideo
from vtok.container.reader import ContainerReader, PacketChunk, VideoGroup
from vtok.container.verification import verify_file
from vtok.errors import FormatError
from vtok.files.inspection import file_info
from vtok.model.registry import model_with_hash
from vtok.model.tokenizer import VideoTokenizer

GOLDEN = json.loads(MANIFEST.read_text())
SEEN_BY_STRUCTURE = [name for name, bad in GOLDEN["bad"].items() if bad["seen_by"] == "structure"]


@pytest.fixture(scope="module")
def tiny():
    return VideoTokenizer.from_pretrained(WEIGHTS)


def good(name):
    return FOLDER / f"{name}.vtok"


def bad(name):
    return FOLDER / "bad" / f"{name}.vtok"


def read_everything(path, tokenizer):
    """Both ways in which frames are read: from front to back, and by the index."""
    with CompressedVideo(path, tokenizer=tokenizer) as video:
        frames = list(video)
        assert len(list(video.frames())) == len(frames)
    return frames


def test_the_manifest_is_of_the_files_that_are_there():
    assert {path.stem for path in FOLDER.glob("*.vtok")} == set(GOLDEN["good"]) == set(GOOD_FILES)
    assert {path.stem for path in (FOLDER / "bad").iterdir()} == set(GOLDEN["bad"]) == set(BAD_FILES)
    assert GOLDEN["bad"] == {
        name: {"error": bad.error, "message": bad.message, "seen_by": bad.seen_by} for name, bad in BAD_FILES.items()
    }


# -- good files


@pytest.mark.parametrize("name", GOLDEN["good"])
def test_good_files_decode_to_the_codes_that_they_were_made_of(name, tiny):
    expected = GOLDEN["good"][name]
    tokenizer = tiny if expected["model"] else None  # None: the one in the package that the file names
    if name == "pretrained":
        assert model_with_hash(expected["model_sha256"]), (
            "the weights are new: keep the old ones if they were released, else run make_golden.py pretrained --force"
        )
    with CompressedVideo(good(name), tokenizer=tokenizer) as video:
        tokens = sha256_of_tokens(video)
        assert tokens == {name: expected[name] for name in tokens}
        assert video.model.tensors_sha256 == expected["model_sha256"]
        size = (video.info.height, video.info.width)
    frames = read_everything(good(name), tokenizer)
    assert [frame.pts for frame in frames] == expected["pts"]
    assert len(frames) == expected["num_frames"]
    assert all(frame.y.shape == size for frame in frames)


@pytest.mark.parametrize("name", GOLDEN["good"])
def test_both_readers_agree_on_good_files(name):
    parsed = independent_reader.read(good(name).read_bytes())
    with good(name).open("rb") as file:
        reader = ContainerReader(file)
        items = list(reader.items())
        locations = reader.read_index().locations
    unknown = {"later"}
    header = {key: value for key, value in parsed.header.items() if key not in unknown}
    assert parsed.fault is None
    assert header == header_as_theirs(reader.header)
    assert as_ours(parsed.groups) == [item for item in items if isinstance(item, VideoGroup)]
    packets = [packet for item in items if isinstance(item, PacketChunk) for packet in item.packets]
    assert packets_as_ours(parsed.packets) == packets
    assert [packet[:4] for packet in packets] == [tuple(times) for times in GOLDEN["good"][name].get("packets", [])]
    sound = b"".join(packet.data for packet in packets)
    assert hashlib.sha256(sound).hexdigest() == GOLDEN["good"][name].get("sound_sha256", hashlib.sha256().hexdigest())
    assert [pts for group in parsed.groups for pts in group.pts] == GOLDEN["good"][name]["pts"]
    assert parsed.totals == reader.totals
    assert (parsed.index is None) == (name == "no_index")
    assert locations == [(g.sequence, g.offset, g.first_frame, len(g.pts)) for g in parsed.groups]


@pytest.mark.parametrize("name", GOLDEN["good"])
def test_the_second_reader_finds_the_motion(name):
    """In plain integers: vectors of all latent frames, from the specification alone."""
    parsed, digest = independent_reader.read(good(name).read_bytes()), hashlib.sha256()
    height, width = parsed.header["height"], parsed.header["width"]
    for group in parsed.groups:
        motion, _ = independent_reader.read_coded(group.coded)
        reference = MotionReference(motion, height, width)
        for _ in range(group.num_latent_frames):
            fields = reference.pull()
            blocks = sorted(fields[0])
            vectors = [[[field[block][axis] for block in blocks] for axis in (0, 1)] for field in fields]
            digest.update(np.array(vectors, "<i2").tobytes())
    assert digest.hexdigest() == GOLDEN["good"][name]["motion_sha256"]


@pytest.mark.parametrize("name", GOLDEN["good"])
def test_good_files_have_no_fault(name):
    result = verify_file(good(name))
    assert (result.is_sound, result.faults) == (True, [])
    assert result.num_intact_frames == result.num_frames == GOLDEN["good"][name]["num_frames"]
    info = file_info(good(name))
    assert info.is_complete
    assert info.num_frames == result.num_frames


@pytest.mark.parametrize("name", sorted(set(GOLDEN["good"]) - {"pretrained"}))
def test_recovery_of_a_good_file_is_the_file(name, tiny):
    with RecoveredVideo(good(name), tokenizer=tiny) as video:
        assert [frame.pts for frame in video] == GOLDEN["good"][name]["pts"]
        assert (video.faults, video.num_held_frames) == ([], 0)


# -- bad files


@pytest.mark.parametrize("name", GOLDEN["bad"])
def test_bad_files_are_refused_for_what_their_names_say(name, tiny):
    expected = GOLDEN["bad"][name]
    with pytest.raises(errors.VtokError) as caught:
        read_everything(bad(name), tiny)
    message = str(caught.value)
    assert type(caught.value).__name__ == expected["error"], message
    assert re.search(expected["message"], message), message
    assert message.startswith(str(bad(name)))
    assert "\n" not in message


@pytest.mark.parametrize("name", SEEN_BY_STRUCTURE)
def test_the_second_reader_refuses_what_breaks_the_specification(name):
    with suppress(ValueError, LookupError, RecursionError):  # not even the header can be read
        assert independent_reader.read(bad(name).read_bytes()).fault


@pytest.mark.parametrize("name", GOLDEN["bad"])
def test_verification_without_the_model(name):
    try:
        is_sound = verify_file(bad(name)).is_sound
    except FormatError:
        is_sound = False
    assert is_sound == (GOLDEN["bad"][name]["seen_by"] == "decoder")
    with suppress(FormatError):
        file_info(bad(name)).summary()


@pytest.mark.parametrize("name", ["empty", "needs_newer_reader", "payload_crc_wrong", "latent_frames_wrong"])
def test_commands_refuse_bad_files(name, vtok):
    outcome = vtok("verify", bad(name))
    assert outcome.code == 1
    assert re.search(f"vtok: (fault|error): .*{GOLDEN['bad'][name]['message']}", outcome.err)
    assert "Traceback" not in outcome.err
    assert_failed(vtok("cut", bad(name), "cut.vtok"), re.escape(str(bad(name))))


def test_there_is_a_bad_file_for_every_kind_of_format_error():
    counts = Counter(bad["error"] for bad in GOLDEN["bad"].values())
    assert set(counts) == {
        *(error.__name__ for error in FormatError.__subclasses__()),
        "FormatError",
        "ModelMismatchError",
    }


def test_existing_files_are_not_made_again(monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*")}
    monkeypatch.setattr(sys, "argv", ["make_golden.py", "one_group", "empty"])
    with pytest.raises(SystemExit, match="one_group, empty: exists already"):
        main()
    assert {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*")} == before
