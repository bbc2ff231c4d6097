"""Memory and CPU time of a process, from the kernel (Linux, proc(5))."""

from __future__ import annotations

from pathlib import Path

_RESET_PEAK = "5"


def resident_bytes(pid: int) -> int:
    """Resident memory, private and shared."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """Peak of the resident memory since `reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Resets the peak to the current resident memory."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def cpu_s(pid: int) -> float:
    """CPU time of all live threads in nanosecond resolution (`/proc/PID/stat` has only hundredths of a second)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks) / 1e9


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/status has no {name}.")
