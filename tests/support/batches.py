"""A batch of three videos, one of them long, and what it has to become."""

from pathlib import Path

from support.videos import ROOT
from vtok.batch.plan import Job
from vtok.batch.workers import BatchSettings
from vtok.files.options import EncodeOptions

MODEL = ROOT / "tests" / "golden" / "tiny.safetensors"


SETTINGS = EncodeOptions(model=str(MODEL), keyframe_seconds=0.64, verify=True)


SPLIT = BatchSettings(split_seconds=1.28)


def jobs_of(videos, folder, names=("a.mp4", "long.mkv", "z.mp4")):
    return [Job(videos / name, Path(folder) / Path(name).with_suffix(".vtok")) for name in names]


def assert_same_files(videos, folder):
    """The folder has the three files, each with the bytes of a single process, and nothing else."""
    assert sorted(path.name for path in Path(folder).iterdir()) == ["a.vtok", "long.vtok", "z.vtok"]
    for path in Path(folder).iterdir():
        assert path.read_bytes() == (videos / path.name).read_bytes()
