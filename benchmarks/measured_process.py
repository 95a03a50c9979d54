"""Run a command and print what it took, as JSON.

A process of its own, and a small one: the peak memory of a child is never less than that of whoever started it.

Example: python -S measured_process.py vtok info clip.vtok
"""

import json
import os
import subprocess
import sys
from time import perf_counter

start = perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = perf_counter() - start
processor = usage.ru_utime + usage.ru_stime
print(json.dumps({"status": status, "wall": seconds, "processor": processor, "peak_mb": usage.ru_maxrss * 1024 / 1e6}))
