"""What the program prints when streams are closed, names are odd, and errors need the words of the command line."""

import io
import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import assert_failed, in_folder
from support.videos import ROOT, write_video
from vtok.benchmark.records import KEY_FIELDS, Records
from vtok.cli import output
from vtok.cli.output import in_options
from vtok.errors import ChecksumError, ConfigError, MediaError, TruncatedError, naming
from vtok.files.cut import cut_file
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.files.inspection import file_info
from vtok.measure.comparison import compare_files
from vtok.tokens.dataset import find_token_files
from vtok.video.times import parse_range

LATIN_1 = os.fsdecode(b"caf\xe9.mp4")
MODEL = ("--model", str(ROOT / "tests" / "golden" / "tiny.safetensors"))


@pytest.fixture
def shell(tmp_path):
    """Runs the real program in `tmp_path` by a shell, with redirections."""

    def run(*arguments, redirections="", **variables):
        command = shlex.join([sys.executable, "-m", "vtok", *map(str, arguments)])
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{command} {redirections}"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
            capture_output=True,
        )
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    return run


# -- standard streams


@pytest.mark.parametrize("redirections", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_stop_nothing(redirections, shell, tmp_path):
    write_video(tmp_path / "a.mp4", num_frames=8)
    code, out, err = shell("encode", "a.mp4", "a.vtok", *MODEL, redirections=redirections)
    assert (code, err) == (0, "")
    assert bool(out) == (">&-" not in redirections.replace("2>&-", ""))
    assert shell("verify", "a.vtok", redirections=redirections)[0] == 0  # no message went into it
    assert shell("info", "missing.vtok", redirections=redirections)[::2] == (
        1,
        "" if "2>&-" in redirections else "vtok: error: missing.vtok: cannot be opened: No such file or directory\n",
    )
    assert shell("encode", redirections=redirections)[0] == 2


def test_data_for_a_closed_standard_output_is_an_error(shell, made):
    code, _, err = shell("decode", made / "good.vtok", "-", "--format", "y4m", redirections=">&-")
    assert code == 1
    assert err.startswith("vtok: error: -: standard output is a terminal or closed.")


def test_a_reader_that_has_gone_stops_nothing(shell, made, tmp_path):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "vtok", "encode", made / "short.mp4", made / "text", made / "good.mp4", "-o", "out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=write,
        stderr=write,
    )
    os.close(write)
    assert result.returncode == 1  # of the file that is no video
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.vtok", "short.vtok"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", [("info",), ("info", "--json"), ("stats", "good.mp4", "--no-vmaf")])
def test_results_on_a_full_disk_are_one_line(command, shell, made):
    name, *rest = command
    arguments = [made / item if item.endswith(".mp4") else item for item in rest]
    code, _, err = shell(name, *arguments, made / "good.vtok", redirections="> /dev/full")
    assert (code, err) == (1, "vtok: error: standard output: cannot be written: No space left on device\n")


