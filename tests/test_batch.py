"""Batches: where files go, what is skipped, and that one failure does not end the rest."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from vtok.batch.plan import BatchResult, Job, JobResult, Status, plan_batch, run_batch
from vtok.errors import ConfigError, MediaError


@dataclass
class Done:
    incomplete: str | None = None


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.mp4", "in/sub/b.MKV", "in/sub/notes.txt", "in/.cache/c.mp4", "in/.d.mp4", "e.avi"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_folders_are_mirrored_and_files_go_to_the_root(tree):
    assert plan_batch(["in", "e.avi"], "out", suffix=".vtok") == [
        Job(Path("in/a.mp4"), Path("out/a.vtok")),
        Job(Path("in/sub/b.MKV"), Path("out/sub/b.vtok")),
        Job(Path("e.avi"), Path("out/e.vtok")),
    ]
    # A file that is named is taken whatever it is called, or whether it is there: reading it will tell.
    assert plan_batch(["x.data"], "out", suffix=".mp4") == [Job(Path("x.data"), Path("out/x.mp4"))]


def test_what_cannot_be_planned_is_refused_before_anything_is_done(tree):
    (tree / "e.mp4").touch()
    with pytest.raises(ConfigError, match=r"e.avi and e.mp4 would both become out/e.vtok"):
        plan_batch(["e.avi", "e.mp4"], "out", suffix=".vtok")
    with pytest.raises(ConfigError, match=r"e.avi: is an input too"):
        plan_batch(["e.avi"], ".", suffix=".avi")
    (tree / "empty").mkdir()
    with pytest.raises(MediaError, match=r"empty: no files ending in .*\.mkv"):
        plan_batch(["empty"], "out", suffix=".vtok")


def test_a_batch_goes_on_after_a_failure(tree):
    told = []

    def work(job):
        if job.source.name == "a.mp4":
            raise MediaError("a.mp4: broken")
        job.target.write_text("done")
        return Done("cut off" if job.source.name == "e.avi" else None)

    jobs = plan_batch(["in", "e.avi"], "out", suffix=".vtok")
    result = run_batch(jobs, work, told=told.append)
    assert [file.status for file in result.files] == [Status.FAILED, Status.DONE, Status.INCOMPLETE]
    assert told == result.files
    assert result.files[0] == JobResult(
        source="in/a.mp4", target="out/a.vtok", status=Status.FAILED, error="a.mp4: broken"
    )
    assert result.files[2].result == {"incomplete": "cut off"}
    assert result.summary() == "3 files: 1 done, 1 incomplete, 1 failed"
    assert Path("out/sub/b.vtok").read_text() == "done"

    again = run_batch(jobs, work, skip=lambda target: target.read_text() == "done")
    assert [file.status for file in again.files] == [Status.FAILED, Status.SKIPPED, Status.SKIPPED]


def test_a_dry_run_touches_nothing(tree):
    jobs = plan_batch(["in"], "out", suffix=".vtok")
    result = run_batch(jobs, lambda job: pytest.fail("work was done"), dry_run=True)
    assert [file.status for file in result.files] == [Status.PLANNED] * 2
    assert not Path("out").exists()
    assert BatchResult(files=[]).summary() == "0 files: nothing to do"


def test_a_programs_own_fault_is_not_hidden(tree):
    with pytest.raises(ZeroDivisionError):
        run_batch([Job(Path("a"), Path("b"))], lambda job: 1 // 0)
