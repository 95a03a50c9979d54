"""The command line as its users meet it: exit codes, what goes to stdout and stderr, and what is left behind."""

import json
import platform
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from pkgutil import resolve_name

import av
import pytest
import torch
import typer

from support.commands import assert_failed, documented_attributes, in_folder
from support.videos import truncated, write_video
from vtok import __version__
from vtok.cli.app import app, main
from vtok.container.reader import ContainerReader
from vtok.files.decode import DecodeResult
from vtok.files.encoded_file import EncodeResult
from vtok.measure.code_usage import CodeUsage
from vtok.measure.psnr_ssim import Quality
from vtok.measure.stats import FileStats, FrameSeries

COMMANDS = typer.main.get_command(app).commands
PROGRAM = Path(sys.executable).with_name("vtok")


def test_there_and_back_and_measured(vtok, made):
    encoded = vtok("encode", made / "good.mp4", "a.vtok", "--quality", "6.5")
    size = Path("a.vtok").stat().st_size
    assert encoded == (0, encoded.out, "")
    assert re.fullmatch(rf"a.vtok: 24 frames, {size} bytes, [\d.]+ bits per pixel, \d+ kbit/s\n", encoded.out)
    assert vtok("decode", "a.vtok", "a.mkv", "--codec", "ffv1") == (0, "a.mkv: 24 frames\n", "")
    for name in ("a.vtok", "a.mkv"):
        table = vtok("stats", made / "good.mp4", name)
        assert (table.code, table.err) == (0, "")
        assert re.search(r"PSNR-YUV.* \d\d\.\d\d dB", table.out)
        assert ("vtok-8x8x8, 6.5" in table.out) == (name == "a.vtok")
    measured = [vtok("stats", made / "good.mp4", name, "--json") for name in ("a.vtok", "a.mkv")]
    qualities = [json.loads(outcome.out)["quality"] for outcome in measured]
    assert qualities[0] == qualities[1]  # the decoded file is what the codes stand for, to the last bit
    assert in_folder() == ["a.mkv", "a.vtok"]


def test_a_part_of_a_file(vtok, made):
    """24 frames at 25 per second, in groups of 8."""
    outcome = vtok("decode", made / "good.vtok", "a.mkv", "--start", "0.4", "--duration", "0:00.2")
    assert outcome == (0, "a.mkv: 5 frames, from frame 10 on\n", "")
    assert vtok("decode", made / "good.vtok", "b.mkv", "--end", ".4").out == "b.mkv: 10 frames\n"
    # What lies before the damage can still be had.
    assert vtok("decode", made / "truncated.vtok", "c.mkv", "--end", "0.2").out == "c.mkv: 5 frames\n"
    for options, message in [
        (["--start", "x"], "'x' is no time; expected seconds"),
        (["--end", "1", "--duration", "1"], "--end and --duration say the same"),
        (["--start", "2", "--end", "1"], "the range ends at 1 s: must be after"),
        (["--start", "60"], f"{made / 'good.vtok'}: no frame begins from 60 s to the end; its 24 frames last 0.96 s"),
    ]:
        assert_failed(vtok("decode", made / "good.vtok", "d.mkv", *options), re.escape(message))
    assert in_folder() == ["a.mkv", "b.mkv", "c.mkv"]


