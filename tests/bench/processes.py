"""What the kernel says of a process: its memory and its CPU time (Linux, proc(5))."""

from __future__ import annotations

from pathlib import Path

_RESET_PEAK = "5"


def resident_bytes(pid: int) -> int:
    """Memory that is resident now, private and shared."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most that was resident since `reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Begins a new peak at what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def cpu_s(pid: int) -> float:
    """CPU time of all threads that live now, to the nanosecond (`/proc/PID/stat` counts in hundredths)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks) / 1e9


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/status has no {name}.")
