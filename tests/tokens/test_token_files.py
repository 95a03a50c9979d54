"""Tokens out of `.vtok` files and back: `.npz` and tar shards, and what is said of arrays that are wrong."""

import errno
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support.coded_files import random_codes, random_motions, write_codes
from support.motions import random_motion
from vtok import TokenDataset
from vtok.cli.app import app
from vtok.codec.chunk_coder import ChunkDecoder
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.token_reader import TokenReader
from vtok.errors import ConfigError, MediaError, ModelMismatchError, TruncatedError, VtokError
from vtok.files.concat import concat_files
from vtok.files.decode import decode_file
from vtok.tokens.npz_export import export_npz
from vtok.tokens.npz_import import import_npz
from vtok.tokens.shards import export_shards

CODES = random_codes(5)
PTS = [40 * t + 13 * (t % 3) + 100 for t in range(37)]


@pytest.fixture
def path(tiny_tokenizer, tmp_path):
    return write_codes(tmp_path / "a.vtok", tiny_tokenizer, CODES, pts=PTS, num_missing=3)


@pytest.fixture
def generated(tiny_tokenizer):
    """What a generative model gives."""
    return {
        "codes": CODES,
        "width": 37,
        "height": 24,
        "quality": 5,
        "model_name": tiny_tokenizer.name,
        "model_sha256": tiny_tokenizer.weights_sha256,
        "fps": 25,
    }


def frames_of(path, tokenizer):
    with CompressedVideo(path, tokenizer=tokenizer) as video:
        return [(frame.pts, frame.y.tobytes(), frame.u.tobytes(), frame.v.tobytes()) for frame in video]


def test_an_archive_has_everything(path, tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(ChunkDecoder, "decode", None)
    result = export_npz(path, tmp_path / "a.npz", tokenizer=tiny_tokenizer)
    assert (result.num_latent_frames, result.num_frames) == (5, 37)
    assert result.num_bytes == (tmp_path / "a.npz").stat().st_size
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["codes"], CODES)
        np.testing.assert_array_equal(arrays["motion"], [motion.fields for motion in random_motions(5)])
        assert arrays["motion"].dtype == np.int16
        assert arrays["starts_group"].tolist() == [True, False, True, False, True]
        assert arrays["pts"].tolist() == PTS
        assert arrays["frames_of_latent"].tolist() == [8, 8, 8, 8, 5]
        assert (int(arrays["width"]), int(arrays["height"]), set(arrays["quality"])) == (37, 24, {5})
        assert (str(arrays["model_name"]), str(arrays["model_sha256"])) == ("tiny", "0" * 64)
        assert arrays["time_base"].tolist() == [1, 1000]


def test_exported_and_imported_it_is_the_same_video(path, tiny_tokenizer, tmp_path):
    two = tmp_path / "two.vtok"  # a short latent frame in the middle, and networks that begin anew
    concat_files([path, path], two)
    export_npz(two, tmp_path / "two.npz", tokenizer=tiny_tokenizer)
    import_npz(tmp_path / "two.npz", tmp_path / "again.vtok", tokenizer=tiny_tokenizer)
    assert frames_of(tmp_path / "again.vtok", tiny_tokenizer) == frames_of(two, tiny_tokenizer)
    again, before = (TokenReader(p, tokenizer=tiny_tokenizer) for p in (tmp_path / "again.vtok", two))
    assert (again.header, again.last_frame_ticks) == (before.header, before.last_frame_ticks)
    assert (tmp_path / "again.vtok").read_bytes() == two.read_bytes()


