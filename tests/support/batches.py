"""A batch of three videos, one of them long, and what it has to become."""

from pathlib import Path

from support.videos import ROOT
from vtok.batch.plan import Job
from vtok.batch.worker import WorkerLostError
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


class EngineHere:
    """Runs tasks in this process; each first time, it says before or after that the task was lost."""

    num_workers = 2

    def __init__(self, lost=None):
        self.lost = lost
        self.tasks, self.tried = [], set()

    def run(self, function, *arguments):
        self.tasks.append((function.__name__, arguments[0].name))
        is_first = arguments[:2] not in self.tried
        self.tried.add(arguments[:2])
        if is_first and self.lost == "before":
            raise WorkerLostError
        outcome = function(*arguments)
        if is_first and self.lost == "after":
            raise WorkerLostError
        return outcome

    def close(self):
        pass