# -- what can be wrong with the inputs


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("missing.mp4", "no such file"),
        ("folder.vtok", "is a folder"),
        ("empty", "the file is empty"),
        ("text", ""),
        ("good.vtok", ""),
    ],
)
def test_sources_that_are_no_videos(name, cause, vtok, made):
    path = made / name
    assert_failed(vtok("encode", path, "out.vtok"), f"{path}: {cause}")
    assert_failed(vtok("stats", path, made / "good.vtok"), f"{path}: {cause}")
    assert_failed(vtok("stats", path, made / "good.vtok", "--json"), f"{path}: {cause}")
    assert in_folder() == []


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("missing.vtok", "cannot be opened: No such file"),
        ("folder.vtok", "cannot be opened: Is a directory"),
        ("empty", ""),
        ("text", ""),
        ("good.mp4", ""),
        ("truncated.vtok", ""),
        ("flipped_bit.vtok", ""),
    ],
)
def test_sources_that_are_no_sound_vtok_files(name, cause, vtok, made):
    path = made / name
    assert_failed(vtok("decode", path, "out.mp4"), f"{path}: {cause}")
    if path.suffix == ".vtok":
        assert_failed(vtok("stats", made / "good.mp4", path), f"{path}: {cause}")
    assert in_folder() == []


def test_stats_of_two_different_videos(vtok, made):
    assert_failed(vtok("stats", made / "good.mp4", made / "missing.mp4"), f"{made / 'missing.mp4'}: no such file")
    assert_failed(vtok("stats", made / "short.mp4", made / "good.vtok"), f"{made / 'short.mp4'}: has 8 frames")
    outcome = vtok("stats", made / "other_size.mp4", made / "good.vtok")
    assert_failed(outcome, r".*good\.vtok: is 64x48, .*other_size\.mp4 is 32x48: .* --scale and --crop")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"]])
def test_a_source_without_its_end_gives_what_there_is_and_exit_3(suffix, options, vtok, tmp_path):
    early_index = {"movflags": "faststart"} if suffix == ".mp4" else {}
    whole = write_video(tmp_path / f"whole{suffix}", num_frames=40, container_options=early_index)
    cut = truncated(whole, tmp_path / f"cut{suffix}", share=0.7)
    outcome = vtok("encode", cut, "cut.vtok", *options)
    assert outcome.code == 3
    warning = re.search(
        r"^vtok: warning: \S+cut\.\w+: (.*)\. cut.vtok holds what could be decoded.$", outcome.err, re.M
    )
    assert "cut short" in warning.group(1)
    with Path("cut.vtok").open("rb") as file:
        num_frames = sum(group.num_frames for group in ContainerReader(file))
    assert 8 < num_frames < 40
    if options == ["--json"]:
        assert json.loads(outcome.out)["incomplete"] == warning.group(1)
        assert json.loads(outcome.out)["num_frames"] == num_frames
    else:
        assert bool(outcome.out) == (options == [])
    assert vtok("decode", "cut.vtok", "cut-decoded.mp4").code == 0
    measured = vtok("stats", cut, "cut.vtok", "--json")
    assert measured.code == 3
    assert "cut short" in json.loads(measured.out)["incomplete"]


@pytest.mark.parametrize("codec_name", ["libx264", "libx265"])
def test_unknown_presets_are_one_line_of_ours(codec_name, vtok, made):
    outcome = vtok("decode", made / "good.vtok", "out.mp4", "--codec", codec_name, "--preset", "nonsense")
    assert_failed(outcome, rf"out.mp4: unknown preset 'nonsense' of {codec_name}. Choose one of ultra")
    assert in_folder() == []


# -- what can be wrong with the outputs