@pytest.mark.parametrize(
    "variables", [{"PYTHONIOENCODING": "utf-8:strict"}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii:strict"}]
)
def test_names_that_cannot_be_printed_are_escaped_and_a_batch_goes_on(variables, shell, tmp_path):
    write_video(tmp_path / "b.mp4", num_frames=8)
    (tmp_path / LATIN_1).write_bytes((tmp_path / "b.mp4").read_bytes())
    empty = os.fsdecode(b"\xe9.mp4")
    (tmp_path / empty).touch()
    code, out, err = shell("encode", LATIN_1, empty, "b.mp4", "-o", "out", *MODEL, **variables)
    assert (code, err) == (1, "vtok: error: \\udce9.mp4: the file is empty\n")
    first, second, last = out.splitlines()
    assert first.startswith("out/caf\\udce9.vtok: 8 frames")
    assert second.startswith("out/b.vtok: 8 frames")
    assert last == "3 files: 2 done, 1 failed"


def test_a_stream_that_fails_once_is_left_alone(monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Broken())
    output.print_line("lost", sys.stdout)
    output.print_line("lost", None)


# -- errors


@pytest.mark.parametrize(
    ("call", "error", "message", "arguments", "printed"),
    [
        (
            lambda folder, target: cut_file(folder / "good.vtok", target),
            ConfigError,
            "old.vtok: exists already. Overwrite it with overwrite=True",
            ["cut", "good.vtok", "old.vtok"],
            "old.vtok: exists already. Overwrite it with --force",
        ),
        (
            lambda folder, target: decode_file(folder / "truncated.vtok", "new.mp4"),
            TruncatedError,
            "What is intact can be had with recover=True",
            ["decode", "truncated.vtok", "new.mp4"],
            "What is intact can be had with --recover",
        ),
        (
            lambda folder, target: decode_file(folder / "good.vtok", "new.mp4", output_format="y4m"),
            ConfigError,
            "output_format=... is for the output - only",
            ["decode", "good.vtok", "new.mp4", "--format", "y4m"],
            "--format is for the output - only",
        ),
        (
            lambda folder, target: compare_files(folder / "good.mp4", folder / "good.vtok", "new.mp4", at_seconds=0),
            ConfigError,
            "new.mp4: at_seconds=... is for images",
            ["compare", "good.mp4", "good.vtok", "new.mp4", "--at", "0"],
            "new.mp4: --at is for images",
        ),
        (
            lambda folder, target: parse_range(None, "1", "1"),
            ConfigError,
            "end=... and duration=... say the same thing",
            ["cut", "good.vtok", "new.vtok", "--end", "1", "--duration", "1"],
            "--end and --duration say the same thing",
        ),
    ],
)
def test_the_library_names_arguments_and_the_command_options(
    call,
    error,
    message,
    arguments,
    printed,
    vtok,
    made,
):
    Path("old.vtok").write_text("precious")
    with pytest.raises(error) as caught:
        call(made, "old.vtok")
    assert message in str(caught.value)
    assert "--" not in str(caught.value)
    outcome = vtok(*(made / name if (made / name).exists() else name for name in arguments))
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert printed in outcome.err
    assert "=..." not in outcome.err


def test_json_of_a_batch_names_options_too(vtok, made):
    for options in (["--json"], ["--json-lines"]):
        assert vtok("decode", made / "truncated.vtok", "-o", "out", *options).out.count("had with --recover") == 1


def test_only_whole_words_are_options():
    assert in_options("no_overwrite=True.mp4: overwrite=True") == "no_overwrite=True.mp4: --force"


def test_a_model_that_is_not_at_hand(vtok, tiny_tokenizer):
    encode_file(write_video(Path("a.mp4"), num_frames=8), "a.vtok", tokenizer=tiny_tokenizer)
    assert "not at hand: decode with tokenizer=..." in file_info("a.vtok").summary()
    assert "not at hand: decode with --model" in vtok("info", "a.vtok").out


def test_a_damaged_file_is_named_once(vtok, made):
    path = made / "flipped_bit.vtok"
    for arguments in (["cut", path, "out.vtok"], ["concat", path, path, "out.vtok"], ["decode", path, "out.mp4"]):
        outcome = vtok(*arguments)
        assert_failed(outcome, str(path))
        assert outcome.err.count(path.name) == 1
    with pytest.raises(ChecksumError, match=r"^a: b$"), naming("a"), naming("a"):
        raise ChecksumError("b")


def test_a_pipe_that_cannot_be_searched_is_named(shell, made):
    pipe = f"< <(cat {made / 'good.vtok'})"
    for arguments in (["info", "/dev/stdin"], ["decode", "/dev/stdin", "out.mp4", "--start", "0.1"]):
        code, out, err = shell(*arguments, redirections=pipe)
        assert (code, out) == (1, "")
        assert err.startswith("vtok: error: /dev/stdin: cannot ")
        assert err.count("\n") == err.count("/dev/stdin") == 1


@pytest.mark.parametrize(
    "command",
    ["stats good.mp4 pipe.vtok", "stats good.mp4 pipe", "stats pipe good.vtok", "info pipe.vtok", "verify pipe.vtok",
     "decode pipe.vtok out.mp4", "cut pipe.vtok out.vtok", "concat pipe.vtok good.vtok out.vtok",
     "compare pipe good.vtok out.png", "tokens export pipe.vtok out.npz"],
)  # fmt: skip
def test_a_named_pipe_without_a_writer_stops_nobody(command, vtok, made):
    for name in ("pipe", "pipe.vtok"):
        os.mkfifo(name)
    words = [made / word if word.startswith("good") else word for word in command.split()]
    (pipe,) = (word for word in words if str(word).startswith("pipe"))
    assert_failed(vtok(*words), f"{pipe}: cannot seek, as a pipe; copy it to a file")
    assert in_folder() == ["pipe", "pipe.vtok"]


def test_a_named_pipe_is_a_source_like_standard_input(shell, tmp_path):
    write_video(tmp_path / "a.mkv", num_frames=8)
    os.mkfifo(tmp_path / "pipe")
    code, out, err = shell("encode", "pipe", "a.vtok", *MODEL, redirections="& cat a.mkv > pipe; wait %1")
    assert (code, err) == (0, "")
    assert out.startswith("a.vtok: 8 frames")


def test_system_errors_without_a_name_get_one():
    with pytest.raises(MediaError, match=r"^a\.vtok: cannot be read: Illegal seek$"), naming("a.vtok"):
        raise OSError(29, "Illegal seek")


def test_plots_and_records_on_a_full_disk_are_named(vtok, made, tmp_path):
    records = Records(tmp_path / "report")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))  # bytes: writing more fails, as on a full disk
    try:
        for name in ("a.png", "a.html"):
            outcome = vtok("stats", made / "good.mp4", made / "good.vtok", "--no-vmaf", "--plot", name)
            assert_failed(outcome, f"{name}: cannot be written: File too large$")
        with pytest.raises(MediaError, match=r"^\S+/measured\.json: cannot be written: File too large$"):
            records.add(dict.fromkeys(KEY_FIELDS, "long" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert in_folder() == ["report"]


# -- files that may not be read


def test_a_file_that_may_not_be_read_is_one_line_and_a_batch_goes_on(vtok, made, monkeypatch):
    path = made / "good.vtok"
    secret = Path("secret.vtok")
    secret.write_bytes(path.read_bytes())
    original, access = Path.open, os.access

    def refused(self, *arguments, **options):
        if self == secret:
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != secret and access(path, mode))
    for command in (["info"], ["verify"], ["stats", made / "good.mp4"]):
        assert_failed(vtok(*command, secret), "secret.vtok: cannot be opened: Permission denied$")
    for command, target in (("decode", "a.mp4"), ("cut", "a.vtok"), ("concat", "a.vtok")):
        assert_failed(vtok(command, secret, target), "secret.vtok: cannot be opened: Permission denied$")
    outcome = vtok("decode", secret, path, "-o", "out")
    assert (outcome.code, outcome.err) == (1, "vtok: error: secret.vtok: cannot be opened: Permission denied\n")
    assert outcome.out.endswith("2 files: 1 done, 1 failed\n")
    assert [path.name for path in Path("out").iterdir()] == ["good.mp4"]


def test_a_system_error_in_a_batch_is_as_plain_as_alone(vtok, made):
    Path("out").write_text("a file where a folder should be")
    outcome = vtok("decode", made / "good.vtok", "-o", "out", "--json-lines")
    assert (outcome.code, outcome.err) == (1, "vtok: error: out: File exists\n")
    assert '"error": "out: File exists"' in outcome.out
    assert in_folder() == ["out"]


def test_a_list_of_files_may_have_a_byte_order_mark(tmp_path):
    (tmp_path / "list.txt").write_text("a.vtok\nb.vtok\n", encoding="utf-8-sig")
    assert find_token_files(tmp_path / "list.txt") == [tmp_path / "a.vtok", tmp_path / "b.vtok"]
    with pytest.raises(MediaError, match=r"^\S+none.txt: is no folder, .* files: No such file or directory$"):
        find_token_files(tmp_path / "none.txt")
