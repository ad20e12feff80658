"""Where a figure was measured: the commit and state of the source, the machine."""

import os
import platform
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.figures.catalogue import ROOT

NOT_MEASURED = ("docs", "tests", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "bench/figures", ".ci", ".gitignore")
"""Paths whose changes change no figure."""


def git(*arguments: str) -> str:
    """What git prints; raises CalledProcessError."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def source_state() -> dict[str, str]:
    """The commit (with a mark if files differ from it), and a digest of every file that can change a figure."""
    excluded = [f":(exclude){path}" for path in NOT_MEASURED]
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *excluded).strip()
    digest = sha256(git("ls-files", "-s", "--", ".", *excluded).encode() + git("diff", "--", ".", *excluded).encode())
    commit = git("rev-parse", "--short", "HEAD").strip()
    return {"commit": commit + (" with uncommitted changes" if changed else ""), "source": digest.hexdigest()[:16]}


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, Python, and how busy the machine is now."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(kib / 2**20),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
