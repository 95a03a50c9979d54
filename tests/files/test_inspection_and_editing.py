"""Files described, verified, cut and joined without the model."""

import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from support.commands import assert_failed, documented_attributes, in_folder
from support.sources import make_frames, write_source
from vtok.codec.compressed_video import CompressedVideo
from vtok.container.reader import ContainerReader
from vtok.container.verification import Verification, verify_file
from vtok.errors import ChecksumError, ConfigError, FormatError, MediaError, TruncatedError
from vtok.files.concat import concat_files
from vtok.files.cut import cut_file
from vtok.files.edited_file import EditResult
from vtok.files.encode import encode_file
from vtok.files.inspection import FileInfo, file_info


@pytest.fixture
def encode(tiny_tokenizer, tmp_path):
    def run(name, num_frames, *, rate=Fraction(25), seed=0, size=(24, 40), quality=5, step=1, first_pts=0):
        frames = make_frames(num_frames, *size, seed=seed, pts=[first_pts + step * t for t in range(num_frames)])
        source = write_source(tmp_path / f"{name}.mp4", frames, time_base=1 / rate / step, average_rate=rate)
        path = tmp_path / f"{name}.vtok"
        encode_file(source, path, tokenizer=tiny_tokenizer, keyframe_seconds=0.6, quality=quality, overwrite=True)
        return path

    return run


def groups_of(path):
    with path.open("rb") as file:
        return list(ContainerReader(file))


def timestamps(path):
    with path.open("rb") as file:
        reader = ContainerReader(file)
        return [reader.header.time_base * pts for group in reader for pts in group.pts]


def decoded(path, tokenizer):
    with CompressedVideo(path, tokenizer=tokenizer) as video:
        return [frame.y for frame in video]


# -- info and verify


def test_what_a_file_says_of_itself(encode):
    path = encode("a", 40)
    info = file_info(path)
    assert (info.num_frames, info.num_latent_frames, info.codes_per_latent_frame) == (40, 5, 12 * 3 * 5)
    assert (info.width, info.height, info.quality, info.average_rate, info.is_complete) == (40, 24, 5, "25", True)
    assert info.num_bytes == path.stat().st_size
    assert info.duration_seconds == pytest.approx(1.6)
    assert info.bits_per_pixel == pytest.approx(8 * info.num_bytes / (24 * 40 * 40))
    assert info.kbit_per_second == pytest.approx(8e-3 * info.num_bytes / 1.6)
    assert (info.model_name, info.has_model) == ("tiny", False)
    assert [(group["first_frame"], group["num_frames"]) for group in info.groups] == [(0, 16), (16, 16), (32, 8)]
    assert "not at hand" in info.summary()


def test_a_file_that_was_cut_off_is_described_as_far_as_it_goes(encode):
    path = encode("a", 40)
    path.write_bytes(path.read_bytes()[:-60])
    info = file_info(path)
    assert not info.is_complete
    assert info.num_frames == 40
    assert "cut off" in info.summary()
    path.write_bytes(path.read_bytes()[: info.groups[0]["byte_offset"]])
    info = file_info(path)
    assert (info.num_frames, info.duration_seconds, info.bits_per_pixel) == (0, None, None)
    info.summary()


def test_verification_lists_all_faults(encode):
    path = encode("a", 40)
    assert verify_file(path) == Verification(
        path=str(path),
        num_bytes=path.stat().st_size,
        is_sound=True,
        num_frames=40,
        num_intact_frames=40,
        faults=[],
    )
    data, offsets = bytearray(path.read_bytes()), [group["byte_offset"] for group in file_info(path).groups]
    for offset in (offsets[0], offsets[2]):
        data[offset + 60] ^= 1
    path.write_bytes(data)
    result = verify_file(path)
    assert (result.is_sound, result.num_frames, result.num_intact_frames) == (False, 40, 16)
    assert [fault["byte_offset"] for fault in result.faults] == [offsets[0], offsets[2]]
    for function in (file_info, verify_file):
        path.write_bytes(b"text")
        with pytest.raises(FormatError, match=r"a.vtok: not a .vtok file"):
            function(path)
        with pytest.raises(MediaError, match="missing: cannot be opened"):
            function("missing")


def test_commands_for_files_as_they_are(vtok, made):
    good, bad = made / "good.vtok", made / "flipped_bit.vtok"
    outcome = vtok("info", good)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"64x48, 24 frames, 25 frames/s, 0\.960 s", outcome.out)
    assert "(at hand)" in outcome.out
    assert list(json.loads(vtok("info", good, "--json").out)) == documented_attributes(FileInfo)
    size = good.stat().st_size
    assert vtok("verify", good) == (0, f"{good}: sound, 24 frames, {size} bytes\n", "")
    assert list(json.loads(vtok("verify", good, "--json").out)) == documented_attributes(Verification)
    outcome = vtok("verify", bad)
    assert (outcome.code, outcome.out) == (1, f"{bad}: 16 of 24 frames are intact\n")
    assert all(line.startswith(f"vtok: fault: {bad}: ") for line in outcome.err.splitlines())
    assert "frames 8 to 15 are lost\n" in outcome.err
    assert vtok("verify", bad, "--quiet") == (1, "", "")
    assert json.loads(vtok("verify", bad, "--json", "--quiet").out)["faults"]
    assert_failed(vtok("verify", made / "text"), f"{made / 'text'}: not a .vtok file")


