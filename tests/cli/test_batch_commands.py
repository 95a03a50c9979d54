"""Many files in one command, names without a command, and checks while encoding, as their users meet them."""

import io
import json
import shutil
from pathlib import Path

import pytest

from support.commands import assert_failed, documented_attributes, in_folder
from support.videos import write_video
from vtok.batch.plan import BatchResult, JobResult
from vtok.cli.app import with_command
from vtok.entropy.group_coder import PriorGroupDecoder
from vtok.errors import ChecksumError
from vtok.files import encode as codec
from vtok.files import encoded_file


@pytest.fixture
def tree(vtok):
    """Two good videos and one that is none, in the folder in which the program runs."""
    Path("in/sub").mkdir(parents=True)
    write_video(Path("in/a.mp4"), num_frames=8)
    write_video(Path("in/sub/b.mkv"), num_frames=3)
    Path("in/broken.mp4").write_text("not a video")
    return Path("in")


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_a_batch_mirrors_the_tree_goes_on_and_resumes(vtok, tree, monkeypatch):
    outcome = vtok("encode", "in", "-o", "coded", "--dry-run")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == "3 files: 3 planned"
    assert not Path("coded").exists()

    outcome = vtok("encode", "in", "-o", "coded")
    assert outcome.code == 1
    assert outcome.err.startswith("vtok: error: in/broken.mp4: ")
    assert outcome.err.count("\n") == 1
    first, second, last = outcome.out.splitlines()
    assert first.startswith("coded/a.vtok: 8 frames")
    assert second.startswith("coded/sub/b.vtok: 3 frames")
    assert last == "3 files: 2 done, 1 failed"
    assert files_below("coded") == ["a.vtok", "sub/b.vtok"]

    # What is there is left alone, without --force; with --skip-existing only what is sound.
    again = vtok("encode", "in/a.mp4", "-o", "coded")
    assert (again.code, again.out) == (1, "1 file: 1 failed\n")
    assert "coded/a.vtok: exists already" in again.err
    data = bytearray(Path("coded/a.vtok").read_bytes())
    data[len(data) // 2] ^= 1
    Path("coded/a.vtok").write_bytes(data)
    Path("in/broken.mp4").unlink()
    sources = []
    encode_with = codec.encode_with
    monkeypatch.setattr(
        codec,
        "encode_with",
        lambda options, source, *_, **__: sources.append(source) or encode_with(options, source, *_, **__),
    )
    outcome = vtok("encode", "in", "-o", "coded", "--skip-existing", "--json")
    assert sources == [Path("in/a.mp4")]
    result = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert list(result) == documented_attributes(BatchResult)
    assert [list(file) for file in result["files"]] == [documented_attributes(JobResult)] * 2
    assert [file["status"] for file in result["files"]] == ["done", "skipped"]

    outcome = vtok("decode", "coded", "-o", "decoded", "--suffix", ".mkv", "--codec", "ffv1", "--quiet")
    assert outcome == (0, "", "")
    assert files_below("decoded") == ["a.mkv", "sub/b.mkv"]
    assert vtok("decode", "coded", "-o", "decoded", "--suffix", ".mkv", "--skip-existing").out == (
        "decoded/a.mkv: skipped\ndecoded/sub/b.mkv: skipped\n2 files: 2 skipped\n"
    )


def test_incomplete_sources_of_a_batch_end_it_with_3(vtok, made):
    shutil.copy(made / "flipped_bit.vtok", "flipped.vtok")
    outcome = vtok("decode", "flipped.vtok", made / "good.vtok", "-o", "out", "--recover")
    assert outcome.code == 3
    assert outcome.out.endswith("2 files: 1 done, 1 incomplete\n")
    assert "vtok: warning: flipped.vtok: damaged" in outcome.err
    outcome = vtok("encode", "missing", "-o", "out")
    assert (outcome.code, outcome.out) == (1, "1 file: 1 failed\n")
    Path("empty").mkdir()
    assert_failed(vtok("encode", "empty", "-o", "out"), "empty: no files ending in")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["a.mp4", "b.vtok"], "encode"),
        (["a.vtok", "b.mp4", "--force"], "decode"),
        (["frames/%04d.png", "b.vtok"], "encode"),
        (["encode", "a.mp4", "b.vtok"], None),
        (["stats.mp4", "b.vtok"], "encode"),
        (["squeeze", "a.mp4"], None),
        (["--version"], None),
        (["--quality", "1.5", "a.mp4"], None),
        ([], None),
    ],
)
def test_names_say_what_to_do(arguments, command):
    assert with_command(arguments) == ([command] if command else []) + arguments


def test_there_and_back_without_commands(vtok, made):
    assert vtok(made / "short.mp4", "a.vtok", "-q") == (0, "", "")
    assert vtok("a.vtok", "a.mkv") == (0, "a.mkv: 8 frames\n", "")
    assert in_folder() == ["a.mkv", "a.vtok"]


def test_encoding_verifies_what_it_writes(vtok, made, monkeypatch):
    assert vtok("encode", made / "good.mp4", "a.vtok", "--verify").code == 0
    assert vtok("verify", "a.vtok").code == 0
    notice = "only the codes were verified: what was written cannot be read again"
    assert codec.encode_file(made / "good.mp4", io.BytesIO(), verify=True).notices == [notice]
    assert codec.encode_file(made / "good.mp4", "a.vtok", verify=True, overwrite=True).notices == []
    pull = PriorGroupDecoder.pull
    monkeypatch.setattr(PriorGroupDecoder, "pull", lambda self, *motion: pull(self, *motion) ^ 1)
    assert_failed(
        vtok("encode", made / "good.mp4", "b.vtok", "--verify"), "codes or motion of frames 0 to 23 have CRC-32"
    )
    monkeypatch.setattr(encoded_file, "check_written", lambda target: (_ for _ in ()).throw(ChecksumError("called")))
    monkeypatch.setattr(PriorGroupDecoder, "pull", pull)
    assert_failed(vtok("encode", made / "good.mp4", "b.vtok", "--verify"), "called")


def test_devices_and_precisions(vtok, made):
    assert vtok("encode", made / "short.mp4", "a.vtok", "--device", "cpu", "--precision", "float32").code == 0
    assert vtok("decode", "a.vtok", "a.mp4", "--precision", "bfloat16").code == 0
    assert_failed(
        vtok("decode", "a.vtok", "b.mp4", "--device", "tpu"), "device is 'tpu'; expected one of auto, cpu, cuda"
    )
    assert_failed(vtok("encode", made / "short.mp4", "b.vtok", "--precision", "int4"), "precision is 'int4'")
