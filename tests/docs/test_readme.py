"""What README.md tells people to type is run, in its order and in one folder; what it links to is there."""

import re
import shutil
from pathlib import Path

import pytest
import typer

from support.pages import BLOCK, SHELL, SMALL_BENCHMARK, run_shell, shell_lines
from support.training_runs import TINY
from support.videos import ROOT, cut_sample, write_video
from vtok.cli.app import app

README = (ROOT / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands

# A training run of the README takes hours; this one only cuts clips, computes the KLT and saves.

# A benchmark with all codecs and settings takes a minute.
SMALL_BENCHMARK += ["--max-width", "96", "--viewer-qualities", "3", "--viewer-frames", "1", "--no-vmaf"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the README's commands run: `holiday.mp4`, the samples and the folders to train on are there."""
    cut_sample(tmp_path / "holiday.mp4")
    (tmp_path / "sample_videos").mkdir()
    shutil.copy(tmp_path / "holiday.mp4", tmp_path / "sample_videos" / "bigbuckbunny.mp4")
    for split in ("videos", "other-videos"):
        (tmp_path / split).mkdir()
        write_video(tmp_path / split / "a.mp4")
    (tmp_path / "small.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_runs(folder, cli_runner):
    blocks = BLOCK.findall(README)
    assert {language for language, _ in blocks} <= {*SHELL, "python", "toml", "json"}
    for language, block in blocks:
        if language in SHELL:
            for words in shell_lines(block):
                run_shell(words, cli_runner)
        elif language == "python":
            exec(compile(block, f"README.md: {block.splitlines()[0]} ...", "exec"), {"__name__": "__main__"})
    assert (folder / "holiday.vtok").stat().st_size > 1000


def test_the_two_commands_are_on_the_first_screen():
    first_screen = "\n".join(README.splitlines()[:30])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_every_command_is_described_with_options_that_exist():
    for name, command in COMMANDS.items():
        uses = re.findall(rf"\bvtok {name}\b([^`\n#]*)", README)
        assert uses, f"README.md does not show vtok {name}"
        commands = [command, *getattr(command, "commands", {}).values()]
        known = {option for each in commands for parameter in each.params for option in parameter.opts}
        written = {option for use in uses for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", use)}
        assert written <= known, f"vtok {name} has no option {written - known}"


def test_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not Path(ROOT / link).exists()] == []