def test_neither_needs_torch():
    program = (
        "import sys, vtok.files.inspection, vtok.files.cut, vtok.files.concat, vtok.video.times; "
        "print({'torch', 'numpy', 'av'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"


# -- cut and concat


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [
        (0, None, (0, 3)),
        (0, 0.6, (0, 1)),
        (0.64, 1.28, (1, 2)),
        (0.7, 1.3, (1, 3)),
        (1.55, 9, (2, 3)),
        (0, 0.01, (0, 1)),
    ],
)
def test_a_cut_copies_whole_groups(start, end, kept, encode, tmp_path):
    path = encode("a", 40, first_pts=7)
    result = cut_file(path, tmp_path / "cut.vtok", start_seconds=start, end_seconds=end)
    groups, cut = groups_of(path)[slice(*kept)], groups_of(tmp_path / "cut.vtok")
    assert [(g.coded, g.tokens_crc32, g.num_frames) for g in cut] == [
        (g.coded, g.tokens_crc32, g.num_frames) for g in groups
    ]
    num_frames = sum(group.num_frames for group in groups)
    assert timestamps(tmp_path / "cut.vtok") == [Fraction(7 + t, 25) for t in range(num_frames)]
    assert result == EditResult(
        sources=[str(path)],
        target=str(tmp_path / "cut.vtok"),
        num_frames=num_frames,
        num_groups=len(groups),
        num_bytes=(tmp_path / "cut.vtok").stat().st_size,
        start_seconds=kept[0] * 0.64,
        duration_seconds=pytest.approx(num_frames / 25),
    )
    assert verify_file(tmp_path / "cut.vtok").is_sound


def test_nothing_to_cut(encode, tmp_path):
    path = encode("a", 40)
    for start, end in [(1.6, None), (100, None), (0, 0)]:
        with pytest.raises(ConfigError, match=r"a.vtok: no frame begins in that range"):
            cut_file(path, tmp_path / "cut.vtok", start_seconds=start, end_seconds=end)
    assert not (tmp_path / "cut.vtok").exists()


def test_joined_files_decode_to_the_pictures_of_each(encode, tiny_tokenizer, tmp_path):
    paths = [encode("a", 20), encode("b", 40, seed=1), encode("c", 9, seed=2, rate=Fraction(30), step=3)]
    result = concat_files(paths, tmp_path / "all.vtok")
    assert (result.num_frames, result.num_groups) == (69, 6)
    groups = groups_of(tmp_path / "all.vtok")
    assert [group.coded for group in groups] == [group.coded for path in paths for group in groups_of(path)]
    expected = [Fraction(t, 25) for t in range(60)] + [Fraction(60, 25) + Fraction(t, 30) for t in range(9)]
    assert timestamps(tmp_path / "all.vtok") == expected
    assert np.array_equal(
        decoded(tmp_path / "all.vtok", tiny_tokenizer),
        [picture for path in paths for picture in decoded(path, tiny_tokenizer)],
    )
    assert verify_file(tmp_path / "all.vtok").is_sound
    with (tmp_path / "all.vtok").open("rb") as file:
        header = ContainerReader(file).header
    assert (header.time_base, header.average_rate) == (Fraction(1, 450), None)


def test_cuts_joined_again_are_the_whole(encode, tmp_path):
    path = encode("a", 40)
    cut_file(path, tmp_path / "first.vtok", end_seconds=0.64)
    cut_file(path, tmp_path / "second.vtok", start_seconds=0.64)
    concat_files([tmp_path / "first.vtok", tmp_path / "second.vtok"], tmp_path / "again.vtok")
    assert timestamps(tmp_path / "again.vtok") == timestamps(path)
    assert [group.coded for group in groups_of(tmp_path / "again.vtok")] == [group.coded for group in groups_of(path)]


@pytest.mark.parametrize(("change", "name"), [({"size": (24, 48)}, "width"), ({"size": (32, 40)}, "height")])
def test_files_that_differ_are_not_joined(change, name, encode, tmp_path):
    paths = [encode("a", 8), encode("b", 8, **change)]
    with pytest.raises(ConfigError, match=rf"b.vtok: has {name} \d+.*, and .*a.vtok has \d+.*Only files that agree"):
        concat_files(paths, tmp_path / "all.vtok")
    assert not (tmp_path / "all.vtok").exists()


