"""Fixtures of batches."""

import pytest

from support.batches import SETTINGS
from support.videos import write_video, write_video_with_sound
from vtok.files.encode import encode_with


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three videos, one of them long, and what a single process makes of them."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "a.mp4", num_frames=20)
    write_video_with_sound(folder / "long.mkv", [("aac", 44100, "stereo")], num_frames=101, seconds=4)
    write_video(folder / "z.mp4", num_frames=9)
    for source in ("a.mp4", "long.mkv", "z.mp4"):
        target = (folder / source).with_suffix(".vtok")
        encode_with(SETTINGS, folder / source, target)
    return folder
