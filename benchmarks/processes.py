"""Measurements in fresh processes, so that none of them pays for, or profits from, another.

    run("benchmarks.collecting", url=..., symbols=["BTC/USDT"])  # the dict that benchmarks.collecting.measure returned

Here belong starting such a process and what it can know of itself: CPU time and peak memory.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent


def run(module: str, **arguments: Any) -> dict[str, Any]:
    """What `measure(**arguments)` of `module` returns in a new interpreter. Raises RuntimeError when it breaks."""
    command = [sys.executable, "-m", "benchmarks.processes", module, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def cpu_seconds() -> float:
    """User and system time of this process so far; what other processes do on the same cores does not show in it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_megabytes() -> float:
    """The largest resident size of this process so far, in MB of 1,000,000 bytes.

    From /proc where there is one: the kernel's `ru_maxrss` also counts the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps(importlib.import_module(sys.argv[1]).measure(**json.loads(sys.argv[2]))))