def test_groups_begin_without_the_field_that_leads_to_the_one_before(generated, tiny_tokenizer, tmp_path):
    generated["motion"] = np.stack([random_motion(24, 37, seed=t).fields for t in range(5)])
    generated["starts_group"] = np.array([True, False, False, True, False])
    np.savez(tmp_path / "g.npz", **generated)
    import_npz(tmp_path / "g.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer)
    tokens = TokenReader(tmp_path / "g.vtok", tokenizer=tiny_tokenizer)
    assert [len(tokens.group(place).tokens) for place in range(tokens.num_groups)] == [3, 2]
    expected = generated["motion"].copy()
    assert expected[[0, 3], -1].any()
    expected[[0, 3], -1] = 0
    np.testing.assert_array_equal(tokens.motion, expected)


def test_a_group_has_at_most_32_latent_frames(generated, tiny_tokenizer, tmp_path):
    starts = np.zeros(40, bool)
    np.savez(tmp_path / "g.npz", **(generated | {"codes": random_codes(40), "starts_group": starts}))
    with pytest.raises(ConfigError, match="starts_group is false for more than 31 latent frames after latent frame 0"):
        import_npz(tmp_path / "g.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer)


def test_qualities_may_change_within_a_file(generated, tiny_tokenizer, tmp_path):
    np.savez(tmp_path / "g.npz", **generated | {"quality": [2.0, 7.3, 7.3, 7.3, 9.0]})
    import_npz(tmp_path / "g.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=0.6)
    tokens = TokenReader(tmp_path / "g.vtok", tokenizer=tiny_tokenizer)
    stored = [2, 7.30078125, 7.30078125, 7.30078125, 9]
    assert [tokens.quality_of(i) for i in range(5)] == stored
    assert tokens.num_groups == 4, "a new one where the quality changes, and after two latent frames"
    np.testing.assert_array_equal(tokens[:], CODES)
    export_npz(tmp_path / "g.vtok", tmp_path / "again.npz", tokenizer=tiny_tokenizer)
    with np.load(tmp_path / "again.npz") as arrays:
        assert arrays["quality"].tolist() == stored
    import_npz(tmp_path / "again.npz", tmp_path / "again.vtok", tokenizer=tiny_tokenizer)
    assert frames_of(tmp_path / "again.vtok", tiny_tokenizer) == frames_of(tmp_path / "g.vtok", tiny_tokenizer)
    dataset = TokenDataset(tmp_path / "g.vtok", num_latents=3, tokenizer=tiny_tokenizer)
    assert dataset[0]["quality"].tolist() == stored[:3]


def test_what_a_model_generates_becomes_a_video(generated, tiny_tokenizer, tmp_path):
    np.savez(tmp_path / "g.npz", **generated)
    result = import_npz(tmp_path / "g.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=0.6)
    assert (result.num_latent_frames, result.num_frames) == (5, 40)
    tokens = TokenReader(tmp_path / "g.vtok", tokenizer=tiny_tokenizer)
    np.testing.assert_array_equal(tokens[:], CODES)
    assert tokens.num_groups == 3
    assert tokens.pts_seconds(4) == pytest.approx(32 / 25)
    assert decode_file(tmp_path / "g.vtok", tmp_path / "g.mp4", tokenizer=tiny_tokenizer).num_frames == 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": None}, "there is no array codes"),
        ({"codes": CODES.astype(np.int64)}, r"codes is int64 \[5, 12, 3, 5\]: must be uint8 \[T, n, H, W\]"),
        ({"codes": CODES[0]}, r"codes is uint8 \[12, 3, 5\]: must be"),
        ({"codes": CODES[:0]}, r"codes is uint8 \[0, 12, 3, 5\]: must be"),
        ({"codes": np.asfortranarray(CODES)}, r"save numpy.ascontiguousarray\(codes\)"),
        ({"codes": CODES[:, :11]}, "11 codebooks"),
        ({"width": 33 + 8}, r"H and W of 41x24 pixels must be \(3, 6\)"),
        ({"width": 37.5}, "width is float64 .*: must be whole numbers"),
        ({"height": 0}, "height is 0"),
        ({"quality": 10}, "quality is 10 for latent frame 0: must be 1 to 9"),
        ({"quality": [5.0, 5.0, 5.0]}, r"quality is float64 \[3\]: must be one finite number, or 5"),
        ({"quality": np.nan}, "quality is float64 .*: must be one finite number"),
        ({"model_name": 7}, "model_name is int64 .*: must be one text"),
        ({"model_sha256": "1" * 64}, "was written with tiny 1111"),
        ({"model_sha256": "x"}, "model_sha256 is 'x'"),
        ({"fps": None}, "there is no array time_base"),
        ({"fps": 0}, "fps is 0: must be above 0"),
        ({"pts": PTS}, "fps and pts"),
        ({"fps": None, "time_base": [1, 0], "pts": PTS}, r"time_base is \[1, 0\]: must be above 0"),
        ({"fps": None, "time_base": [1, 25], "pts": PTS[:32]}, "pts has 32 entries for 5 latent frames"),
        ({"fps": None, "time_base": [1, 25], "pts": PTS[:10] + PTS[:27]}, "pts do not rise"),
        ({"fps": None, "time_base": [1, 25], "pts": np.array(PTS, float)}, "pts is float64 .* numbers .any length"),
        ({"frames_of_latent": [8, 8, 8, 8]}, r"frames_of_latent is int64 \[4\]: must be whole numbers \[5\]"),
        ({"frames_of_latent": [8, 8, 8, 8, 9]}, "must be 1 to 8"),
        ({"motion": np.zeros((5, 8, 2, 2, 3))}, r"motion is float64 .* must be int16 \[5, 8, 2, 2, 3\]"),
        (
            {"motion": np.full((5, 8, 2, 2, 3), 1024, np.int16)},
            "motion is from 1024 to 1024: must be -1023 to 1023",
        ),
        ({"starts_group": np.array([None] * 5)}, "starts_group is object"),
    ],
)
def test_a_wrong_array_gets_one_line(changes, message, generated, tiny_tokenizer, tmp_path):
    arrays = {name: value for name, value in (generated | changes).items() if value is not None}
    np.savez(tmp_path / "g.npz", **arrays)
    with pytest.raises(VtokError, match=message) as caught:
        import_npz(tmp_path / "g.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer)
    assert str(caught.value).startswith(f"{tmp_path / 'g.npz'}: ")
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["g.npz"]


@pytest.mark.parametrize(
    ("num_latents", "message"), [(6, "fewer bytes are there"), (10**15, "T must be 8388608 at most")]
)
def test_no_memory_is_taken_for_codes_that_are_not_there(num_latents, message, generated, tiny_tokenizer, tmp_path):
    np.savez(tmp_path / "g.npz", **{name: value for name, value in generated.items() if name != "codes"})
    with zipfile.ZipFile(tmp_path / "g.npz", "a") as archive, archive.open("codes.npy", "w") as member:
        shape = (num_latents, *CODES.shape[1:])
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
        member.write(CODES.tobytes())
    with pytest.raises(ConfigError, match=message):
        import_npz(tmp_path / "g.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer)


def test_what_is_no_archive_gets_one_line(generated, tiny_tokenizer, tmp_path):
    np.savez_compressed(tmp_path / "g.npz", **generated)
    whole = (tmp_path / "g.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[200:400] = bytes(200)
    for data in (b"", b"no archive", whole[:-30], bytes(flipped)):
        (tmp_path / "g.npz").write_bytes(data)
        with pytest.raises(MediaError, match=r"g.npz: not a readable .npz archive: .+") as caught:
            import_npz(tmp_path / "g.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer)
        assert "\n" not in str(caught.value)
        assert [file.name for file in tmp_path.iterdir()] == ["g.npz"]
    with pytest.raises(MediaError, match=r"none.npz: .*No such file"):
        import_npz(tmp_path / "none.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer)


def test_outputs_are_not_overwritten_unasked(path, generated, tiny_tokenizer, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"")
    with pytest.raises(ConfigError, match="exists already"):
        export_npz(path, tmp_path / "a.npz", tokenizer=tiny_tokenizer)
    export_npz(path, tmp_path / "a.npz", tokenizer=tiny_tokenizer, overwrite=True)
    with pytest.raises(ConfigError, match="exists already"):
        import_npz(tmp_path / "a.npz", path, tokenizer=tiny_tokenizer)
    for export, suffix in ((export_npz, ".npy"), (import_npz, ".mp4")):
        with pytest.raises(ConfigError, match=f"unknown suffix '{suffix}'"):
            export(path, tmp_path / f"x{suffix}", tokenizer=tiny_tokenizer)


def test_a_file_without_its_end_is_not_exported(path, tiny_tokenizer, tmp_path):
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TruncatedError, match="the end of the file is missing"):
        export_npz(path, tmp_path / "a.npz", tokenizer=tiny_tokenizer)


def test_shards_hold_the_windows_of_a_data_set(path, tiny_tokenizer, tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="the package webdataset is not installed")
    dataset = TokenDataset(path, num_latents=2, stride=1, num_channels=7, tokenizer=tiny_tokenizer)
    result = export_shards(dataset, tmp_path / "shards", samples_per_shard=3)
    assert [shard.rpartition("/")[2] for shard in result.shards] == ["tokens-000000.tar", "tokens-000001.tar"]
    assert (result.num_samples, result.skipped) == (4, [])
    samples = list(webdataset.WebDataset(result.shards, shardshuffle=False).decode())
    assert len({sample["__key__"] for sample in samples}) == 4
    for sample, item in zip(samples, dataset, strict=True):
        np.testing.assert_array_equal(sample["tokens.npy"], item["tokens"])
        assert sample["tokens.npy"].dtype == np.uint8
        np.testing.assert_array_equal(sample["motion.npy"], item["motion"])
        arrays = {"tokens", "motion"}
        expected = {**item, "quality": item["quality"].tolist()}
        assert sample["json"] == {key: value for key, value in expected.items() if key not in arrays}
    again = export_shards(dataset, tmp_path / "again", samples_per_shard=3)
    for shard, other in zip(result.shards, again.shards, strict=True):
        assert open(shard, "rb").read() == open(other, "rb").read()  # noqa: SIM115, PTH123
    with pytest.raises(ConfigError, match=r"tokens-000000.tar: exists already"):
        export_shards(dataset, tmp_path / "shards", samples_per_shard=3)
    with pytest.raises(ConfigError, match="of another, longer export"):
        export_shards(dataset, tmp_path / "shards", samples_per_shard=4, overwrite=True)


def test_shards_that_cannot_be_finished_are_removed(path, tiny_tokenizer, tmp_path):
    pytest.importorskip("webdataset", reason="the package webdataset is not installed")
    dataset = TokenDataset(path, num_latents=1, tokenizer=tiny_tokenizer)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(VtokError):
        export_shards(dataset, tmp_path / "shards", samples_per_shard=1)
    assert list((tmp_path / "shards").iterdir()) == []


def test_shards_are_replaced_together_or_not_at_all(path, tiny_tokenizer, tmp_path):
    pytest.importorskip("webdataset", reason="the package webdataset is not installed")
    dataset = TokenDataset(path, num_latents=1, tokenizer=tiny_tokenizer)
    export_shards(dataset, tmp_path / "shards", samples_per_shard=1)
    before = {file.name: file.read_bytes() for file in (tmp_path / "shards").iterdir()}
    assert len(before) == 5
    other = TokenDataset(path, num_latents=1, num_channels=3, tokenizer=tiny_tokenizer)
    data = path.read_bytes()
    path.write_bytes(data[:-200])
    with pytest.raises(VtokError):
        export_shards(other, tmp_path / "shards", samples_per_shard=1, overwrite=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "shards").iterdir()} == before
    path.write_bytes(data)
    export_shards(other, tmp_path / "shards", samples_per_shard=1, overwrite=True)
    after = {file.name: file.read_bytes() for file in (tmp_path / "shards").iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def test_a_shard_that_cannot_be_replaced_leaves_the_older_ones(path, tiny_tokenizer, tmp_path, monkeypatch):
    pytest.importorskip("webdataset", reason="the package webdataset is not installed")
    dataset = TokenDataset(path, num_latents=1, tokenizer=tiny_tokenizer)
    export_shards(dataset, tmp_path / "shards", samples_per_shard=1)
    before = {file.name: file.read_bytes() for file in (tmp_path / "shards").iterdir()}
    replace = os.replace

    def failing(source, target):
        if Path(target).name == "tokens-000003.tar" and "tokens" in Path(source).name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    other = TokenDataset(path, num_latents=1, num_channels=3, tokenizer=tiny_tokenizer)
    with pytest.raises(MediaError, match=r"shards: cannot be written: Input/output error$"):
        export_shards(other, tmp_path / "shards", samples_per_shard=1, overwrite=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "shards").iterdir()} == before


@pytest.mark.parametrize("wrong", [-3, 0, float("nan"), "4"])
def test_the_length_of_groups_is_above_zero(wrong, generated, tiny_tokenizer, tmp_path):
    np.savez(tmp_path / "g.npz", **generated)
    with pytest.raises(ConfigError, match=r"^keyframe_seconds is '?[-\w]+'?; expected seconds, more than 0$"):
        import_npz(tmp_path / "g.npz", tmp_path / "g.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=wrong)


def test_without_webdataset_it_is_said_how_to_get_it(path, tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    dataset = TokenDataset(path, num_latents=2, tokenizer=tiny_tokenizer)
    with pytest.raises(ConfigError, match=r"pip install 'vtok\[webdataset\]'"):
        export_shards(dataset, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


@pytest.fixture
def with_model(tiny_tokenizer, monkeypatch):
    monkeypatch.setattr("vtok.cli.tokens.load", lambda model: tiny_tokenizer)
    return ["--model", "tiny"]


def test_commands(path, with_model, cli_runner, tmp_path):
    archive, again = tmp_path / "a.npz", tmp_path / "again.vtok"
    result = cli_runner.invoke(app, ["tokens", "export", str(path), str(archive), *with_model])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{archive}: 5 latent frames for 37 frames, ")
    result = cli_runner.invoke(app, ["tokens", "import", str(archive), str(again), "--json", *with_model])
    assert json.loads(result.stdout)["num_frames"] == 37
    assert again.read_bytes()


def test_the_command_for_shards_exits_with_3_if_files_are_left_out(path, with_model, cli_runner, tmp_path):
    pytest.importorskip("webdataset", reason="the package webdataset is not installed")
    (tmp_path / "bad.vtok").write_bytes(b"")
    arguments = ["tokens", "export", str(tmp_path), "-o", str(tmp_path / "out"), "--format", "webdataset"]
    result = cli_runner.invoke(app, [*arguments, "--num-latents", "2", *with_model])
    assert result.exit_code == 3
    assert f"vtok: warning: {tmp_path / 'bad.vtok'}: the file is empty. It is left out." in result.stderr
    with tarfile.open(tmp_path / "out" / "tokens-000000.tar") as tar:
        assert [name.partition(".")[2] for name in tar.getnames()] == ["json", "motion.npy", "tokens.npy"] * 2


def test_the_command_for_shards_says_why_there_is_none(path, with_model, cli_runner, tmp_path):
    arguments = ["tokens", "export", str(path), "-o", str(tmp_path / "out"), "--format", "webdataset"]
    result = cli_runner.invoke(app, [*arguments, "--num-latents", "99", *with_model])
    assert "no file has a window of 99 latent frames: 1 of 1 files skipped: " in str(result.exception)
    assert f"{path}: 5 latent frames in a row, and windows have 99" in str(result.exception)


@pytest.mark.parametrize(
    "arguments", [["a.vtok"], ["a.vtok", "a.npz", "-o", "x"], ["a.vtok", "--format", "webdataset"]]
)
def test_usage(arguments, cli_runner):
    assert cli_runner.invoke(app, ["tokens", "export", *arguments]).exit_code == 2


def test_tokens_of_a_model_that_is_not_at_hand(generated, tmp_path):
    np.savez(tmp_path / "g.npz", **generated)
    with pytest.raises(ModelMismatchError, match=r"g\.npz: was written with the model tiny"):
        import_npz(tmp_path / "g.npz", tmp_path / "g.vtok")
