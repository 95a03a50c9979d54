"""Ray: a cluster of two machines, both here, of which one is killed while a batch runs on it."""

import os
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from support.batches import MODEL, SETTINGS, SPLIT, assert_same_files, jobs_of
from support.videos import ROOT
from vtok.batch.engines import start_engine
from vtok.batch.plan import Status
from vtok.batch.worker import WorkerLostError
from vtok.batch.workers import BatchSettings, encode_batch
from vtok.cli.app import app
from vtok.container.verification import is_sound
from vtok.errors import ConfigError, MediaError

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'vtok[ray]'")

# A dead node is found out within a second, and not within half a minute.
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200, "health_check_failure_threshold": 5}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one processor each; this process is connected to the first."""
    from ray.cluster_utils import Cluster

    if sys.stderr is None:
        pytest.skip("Ray does not start without standard error")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": SOON})
        cluster.second = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, logging_level="warning", log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def test_a_cluster_writes_what_one_process_writes_with_a_node_killed_on_the_way(
    cluster,
    videos,
    tmp_path,
):
    from support import worker_tasks

    (tmp_path / "nodes").mkdir()
    (tmp_path / "doomed").write_text(cluster.second.node_id)

    def kill_second_node():
        """Kill it while it waits before it hands back the result of its second task, which is written by then."""
        done = tmp_path / "nodes" / cluster.second.node_id
        while not (done.exists() and done.read_text().count("\n") == 2):
            time.sleep(0.02)
        cluster.remove_node(cluster.second, allow_graceful=False)

    with closing(start_engine("ray", num_workers=None, num_threads=1)) as engine:
        assert engine.num_workers == 2
        run = engine.run
        engine.run = lambda function, *arguments: run(
            worker_tasks.do_and_wait, function, str(tmp_path / "nodes"), arguments
        )
        killer = threading.Thread(target=kill_second_node)
        killer.start()
        told = []
        jobs = jobs_of(videos, tmp_path / "out")
        batch = encode_batch(jobs, engine, SETTINGS, SPLIT, told=lambda job, result: told.append(job))
        killer.join()
        engine.run = run
        assert [file.status for file in batch.files] == [Status.DONE] * 3
        assert sorted(told, key=lambda job: job.source) == batch.files
        assert sum(file.num_retries for file in batch.files) == 1
        done = {path.name: path.read_text().count("\n") for path in (tmp_path / "nodes").iterdir()}
        assert len(done) == 2
        assert sum(done.values()) == 6 + 1  # two files and four ranges, and the one that was lost once more
        assert_same_files(videos, tmp_path / "out")

        resumed = encode_batch(jobs, engine, SETTINGS, BatchSettings(overwrite=True), skip=is_sound)
        assert [file.status for file in resumed.files] == [Status.SKIPPED] * 3
        with pytest.raises(MediaError, match="this message"):
            engine.run(worker_tasks.fail, "this message")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ray.exceptions.WorkerCrashedError(), WorkerLostError),
        (ray.exceptions.NodeDiedError("gone"), WorkerLostError),
        (ray.exceptions.ObjectLostError("00" * 28, None, ""), WorkerLostError),
        (ray.exceptions.RuntimeEnvSetupError("no such environment"), ray.exceptions.RuntimeEnvSetupError),
    ],
)
def test_only_what_is_lost_counts_as_lost(error, raised, cluster, monkeypatch):
    def get(reference):
        raise error

    with closing(start_engine("ray", num_workers=1, num_threads=1)) as engine:
        monkeypatch.setattr(ray, "get", get)
        with pytest.raises(raised):
            engine.run(os.getpid)


def test_names_mean_what_they_mean_here(cluster, videos, tmp_path, monkeypatch, cli_runner):
    monkeypatch.chdir(tmp_path)
    Path("in").symlink_to(videos)
    with closing(start_engine("ray", num_workers=1, num_threads=1)) as engine:
        batch = encode_batch(jobs_of(Path("in"), "out", ("z.mp4",)), engine, SETTINGS)
        assert batch.files[0].target == "out/z.vtok"
        assert Path("out/z.vtok").read_bytes() == (videos / "z.vtok").read_bytes()
    options = ["--engine", "ray", "--model", str(MODEL), "--keyframe-seconds", "0.64"]
    done = cli_runner.invoke(app, ["encode", "in/a.mp4", "-o", "by-command", *options])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "1 file: 1 done")
    assert Path("by-command/a.vtok").read_bytes() == (videos / "a.vtok").read_bytes()
    with pytest.raises(ConfigError, match=r"threads is 64; the machines of the cluster have \[1(, 1)?\] processors"):
        start_engine("ray", num_workers=None, num_threads=64)
