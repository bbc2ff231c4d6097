"""The daemon's settings. Flags override the environment, which overrides the TOML file, which overrides the defaults.

A setting is a field of `Settings`. Its name is the key in the file, `HOLDFAST_` and the name in capitals is its environment
variable, and the name with dashes (without a trailing `_s`) is its flag. Every value is checked; an error names the key, the
value, where it was set and what is allowed. Only `__main__` and tests call `load_settings`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from holdfast.contract.places import runtime_dir
from holdfastd.errors import SetupError
from holdfastd.model.inline_limits import InlineLimits

Validate = Callable[[Any], Any]
"""Converts text or a TOML value to the setting's type. Raises ValueError with what is allowed."""

_ENVIRONMENT_PREFIX = "HOLDFAST_"
# These two environment variables also work without the prefix. The variable with the prefix overrides them.
_PLAIN_NAMES = {"persistence": "PERSISTENCE", "persist_db_path": "PERSIST_DB_PATH"}
_UNITS = {"": 1, "K": 1 << 10, "KIB": 1 << 10, "M": 1 << 20, "MIB": 1 << 20, "G": 1 << 30, "GIB": 1 << 30}
_SIZE = re.compile(r"\s*(\d+)\s*((?:[KMG](?:iB)?)?)\s*", re.IGNORECASE | re.ASCII)
_DEFAULT = "default"
_TRUE, _FALSE = ("true", "on", "yes", "1"), ("false", "off", "no", "0")