def test_files_of_several_qualities_are_joined(encode, tiny_tokenizer, tmp_path):
    paths = [encode("a", 16, quality=2), encode("b", 24, seed=1, quality=8.5), encode("c", 8, seed=2)]
    concat_files(paths, tmp_path / "all.vtok")
    info = file_info(tmp_path / "all.vtok")
    assert [group["quality"] for group in info.groups] == [2, 8.5, 8.5, 5]
    assert info.quality == pytest.approx((16 * 2 + 24 * 8.5 + 8 * 5) / 48)
    assert "quality 2 to 8.5, " in info.summary()
    whole = decoded(tmp_path / "all.vtok", tiny_tokenizer)
    np.testing.assert_array_equal(whole, [y for path in paths for y in decoded(path, tiny_tokenizer)])
    with CompressedVideo(tmp_path / "all.vtok", tokenizer=tiny_tokenizer) as video:
        for start, stop in ((14, 18), (30, 31), (35, 45)):
            np.testing.assert_array_equal([frame.y for frame in video.frames(start, stop)], whole[start:stop])
    cut_file(tmp_path / "all.vtok", tmp_path / "part.vtok", start_seconds=0.7, end_seconds=1.7)
    assert [group["quality"] for group in file_info(tmp_path / "part.vtok").groups] == [8.5, 8.5, 5]


def test_the_qualities_are_not_known_if_a_group_is_damaged(encode):
    path = encode("a", 40)
    data = bytearray(path.read_bytes())
    data[file_info(path).groups[1]["byte_offset"] + 30] ^= 1
    path.write_bytes(data)
    info = file_info(path)
    assert info.quality is None
    assert not any("quality" in group for group in info.groups)
    assert "quality" not in info.summary()


def test_damage_leaves_nothing_behind(encode, tmp_path):
    path = encode("a", 40)
    data = bytearray(path.read_bytes())
    data[file_info(path).groups[1]["byte_offset"] + 70] ^= 1
    path.write_bytes(data)
    before = sorted(tmp_path.iterdir())
    for edit in (cut_file, lambda source, target: concat_files([source], target)):
        with pytest.raises(ChecksumError, match=r"a.vtok: VGRP chunk 2 .* are lost\. .* decoded with recover=True$"):
            edit(path, tmp_path / "out.vtok")
        assert sorted(tmp_path.iterdir()) == before
    cut_file(path, tmp_path / "out.vtok", end_seconds=0.5)  # what is intact can be cut out


@pytest.mark.parametrize(
    "damage", ["a chunk is missing", "the header is damaged", "it ends in a group", "no vtok file"]
)
def test_every_damage_names_the_way_out(damage, encode, tmp_path):
    path = encode("a", 40)
    data, groups = path.read_bytes(), [group["byte_offset"] for group in file_info(path).groups]
    path.write_bytes(
        {
            "a chunk is missing": data[: groups[0]] + data[groups[1] :],
            "the header is damaged": data[:50] + b"?" + data[51:],
            "it ends in a group": data[: groups[0] + 40],
            "no vtok file": b"x" + data,
        }[damage]
    )
    for edit in (cut_file, lambda source, target: concat_files([source], target)):
        with pytest.raises(FormatError, match=r"^\S+a.vtok: ") as caught:
            edit(path, tmp_path / "out.vtok")
        assert str(caught.value).count("recover=True") == (damage != "no vtok file")
    assert not (tmp_path / "out.vtok").exists()


@pytest.mark.parametrize("num_bytes", [1, 60, 200])
def test_a_file_that_was_cut_off_is_not_made_a_whole_one(num_bytes, encode, tmp_path):
    path = encode("a", 40)
    path.write_bytes(path.read_bytes()[:-num_bytes])
    (*_, last) = file_info(path).groups
    end = last["first_frame"] / 25
    message = rf"a.vtok: the file was cut off: parts that end at {end:g} s or earlier .* with recover=True$"
    for arguments in ({}, {"end_seconds": 1.6}, {"start_seconds": end}):
        with pytest.raises(TruncatedError, match=message):
            cut_file(path, tmp_path / "out.vtok", **arguments)
    with pytest.raises(TruncatedError):
        concat_files([path], tmp_path / "out.vtok")
    assert not (tmp_path / "out.vtok").exists()
    cut_file(path, tmp_path / "out.vtok", end_seconds=end)
    assert verify_file(tmp_path / "out.vtok").num_frames == last["first_frame"]


def test_commands_that_edit(vtok, made):
    good = made / "good.vtok"
    outcome = vtok("cut", good, "part.vtok", "--start", "0.4")
    size = Path("part.vtok").stat().st_size
    assert outcome == (0, f"part.vtok: 16 frames from 0.320 s on, 0.640 s, {size} bytes\n", "")
    outcome = vtok("concat", "part.vtok", good, "part.vtok", "all.vtok", "--json")
    result = json.loads(outcome.out)
    assert list(result) == documented_attributes(EditResult)
    assert (result["num_frames"], result["sources"]) == (56, ["part.vtok", str(good), "part.vtok"])
    assert vtok("decode", "all.vtok", "all.mp4").code == 0
    assert_failed(vtok("cut", good, "part.vtok"), "part.vtok: exists already")
    assert_failed(vtok("concat", "part.vtok", "part.vtok", "--force"), "part.vtok: is the input too")
    assert_failed(vtok("concat", "part.vtok"), "no files to join")
    assert_failed(vtok("cut", good, "part.mp4"), "part.mp4: unknown suffix '.mp4'")
    assert in_folder() == ["all.mp4", "all.vtok", "part.vtok"]
