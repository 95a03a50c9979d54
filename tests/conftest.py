"""Fixtures that several test modules share."""

import signal
import sys

import pytest
from typer.testing import CliRunner

from support.commands import Outcome
from support.models import new_tiny_tokenizer
from support.training_runs import TINY
from support.training_runs import write_video as write_textures
from support.videos import truncated, write_video
from vtok.cli.app import main
from vtok.container.reader import ContainerReader
from vtok.files.encode import encode_file
from vtok.model.tokenizer import VideoTokenizer
from vtok.training.clip_cache import build_clip_cache, find_videos
from vtok.training.config import load_config


@pytest.fixture
def tiny_tokenizer() -> VideoTokenizer:
    return new_tiny_tokenizer()


@pytest.fixture
def cli_runner() -> CliRunner:
    """Runs the command line in this process."""
    return CliRunner()


@pytest.fixture
def vtok(monkeypatch, capfd, tmp_path):
    """Runs the program in this process, in a folder of its own, and returns what a shell would see of it."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started this with SIGINT ignored

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vtok", *map(str, arguments)])
        sys.stdout.reconfigure(errors="strict")  # as in a UTF-8 locale
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main()
        return Outcome(exited.value.code or 0, *capfd.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Files that tests read: good ones, and some with something wrong, named after it."""
    folder = tmp_path_factory.mktemp("made")
    source = write_video(folder / "good.mp4", num_frames=24)
    write_video(folder / "short.mp4", num_frames=8)
    write_video(folder / "other_size.mp4", num_frames=24, size=(32, 48))
    encode_file(source, folder / "good.vtok", keyframe_seconds=0.3)
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("not a video, and not a .vtok file either\n" * 100)
    (folder / "folder.vtok").mkdir()
    truncated(folder / "good.vtok", folder / "truncated.vtok", share=0.6)
    data = bytearray((folder / "good.vtok").read_bytes())
    with (folder / "good.vtok").open("rb") as file:
        second = ContainerReader(file).read_index().locations[1]
    data[second.byte_offset + 70] ^= 4
    (folder / "flipped_bit.vtok").write_bytes(data)
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for split, seeds in (("train", (0, 1)), ("validation", (2,))):
        (root / split).mkdir()
        for seed in seeds:
            write_textures(root / split / f"{seed}.mp4", seed=seed)
    (root / "tiny.toml").write_text(TINY)
    config = load_config(root / "tiny.toml")
    caches = {
        split: build_clip_cache(find_videos(root / split), root / "cache" / split, config.cache, quiet=True)
        for split in ("train", "validation")
    }
    return root, config, caches
