"""Engines: tasks run elsewhere, lost workers are told apart from failed tasks, and nothing outlives its engine."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from support import worker_tasks
from support.videos import ROOT
from vtok.batch.engines import LocalEngine, num_processors, start_engine
from vtok.batch.worker import WorkerLostError
from vtok.errors import ConfigError, MediaError


def is_alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)


def test_tasks_run_in_processes_that_divide_the_processors():
    with closing(LocalEngine(2)) as engine, ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: engine.run(worker_tasks.process_and_threads), range(4)))
        processes = {process for process, _ in results}
        assert 1 <= len(processes) <= 2
        assert os.getpid() not in processes
        assert {number for _, number in results} == {max(1, num_processors() // 2)}
        with pytest.raises(MediaError, match="this message"):
            engine.run(worker_tasks.fail, "this message")
        assert engine.run(worker_tasks.process_and_threads)[0] in processes | {results[0][0]}
    assert not any(map(is_alive, processes))


def test_a_lost_worker_takes_no_other_task_with_it(tmp_path):
    with closing(LocalEngine(2, 3)) as engine, ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(engine.run, worker_tasks.wait_for, str(tmp_path / "go"))
        with pytest.raises(WorkerLostError):
            engine.run(worker_tasks.die)
        (tmp_path / "go").touch()
        assert waiting.result() == str(tmp_path / "go")
        assert engine.run(worker_tasks.process_and_threads)[1] == 3


def test_closing_ends_workers_like_programs(tmp_path):
    engine = LocalEngine(1)
    with ThreadPoolExecutor(1) as threads:
        task = threads.submit(engine.run, worker_tasks.tell_and_sleep, str(tmp_path / "said"))
        until((tmp_path / "said").exists)
        engine.close()
        with pytest.raises(WorkerLostError):
            task.result()
    assert (tmp_path / "said").read_text() == "ended"
    with pytest.raises(ConfigError, match="the engine is closed"):
        engine.run(worker_tasks.process_and_threads)


def test_workers_end_when_their_engine_is_killed(tmp_path):
    script = (
        "import sys; from support import worker_tasks; from vtok.batch.engines import LocalEngine\n"
        "if __name__ == '__main__': LocalEngine(1).run(worker_tasks.tell_and_sleep, sys.argv[1])"
    )
    (tmp_path / "main.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    said = tmp_path / "said"
    process = subprocess.Popen([sys.executable, tmp_path / "main.py", said], env=environment)
    until(lambda: said.exists() and said.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: said.read_text() == "ended")
    until(lambda: not is_alive(int((tmp_path / "said.pid").read_text())))


def test_engines_are_named(monkeypatch):
    with pytest.raises(ConfigError, match="engine is 'spark'; expected one of local, ray"):
        start_engine("spark", num_workers=1, num_threads=1)
    monkeypatch.setitem(sys.modules, "vtok.batch.ray_engine", None)
    with pytest.raises(ConfigError, match=r"engine is 'ray', which cannot be imported.*Install vtok\[ray\]"):
        start_engine("ray", num_workers=1, num_threads=1)
    with closing(start_engine("local", num_workers=None, num_threads=None)) as engine:
        assert engine.num_workers == num_processors()
