"""Tasks for the tests of engines: functions that other processes import."""

import os
import signal
import time
from pathlib import Path

import torch

from vtok.errors import MediaError


def process_and_threads():
    return os.getpid(), torch.get_num_threads()


def fail(message):
    raise MediaError(message)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(flag, value):
    """Ends its process the first time it is run with this flag."""
    if not Path(flag).exists():
        Path(flag).touch()
        die()
    return value


def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.01)
    return path


def tell_and_sleep(path):
    """Leaves a file behind if it is ended like a program, and not outright."""
    Path(f"{path}.pid").write_text(str(os.getpid()))
    try:
        Path(path).write_text("begun")
        time.sleep(60)
    finally:
        Path(path).write_text("ended")


def do_and_wait(function, folder, arguments):
    """Do a task, say so in a file of the node's name, and wait a little before its result goes back.

    The node that `doomed` beside the folder names waits after its second task until it is killed.
    """
    import ray

    result = function(*arguments)
    node = Path(folder) / ray.get_runtime_context().get_node_id()
    with node.open("a") as file:
        file.write("done\n")
    is_doomed = Path(folder).with_name("doomed").read_text() == node.name
    time.sleep(300 if is_doomed and node.read_text().count("\n") == 2 else 1)
    return result
