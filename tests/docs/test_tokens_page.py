"""docs/tokens.md is run: its commands and snippets, in their order and in one folder, with a shorter training."""

import importlib.util
from statistics import mean

import pytest

from support.pages import BLOCK, SHELL, run_shell, shell_lines
from support.videos import ROOT, cut_sample

PAGE = ROOT / "docs" / "tokens.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "sample_videos").mkdir()
    cut_sample(tmp_path / "sample_videos" / "bigbuckbunny.mp4", num_frames=40)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_runs_and_the_model_learns(folder, cli_runner):
    text = PAGE.read_text()
    assert text.count("\nnum_steps = 500\n") == 1
    names = {"__name__": "__main__"}
    has_webdataset = importlib.util.find_spec("webdataset") is not None
    for language, block in BLOCK.findall(text.replace("\nnum_steps = 500\n", "\nnum_steps = 30\n")):
        if language in SHELL:
            for words in shell_lines(block):
                if has_webdataset or "webdataset" not in words:
                    run_shell(words, cli_runner)
        elif has_webdataset or "webdataset" not in block:
            assert language == "python"
            exec(compile(block, f"tokens.md: {block.splitlines()[0]} ...", "exec"), names)
    losses = names["losses"]
    assert 30 <= len(losses) < 40
    assert mean(losses[-5:]) < mean(losses[:2]) - 1
    assert names["tokens"].shape == (5, 384, 45, 80)
    assert (folder / "generated.mp4").stat().st_size > 1000
    if not has_webdataset:
        pytest.skip("all of it ran but the shards: the package webdataset is not installed")
