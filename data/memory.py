"""How much memory there is, for those who would rather say no than be killed."""

import os
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def available_memory() -> int:
    """Bytes that can be had now: what Linux says is available, at most what the container may have; else all of it."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = _MEMINFO.read_text().splitlines() if _MEMINFO.exists() else []
    kibibytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    limit = _CONTAINER.read_text().strip() if _CONTAINER.exists() else ""
    return min([machine, *(int(one) << 10 for one in kibibytes), *([int(limit)] if limit.isdecimal() else [])])
