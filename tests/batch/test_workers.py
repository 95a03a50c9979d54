"""Batches on workers: the same bytes as one after the other, with workers lost on the way."""

import os
import time
from contextlib import closing
from dataclasses import replace

import pytest

from support.batches import SETTINGS, SPLIT, EngineHere, assert_same_files, jobs_of
from vtok.batch.engines import LocalEngine
from vtok.batch.plan import Status
from vtok.batch.ranges import UnrepeatableError
from vtok.batch.tasks import Outcome, encode_part
from vtok.batch.worker import WorkerLostError
from vtok.batch.workers import BatchSettings, encode_batch
from vtok.container.verification import is_sound
from vtok.files.encode import encode_with
from vtok.files.goals import Goal
from vtok.files.passes import Passes


def test_processes_write_what_one_writes(videos, tmp_path):
    (videos / "broken.mp4").write_text("not a video")
    told, frames = [], []
    jobs = jobs_of(videos, tmp_path / "out", ("a.mp4", "broken.mp4", "long.mkv", "z.mp4"))
    with closing(LocalEngine(2)) as engine:
        batch = encode_batch(
            jobs, engine, SETTINGS, SPLIT, told=lambda job, result: told.append((job, result)), advance=frames.append
        )
    assert [file.status for file in batch.files] == [Status.DONE, Status.FAILED, Status.DONE, Status.DONE]
    assert [file.source for file in batch.files] == [str(job.source) for job in jobs]
    assert "broken.mp4: " in batch.files[1].error
    assert batch.files[2].result["num_frames"] == 101
    assert sorted((job for job, _ in told), key=lambda job: job.source) == batch.files
    assert sum(frames) == 20 + 101 + 9
    assert_same_files(videos, tmp_path / "out")


def test_long_videos_are_split_and_what_is_there_is_left_out(videos, tmp_path):
    engine = EngineHere()
    encode_batch(jobs_of(videos, tmp_path), engine, SETTINGS, SPLIT)
    assert sorted(engine.tasks) == [
        *[("encode_part", "long.mkv")] * 4,
        ("encode_whole", "a.mp4"),
        ("encode_whole", "z.mp4"),
    ]
    assert_same_files(videos, tmp_path)

    (tmp_path / "z.vtok").write_bytes((tmp_path / "z.vtok").read_bytes()[:-1])
    refused = encode_batch(jobs_of(videos, tmp_path), EngineHere(), SETTINGS, SPLIT, skip=is_sound)
    assert [file.status for file in refused.files] == [Status.SKIPPED, Status.SKIPPED, Status.FAILED]
    assert "z.vtok: exists already" in refused.files[2].error
    again = EngineHere()
    encode_batch(jobs_of(videos, tmp_path), again, SETTINGS, BatchSettings(overwrite=True), skip=is_sound)
    assert again.tasks == [("encode_whole", "z.mp4")]
    assert_same_files(videos, tmp_path)

    for unsplit in (BatchSettings(split_seconds=0, overwrite=True), BatchSettings(overwrite=True)):
        engine = EngineHere()
        encode_batch(jobs_of(videos, tmp_path), engine, SETTINGS, unsplit)
        assert {name for name, _ in engine.tasks} == {"encode_whole"}
    assert_same_files(videos, tmp_path)


@pytest.mark.parametrize(("goal", "processes"), [(Goal("size", 61_000), 2), (Goal("psnr", 10.75), 0)])
def test_groups_of_a_long_video_are_coded_for_a_goal_by_all_workers(goal, processes, videos, tmp_path):
    options = replace(SETTINGS, goal=goal, keyframe_seconds=0.32, start_seconds=0.5)
    encode_with(options, videos / "long.mkv", tmp_path / "one.vtok")
    engine = EngineHere("before")
    (job,) = jobs_of(videos, tmp_path, ["long.mkv"])
    (file,) = encode_batch([job], engine, options, SPLIT).files
    assert (file.status, file.error) == (Status.DONE, None)
    assert job.target.read_bytes() == (tmp_path / "one.vtok").read_bytes()
    assert {name for name, _ in engine.tasks} == {"code_group"}
    assert file.num_retries == len(engine.tasks) // 2 > 11
    if processes:
        job.target.unlink()
        with closing(LocalEngine(processes)) as workers:
            encode_batch([job], workers, options, SPLIT)
        assert job.target.read_bytes() == (tmp_path / "one.vtok").read_bytes()