@pytest.mark.parametrize(("command", "source", "target"), [("encode", "mp4", "vtok"), ("decode", "vtok", "mp4")])
def test_overwriting(command, source, target, vtok, made):
    arguments = command, made / f"good.{source}", f"old.{target}"
    old = Path(f"old.{target}")
    old.write_text("precious")
    old.chmod(0o640)
    assert_failed(vtok(*arguments), rf"old.{target}: exists already\. Overwrite it with --force")
    assert old.read_text() == "precious"
    for force in ("-f", "--force"):
        old.write_text("precious")
        assert vtok(*arguments, force).code == 0
        assert old.read_bytes() != b"precious"
        assert old.stat().st_mode & 0o777 == 0o640
    assert_failed(vtok(command, made / "text", old, "-f"), f"{made / 'text'}: ")
    assert old.stat().st_size > 100  # a failed run takes nothing away
    assert in_folder() == [old.name]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_input_is_never_the_output(force, vtok, made):
    for command, name in (("encode", "good.mp4"), ("decode", "good.vtok")):
        path = Path(name)
        path.write_bytes((made / name).read_bytes())
        Path("link").symlink_to(name)
        for target in (name, Path.cwd() / name, "link"):
            assert_failed(vtok(command, name, target, *force), rf"{target}: is the input too\. Give")
        assert path.read_bytes() == (made / name).read_bytes()
        Path("link").unlink()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing/out", r"missing/out\.\w+: the folder \S+/missing does not exist\. Create it first"),
        ("folder", r"folder\.\w+: is not a regular file"),
    ],
)
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_targets_that_cannot_be_written(target, message, force, vtok, made):
    for suffix in ("vtok", "mp4"):
        Path(f"folder.{suffix}").mkdir()
    before = in_folder()
    assert_failed(vtok("encode", made / "good.mp4", f"{target}.vtok", *force), message)
    assert_failed(vtok("decode", made / "good.vtok", f"{target}.mp4", *force), message)
    assert in_folder() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "good.mp4", "out.mp4"], r"out.mp4: unknown suffix '.mp4'\. The name of the output ends in .vtok"),
        (["encode", "good.mp4", "out"], r"out: unknown suffix ''"),
        (["encode", "good.mp4", "out.vtok", "--model", "best"], r"no pretrained model 'best'; expected vtok-8x8x8"),
        (["encode", "good.mp4", "out.vtok", "--model", "no.safetensors"], r"no.safetensors: no such weights file"),
        (["decode", "good.vtok", "out.avi"], r"out.avi: unknown suffix '.avi'\. Choose one of .mp4, "),
        (
            ["decode", "good.vtok", "out.mp4", "--codec", "divx"],
            r"out.mp4: unknown codec 'divx' in .mp4\. Choose one of libx264, libx265",
        ),
        (
            ["decode", "good.vtok", "out.webm", "--codec", "libx264"],
            r"out.webm: unknown codec 'libx264' in .webm. Choose one of libsvtav1, libvpx-vp9",
        ),
        (
            ["decode", "good.vtok", "out.mp4", "--crf", "52"],
            "out.mp4: crf 52.0 is out of the range of libx264: 0 to 51",
        ),
        (["decode", "good.vtok", "out.gif", "--crf", "9"], r"out.gif: codec, crf and preset are for .mp4, .mov"),
        (
            ["decode", "good.vtok", "out.png"],
            r"out.png: is one image, .* a pattern, as out-%04d.png, or choose one frame",
        ),
        (["decode", "good.vtok", "no/%d/a.png"], r"no/%d/a.png: the folder \S+ does not exist"),
        (["decode", "good.vtok", "out.mp4", "--format", "y4m"], r"out.mp4: its suffix says the format"),
        (["decode", "good.vtok", "-"], r"-: the output - needs --format. Choose one of mp4, .*, y4m, .*, raw"),
        (["decode", "good.vtok", "-", "--format", "avi"], r"-: unknown format 'avi'. Choose one of mp4"),
        (["decode", "good.vtok", "-", "--format", "webm", "--codec", "ffv1"], r"-: unknown codec 'ffv1' in .webm"),
        (["encode", "good.mp4", "out.vtok", "--image-rate", "24"], r"good.mp4: is no image"),
        (["encode", "good.mp4", "out.vtok", "--image-rate", "0"], r"'0' is no rate"),
        (
            ["decode", "good.vtok", "out.mkv", "--codec", "ffv1", "--preset", "fast"],
            r"out.mkv: ffv1 .*no option preset",
        ),
        (["decode", "good.vtok", "out.mp4", "--model", "text.safetensors"], r"text.safetensors: not a readable"),
    ],
)
def test_options_that_do_not_fit(arguments, message, vtok, made):
    Path("text.safetensors").write_text("not weights")
    for name in ("good.mp4", "good.vtok"):
        Path(name).write_bytes((made / name).read_bytes())
    before = in_folder()
    assert_failed(vtok(*arguments), message)
    assert in_folder() == before


