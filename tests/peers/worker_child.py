"""What tests/peers/test_processes.py starts as a process of its own: says something, then ends as it is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import workers

how, path = sys.argv[1], Path(sys.argv[3])
workers.say(path, {"said": how})
print("a last word")
sys.stdout.flush()
if how == "hangs":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    workers.say(path, {"child": child.pid})
    time.sleep(600)
if how == "is left alone":
    workers.end_with_parent()
    workers.say(path, {"child": os.getpid()})
    time.sleep(600)
if how == "fails":
    sys.exit(3)
if how == "crashes":
    os.abort()
workers.say(path, {"said": "all"})