def test_few_groups_wait_for_workers_in_memory(videos, tmp_path, monkeypatch):
    sent, waiting, code = [], [], Passes.code

    def counted(self, *arguments, **options):
        sent.append(arguments)
        return code(self, *arguments, **options)

    class Slow(EngineHere):
        def run(self, function, *arguments):
            time.sleep(0.05)
            waiting.append(len(sent) - len(waiting))
            return super().run(function, *arguments)

    monkeypatch.setattr(Passes, "code", counted)
    options = replace(SETTINGS, goal=Goal("psnr", 10.75), keyframe_seconds=0.32)
    encode_batch(jobs_of(videos, tmp_path, ["long.mkv"]), Slow(), options, SPLIT)
    assert len(waiting) > 12
    assert max(waiting) <= Slow.num_workers + 2  # at work, the next, and the one that cannot be sent yet


@pytest.mark.parametrize("when", ["before", "after"])
def test_tasks_of_lost_workers_are_done_again(videos, tmp_path, when):
    engine = EngineHere(when)
    batch = encode_batch(jobs_of(videos, tmp_path), engine, SETTINGS, SPLIT)
    assert [file.status for file in batch.files] == [Status.DONE] * 3
    assert [file.num_retries for file in batch.files] == [1, 4, 1]
    assert len(engine.tasks) == 2 * 6
    assert_same_files(videos, tmp_path)


def test_tasks_that_are_lost_each_time_fail_and_leave_nothing(videos, tmp_path):
    class Engine(EngineHere):
        def run(self, function, source, *rest):
            if source.name == "long.mkv" and rest[0].first_frame:
                raise WorkerLostError
            return super().run(function, source, *rest)

    batch = encode_batch(jobs_of(videos, tmp_path), Engine(), SETTINGS, SPLIT)
    assert [file.status for file in batch.files] == [Status.DONE, Status.FAILED, Status.DONE]
    assert batch.files[1].error.endswith("long.mkv: the process at work on it was lost, 3 times")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.vtok", "z.vtok"]


def test_what_the_system_refused_is_tried_again_and_what_the_input_is_to_blame_for_is_not(videos, tmp_path):
    class Engine(EngineHere):
        def run(self, function, source, *rest):
            first = source.name not in [name for _, name in self.tasks]
            outcome = super().run(function, source, *rest)
            return Outcome(error=OSError(5, os.strerror(5), str(source))) if first else outcome

    (videos / "text.mp4").write_text("not a video")
    engine = Engine()
    batch = encode_batch(jobs_of(videos, tmp_path, ("a.mp4",)), engine, SETTINGS)
    assert (batch.files[0].status, batch.files[0].num_retries) == (Status.DONE, 1)
    engine = EngineHere()
    batch = encode_batch(jobs_of(videos, tmp_path, ("text.mp4",)), engine, SETTINGS)
    assert (batch.files[0].status, batch.files[0].num_retries) == (Status.FAILED, 0)
    assert len(engine.tasks) == 1


def test_a_video_that_cannot_be_split_is_encoded_in_one_piece(videos, tmp_path):
    class Engine(EngineHere):
        def run(self, function, source, *rest):
            if function is encode_part and rest[0].first_frame:
                return Outcome(error=UnrepeatableError("other frames"))
            return super().run(function, source, *rest)

    engine = Engine()
    batch = encode_batch(jobs_of(videos, tmp_path), engine, SETTINGS, SPLIT)
    assert batch.files[1].result["notices"] == ["encoded in one piece: other frames"]
    assert ("encode_whole", "long.mkv") in engine.tasks
    assert_same_files(videos, tmp_path)


def test_a_programs_own_fault_ends_the_batch(videos, tmp_path):
    class Engine(EngineHere):
        def run(self, function, *arguments):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        encode_batch(jobs_of(videos, tmp_path), Engine(), SETTINGS)