def _whole(low: int, high: int) -> Validate:
    def check(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def _size(low: int, high: int) -> Validate:
    in_bytes = _whole(low, high)

    def check(value: Any) -> int:
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        try:
            return int(in_bytes(int(found[1]) * _UNITS[found[2].upper()] if found else value))
        except ValueError:
            raise ValueError(f"a size from {size_text(low)} to {size_text(high)}, in bytes or as 64K, 512M or 1GiB") from None

    return check


def size_text(size_bytes: int) -> str:
    """The size in the largest unit in which it is a whole number: 32 KiB, 1 GiB; without a unit if that is bytes."""
    unit = next((each for each in ("GiB", "MiB", "KiB") if size_bytes and size_bytes % _UNITS[each.upper()] == 0), "")
    return f"{size_bytes // _UNITS[unit.upper()]} {unit}" if unit else str(size_bytes)


def _inline_limits(low: int, high: int) -> Validate:
    """A size, `SIZE,KIND=SIZE` in text, or a table with `default` and kinds. `default` is the size of the other kinds."""
    size = _size(low, high)

    def check(value: Any) -> InlineLimits:
        try:
            given = value if isinstance(value, dict) else _named_values(value)
            limits = {name: size(each) for name, each in given.items()}
            if limits.keys() - {_DEFAULT, *kinds_with_blobs()}:
                raise ValueError
            return InlineLimits(limits.pop(_DEFAULT, _INLINE_LIMITS.default), limits)
        except ValueError:
            kinds = ", ".join(sorted(kinds_with_blobs()))
            raise ValueError(
                f"a size from {size_text(low)} to {size_text(high)}, in bytes or as 64K, and others for chosen kinds, as"
                f" 32K,checkpoint=0 (kinds with blobs: {kinds})"
            ) from None

    return check


def _named_values(value: Any) -> dict[str, Any]:
    """The parts of a text by their names; `default` for the part without one. ValueError when two have the same name."""
    parts = value.split(",") if isinstance(value, str) else [value]
    pairs = [each.partition("=") if isinstance(each, str) and "=" in each else (_DEFAULT, "=", each) for each in parts]
    found = {name.strip(): size for name, _, size in pairs}
    if len(found) < len(pairs):
        raise ValueError
    return found


def kinds_with_blobs() -> set[str]:
    """The kinds and journals with fields that name blobs."""
    from holdfast.contract.kinds import KINDS, STORED_JOURNALS  # imported late: few starts need it here

    return {each.name for each in (*KINDS.values(), *STORED_JOURNALS.values()) if each.blobs}


def _zero_or(check: Validate) -> Validate:
    def check_both(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            if str(value).strip() == "0" and not isinstance(value, bool):
                return 0
            raise ValueError(f"0 or {error}") from None

    return check_both


def _seconds(low: float, high: float) -> Validate:
    def check(value: Any) -> float:
        if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"seconds, from {low:g} to {high:g}")
        return float(value)

    return check


def _switch(value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in _TRUE + _FALSE:
        return value.strip().lower() in _TRUE
    if not isinstance(value, bool):
        raise ValueError("on or off")
    return value


def _choice(*allowed: str) -> Validate:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(" or ".join(allowed))
        return str(value)

    return check


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("a path")
    return Path(os.path.abspath(Path(value).expanduser()))


_MEMORY = (
    "memory for requests and answers, 256 MiB or more; 0: an eighth of the machine's memory or of the control group's limit, "
    "but at least 256 MiB and at most 1 GiB"
)
_DATA_DIR = "$XDG_DATA_HOME/holdfast, else ~/.local/share/holdfast"
_SOCKET = "$XDG_RUNTIME_DIR/holdfast/holdfast.sock, else /tmp/holdfast-UID/holdfast.sock"
_INLINE = (
    "blobs up to this compressed size, at most 1 MiB, are stored in the database; with KIND=SIZE those of a kind, such as"
    " 32K,checkpoint=0"
)
_INLINE_LIMITS = InlineLimits()


def _setting(default: Any, check: Validate, text: str, metavar: str = "N") -> Any:
    return field(default=default, metadata={"check": check, "help": text, "metavar": metavar})


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `load_settings` creates it, and derives the paths that were not given."""

    data_dir: Path = field(metadata={"check": _path, "help": "where the store is kept", "metavar": "DIR", "shown": _DATA_DIR})
    socket: Path = field(metadata={"check": _path, "help": "the Unix socket to listen on", "metavar": "PATH", "shown": _SOCKET})
    persistence: str = _setting(
        "sqlite", _choice("sqlite", "memory"), "memory: the store is deleted when the daemon stops", "sqlite|memory"
    )
    persist_db_path: Path | None = field(
        default=None, metadata={"check": _path, "help": "the database file; the other files are in PATH.d", "metavar": "PATH"}
    )
    idle_exit_s: float = _setting(0.0, _seconds(0, 1e9), "stop after this long without a call; 0: never", "SECONDS")
    grace_s: float = _setting(10.0, _seconds(0, 3600), "time for calls in progress when the daemon stops", "SECONDS")
    default_timeout_s: float = _setting(60.0, _seconds(0.1, 86400), "deadline of short calls that set none", "SECONDS")
    unary_threads: int = _setting(32, _whole(1, 1024), "threads for short calls")
    stream_threads: int = _setting(256, _whole(1, 8192), "threads for streams; each open stream occupies one")
    connections_max: int = _setting(4_096, _whole(1, 1_000_000), "connections that may be open")
    user_connections_max: int = _setting(
        1_024, _whole(1, 1_000_000), "connections that one user may have open; one process at most half of them"
    )
    preface_timeout_s: float = _setting(5.0, _seconds(0.1, 3600), "time for a new connection to send its first bytes", "SECONDS")
    memory_max_bytes: int = _setting(0, _zero_or(_size(256 << 20, 1 << 40)), _MEMORY, "SIZE")
    readers: int = _setting(6, _whole(1, 64), "read-only connections to the database")
    writer_queue_max: int = _setting(10_000, _whole(1, 1_000_000), "commits that may be queued for the writer")
    batch_max: int = _setting(1_000, _whole(1, 100_000), "commits in one batch of the writer")
    inline_max_bytes: InlineLimits = field(
        default=_INLINE_LIMITS, metadata={"check": _inline_limits(0, 1 << 20), "help": _INLINE, "metavar": "SIZE,KIND=SIZE"}
    )
    delta: bool = _setting(True, _switch, "whether blobs may be stored as the difference from a base", "on|off")
    lease_s: float = _setting(3600.0, _seconds(1, 1e9), "how long a blob that no record refers to is kept", "SECONDS")
    sweep_interval_s: float = _setting(300.0, _seconds(1, 1e9), "time between blob sweeps", "SECONDS")
    checkpoint_interval_s: float = _setting(1.0, _seconds(1, 3600), "time between checks of the write-ahead log", "SECONDS")
    housekeeping_interval_s: float = _setting(300.0, _seconds(1, 1e9), "time between runs of housekeeping", "SECONDS")
    request_retention_s: float = _setting(3600.0, _seconds(1, 1e9), "how long answers to request ids are kept", "SECONDS")
    request_retention_commits: int = _setting(
        1_000_000, _whole(1, 1 << 62), "answers to request ids are kept for at most this many later commits"
    )
    force_nonlocal: bool = _setting(False, _switch, "accept a network file system; can corrupt the store", "on|off")
    log_level: str = _setting("info", _choice("debug", "info", "warning", "error"), "what to log", "debug|info|warning|error")

    @property
    def in_memory(self) -> bool:
        return self.persistence == "memory"

    @property
    def database_path(self) -> Path:
        return self.persist_db_path or self.data_dir / "holdfast.db"

    @property
    def blobs_dir(self) -> Path:
        return self.data_dir / "blobs"

    @property
    def snapshots_dir(self) -> Path:
        return self.data_dir / "snapshots"


class WrongFlag(SetupError):
    """A flag of the command line is wrong, not the file or the environment."""


def flag_of(setting: Field[Any]) -> str:
    """The setting's flag on the command line."""
    return "--" + setting.name.removesuffix("_s").replace("_", "-")


def load_settings(flags: Mapping[str, Any], environment: Mapping[str, str], config: Path | None = None) -> Settings:
    """Merges the four layers.

    `flags`: only the flags that were given, by setting name. `config`: the TOML file; None: the file that `HOLDFAST_CONFIG`
    names, if any. Raises SETUP with the offending key, its value, where it was set, and what is allowed; WrongFlag if that is a
    flag.
    """
    config = config or (Path(environment["HOLDFAST_CONFIG"]) if environment.get("HOLDFAST_CONFIG") else None)
    values: dict[str, Any] = {}
    for layer in (_from_file(config), _from_environment(environment), _from_flags(flags)):
        _put_on_top(values, layer)
    return _with_paths(values, environment)


def _put_on_top(values: dict[str, Any], layer: dict[str, Any]) -> None:
    """Updates `values`. data_dir and persist_db_path exclude each other: a layer that sets one removes the other set below it."""
    if "data_dir" in layer and "persist_db_path" in layer:
        raise SetupError("data_dir and persist_db_path (PERSIST_DB_PATH) both say where the store is. Give only one.")
    for one, other in (("data_dir", "persist_db_path"), ("persist_db_path", "data_dir")):
        if one in layer:
            values.pop(other, None)
    values.update(layer)


def _with_paths(values: dict[str, Any], environment: Mapping[str, str]) -> Settings:
    if "persist_db_path" in values:
        database = values["persist_db_path"]
        values["data_dir"] = database.with_name(database.name + ".d")
    values.setdefault("data_dir", default_data_dir(environment))
    values.setdefault("socket", default_socket(environment))
    return Settings(**values)


def default_data_dir(environment: Mapping[str, str]) -> Path:
    """The user's store: `$XDG_DATA_HOME/holdfast`."""
    given = environment.get("XDG_DATA_HOME", "")
    # The XDG specification says to ignore relative paths.
    return (Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share") / "holdfast"


def default_socket(environment: Mapping[str, str]) -> Path:
    """The user's socket, in the directory that clients choose too (`holdfast.contract.places`)."""
    return runtime_dir(environment) / "holdfast.sock"


def _from_file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    import tomllib  # imported late: most starts read no file

    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"The configuration {config} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"The configuration {config} is not TOML: {error}.") from error
    known = {each.name: each for each in fields(Settings)}
    for key in document.keys() - known.keys():
        raise SetupError(f"{config}: there is no setting {key!r}.{suggestion(key, known)}")
    return {key: _checked(known[key], value, f"{config}: {key}") for key, value in document.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    # Clients read variables with this prefix too, so an unknown name is refused only when it resembles a setting.
    names = {_ENVIRONMENT_PREFIX + each.name.upper() for each in fields(Settings)} | {"HOLDFAST_CONFIG"}
    for name in environment:
        if name.startswith(_ENVIRONMENT_PREFIX) and name not in names and (hint := _hint(name, names)):
            raise SetupError(f"The environment sets {name}, which is no setting.{hint}")
    return dict(_environment_values(environment))


def _hint(name: str, names: set[str]) -> str:
    """The variable that was probably meant, as the end of a message: one that the name begins, or one that is very similar."""
    begun = {each for each in names if each.startswith(f"{name}_")}
    return suggestion(name, begun, cutoff=0.0) if begun else suggestion(name, names, cutoff=0.9)


def _environment_values(environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for each in fields(Settings):
        for name in (_PLAIN_NAMES.get(each.name), _ENVIRONMENT_PREFIX + each.name.upper()):
            if name is not None and environment.get(name):
                yield each.name, _checked(each, environment[name], f"The environment's {name}")


def _from_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    known = {each.name: each for each in fields(Settings)}
    for key in flags.keys() - known.keys():
        raise SetupError(f"There is no setting {key!r}.{suggestion(key, known)}")
    try:
        return {key: _checked(known[key], value, flag_of(known[key])) for key, value in flags.items()}
    except SetupError as error:
        raise WrongFlag(error.message, **error.metadata) from error


def _checked(setting: Field[Any], value: Any, place: str) -> Any:
    try:
        return setting.metadata["check"](value)
    except ValueError as error:
        default = "" if setting.default in (MISSING, None) else f" The default is {shown_default(setting)}."
        raise SetupError(f"{place} is {value!r}, but must be {error}.{default}", key=setting.name) from error


def shown_default(setting: Field[Any]) -> str:
    """The default as help and errors show it; empty for a setting without one."""
    if setting.default in (MISSING, None):
        return str(setting.metadata.get("shown", ""))
    return size_text(setting.default) if setting.metadata["metavar"] == "SIZE" else _shown(setting.default)


def _shown(value: Any) -> str:
    if isinstance(value, InlineLimits):
        return size_text(value.default)
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def suggestion(wrong: str, known: Mapping[str, Any] | set[str], cutoff: float = 0.6) -> str:
    """The known name that is most similar to the wrong one, as the end of a message; empty when none is similar."""
    import difflib  # imported late: only a wrong name needs it

    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {close[0]!r}?" if close else ""