@pytest.mark.parametrize(("command", "source", "target"), [("encode", "mp4", "vtok"), ("decode", "vtok", "mkv")])
def test_a_full_disk_is_one_line_and_leaves_nothing(command, source, target, vtok, made):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))  # bytes: writing more fails, as on a full disk
    try:
        outcome = vtok(command, made / f"good.{source}", f"out.{target}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_failed(outcome, f"out.{target}: cannot be written: File too large$")
    assert in_folder() == []


def test_a_system_error_is_one_line_and_a_traceback_on_request(vtok, made, monkeypatch):
    Path("taken").write_text("a file where a folder should be")
    arguments = ["train", made, "--validation", made, "-o", "taken", "--cache", "taken"]
    assert_failed(vtok(*arguments), "taken.*: (File exists|Not a directory)")
    monkeypatch.setenv("VTOK_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["vtok", *map(str, arguments)])
    with pytest.raises(OSError, match="taken"):
        main()


# -- usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode"], "Missing argument 'SOURCE TARGET"),
        (["encode", "a.mp4"], "Invalid value: expected one input and one output, got 1 names"),
        (
            ["encode", "a.mp4", "b.vtok", "--quality", "0.9"],
            "Invalid value for '--quality': .*greater than or equal to 1",
        ),
        (["encode", "a.mp4", "b.vtok", "--quality", "9.1"], "Invalid value for '--quality': .*less than or equal to 9"),
        (["encode", "a.mp4", "b.vtok", "--quality", "nan"], "Invalid value for '--quality': "),
        (["encode", "a.mp4", "b.vtok", "--quality", "good"], "Invalid value for '--quality': .*a valid number"),
        (["encode", "a.mp4", "b.vtok", "--keyframe-seconds", "0"], "Invalid value for '--keyframe-seconds': "),
        (["decode", "a.vtok", "b.mp4", "--threads", "0"], "Invalid value for '--threads': "),
        (["decode", "a.vtok", "b.mp4", "c.mp4"], "Invalid value: expected one input and one output, got 3 names.* -o"),
        (["encode", "a.mp4", "b.vtok", "--skip-existing"], "Invalid value: --skip-existing is for many inputs"),
        (["decode", "a.vtok", "b.mp4", "--dry-run"], "Invalid value: --dry-run is for many inputs"),
        (["encode", "a.mp4", "b.vtok", "c.vtok", "--dry-run"], "Invalid value: expected one input, and one output"),
        (["stats", "a.vtok", "b.mp4", "c.mp4"], r".*unexpected extra argument.*c\.mp4"),
        (["stats", "a.mp4", "b.vtok", "--nonsense"], "No such option: --nonsense"),
        (["train", "videos"], "Missing option '--validation'"),
        (["squeeze", "a.mp4"], "No such command 'squeeze'."),
    ],
)
def test_usage_errors_are_one_clear_message_and_exit_2(arguments, message, vtok):
    outcome = vtok(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    usage, hint, empty, error = outcome.err.splitlines()
    assert usage.startswith("Usage: vtok ")
    assert hint.startswith("Try 'vtok ")
    assert empty == ""
    assert re.match(f"Error: {message}", error)
    assert in_folder() == []


def test_endless_groups_are_as_long_as_the_format_takes(vtok, made):
    assert vtok("encode", made / "good.mp4", "a.vtok", "--keyframe-seconds", "inf").code == 0
    with Path("a.vtok").open("rb") as file:
        assert [group.num_frames for group in ContainerReader(file)] == [24]


def test_threads_are_set(vtok, made):
    before = torch.get_num_threads()
    try:
        for number in (before + 1, 1):
            assert vtok("encode", made / "short.mp4", "a.vtok", "-f", "--threads", number).code == 0
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(before)


def test_help_and_version_import_nothing_heavy():
    program = """
import sys
from vtok.cli.app import main
for arguments in (["--help"], [], ["--version"], ["encode", "--help"], ["train", "-h"], ["encode", "--quality", "x"]):
    sys.argv = ["vtok", *arguments]
    try:
        main()
    except SystemExit:
        pass
    assert not {"torch", "numpy", "av", "rich", "safetensors"} & sys.modules.keys(), arguments
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_the_installed_program_tells_its_version():
    result = subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True)
    first, libraries = result.stdout.splitlines()
    assert (first, result.stderr) == (f"vtok {__version__}", "")
    assert libraries.startswith(f"Python {platform.python_version()}, torch {torch.__version__}, av {av.__version__}, ")


def test_every_command_explains_itself(vtok):
    overview = vtok("--help")
    assert (overview.code, overview.err) == (0, "")
    assert all(re.search(rf"^  {name} +\w", overview.out, re.M) for name in COMMANDS)
    everything = {(name,): command for name, command in COMMANDS.items()}
    everything |= {("tokens", name): command for name, command in COMMANDS["tokens"].commands.items()}
    for names, command in everything.items():
        outcome = vtok(*names, "--help")
        assert (outcome.code, outcome.err) == (0, "")
        assert f"\n  Example: vtok {' '.join(names)} " in outcome.out
        assert vtok(*names, "-h") == outcome
        assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


# -- JSON


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (EncodeResult, ["encode", "good.mp4", "out.vtok"]),
        (DecodeResult, ["decode", "good.vtok", "out.mp4"]),
        (FileStats, ["stats", "good.mp4", "good.vtok"]),
    ],
)
def test_json_is_one_object_with_the_documented_keys(kind, arguments, vtok, made):
    command, *files = arguments
    paths = [made / name if name.startswith("good") else name for name in files]
    outcome = vtok(command, *paths, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    result = json.loads(outcome.out)
    assert list(result) == documented_attributes(kind)
    assert f"vtok.{kind.__name__}" in " ".join(vtok(command, "--help").out.split())
    if kind is FileStats:
        assert list(result["codes"]) == documented_attributes(CodeUsage)
        assert list(result["frames"]) == documented_attributes(FrameSeries)
        assert list(result["quality"]) == [field.name for field in fields(Quality)]
        assert result["quality"]["num_frames"] == result["num_frames"] == 24
        assert result["num_bytes"] == (made / "good.vtok").stat().st_size
    else:
        assert (result["source"], result["target"]) == tuple(map(str, paths))
        assert (result["num_frames"], result["notices"], result["incomplete"]) == (24, [], None)


def test_json_of_training_is_its_final_validation(vtok, made):
    Path("tiny.toml").write_text(
        "[model]\nnum_channels = 24\ndim = 16\nnum_analysis_blocks = 1\nnum_synthesis_blocks = 1\nrefine_dim = 8\n"
        "guide_dim = 4\nprior_groups = [8, 24]\nprior_context_dim = 16\nprior_group_dim = 16\n"
        + "".join(f"[{table}]\nnum_frames = 16\nsize = 32\n" for table in ("cache", "validation_cache", "data"))
    )
    Path("videos").mkdir()
    Path("videos", "a.mp4").write_bytes((made / "good.mp4").read_bytes())
    run = ["train", "videos", "--validation", "videos", "-o", "run", "--minutes", 0, "--config", "tiny.toml"]
    outcome = vtok(*run, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["weights"] == "run/weights.safetensors"
    assert (result["event"], result["step"]) == ("validation", 0)
    assert all({"quality", "bits_per_pixel", "psnr_yuv"} <= point.keys() for point in result["points"])
    assert "validation" in outcome.err  # what it says on the way
    encoded = vtok("encode", "videos/a.mp4", "a.vtok", "--model", result["weights"])
    assert encoded.code == 0
    assert_failed(vtok("decode", "a.vtok", "a.mp4"), "a.vtok: was written with the model weights.*--model")
    assert vtok("decode", "a.vtok", "a.mp4", "--model", result["weights"]).code == 0


# -- progress and notices


def test_progress_and_notices_go_to_stderr_unless_quiet(vtok, tmp_path, monkeypatch):
    monkeypatch.setattr("vtok.cli.progress.LOG_SECONDS", 0.0)
    source = write_video(tmp_path / "in.mkv", codec="ffv1", pixel_format="yuv444p")
    verbose = vtok("encode", source, "a.vtok")
    lines = verbose.err.splitlines()
    assert re.fullmatch(r"encode: 8(/16)? frames, [\d.]+ frames/s, [\d.]+ x real time(, 0:00:0\d left)?", lines[0])
    assert lines[-1] == f"vtok: notice: {source}: pixel format yuv444p converted to yuv420p: chroma 4:4:4 to 4:2:0"
    assert verbose.out.startswith("a.vtok: 16 frames, ")
    with_json = vtok("encode", source, "a.vtok", "-f", "--json")
    assert len(with_json.err.splitlines()) == len(lines)
    assert json.loads(with_json.out)["notices"] == ["pixel format yuv444p converted to yuv420p: chroma 4:4:4 to 4:2:0"]
    assert vtok("encode", source, "a.vtok", "-f", "-q") == (0, "", "")
    assert re.match(r"decode: 1/16 frames", vtok("decode", "a.vtok", "a.mp4").err)
    assert vtok("decode", "a.vtok", "a.mp4", "-f", "--quiet") == (0, "", "")
    assert re.match(r"stats: 1(/16)? frames", vtok("stats", source, "a.vtok").err)
    table = vtok("stats", source, "a.vtok", "-q")
    assert (table.code, table.err) == (0, "")
    assert "PSNR" in table.out  # it was asked for


# -- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("command", "source", "target", "method"),
    [
        ("encode", "mp4", "vtok", "codec.chunk_coder.ChunkEncoder.encode"),
        ("decode", "vtok", "mp4", "media.outputs.VideoWriter.write"),
    ],
)
def test_a_signal_in_the_middle_leaves_nothing(command, source, target, method, number, code, vtok, made, monkeypatch):
    original = resolve_name(f"vtok.{method}")
    calls = []

    def interrupted(*arguments):
        calls.append(in_folder())
        if len(calls) == 2:
            signal.raise_signal(number)
        return original(*arguments)

    monkeypatch.setattr(f"vtok.{method}", interrupted)
    assert vtok(command, made / f"good.{source}", f"out.{target}") == (code, "", "")
    assert len(calls) in (2, 3)  # a stage in a thread of its own may begin one more before the program hears of it
    assert re.fullmatch(rf"\.vtok-\w+\.{target}", *calls[1])  # it had begun to write
    assert in_folder() == []


def test_a_signal_to_the_real_program_leaves_nothing(tmp_path):
    source = write_video(tmp_path / "long.mp4", num_frames=400, size=(320, 240), options={"preset": "ultrafast"})
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143}
    running = {}
    for number in codes:
        folder = tmp_path / number.name
        folder.mkdir()
        running[number] = subprocess.Popen(
            [PROGRAM, "encode", source, folder / "out.vtok"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts background jobs with SIGINT ignored, and so this test, perhaps.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    waiting = set(running)
    while waiting:
        for number in list(waiting):
            if any((tmp_path / number.name).iterdir()) or running[number].poll() is not None:
                running[number].send_signal(number)
                waiting.remove(number)
        time.sleep(0.01)
    for number, process in running.items():
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (codes[number], "", "")
        assert list((tmp_path / number.name).iterdir()) == []
