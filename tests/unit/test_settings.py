from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from holdfastd import __main__, daemon, supervisor
from holdfastd.__main__ import _parser
from holdfastd.errors import SetupError
from holdfastd.settings import Settings, flag_of, load_settings

README = Path(__file__).parents[2] / "README.md"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "holdfast.toml"
    path.write_text(text)
    return path


def test_defaults_follow_the_xdg_directories(tmp_path: Path) -> None:
    settings = load_settings({}, {"XDG_DATA_HOME": "/data", "XDG_RUNTIME_DIR": str(tmp_path)})
    assert settings.data_dir == Path("/data/holdfast")
    assert settings.database_path == Path("/data/holdfast/holdfast.db")
    assert settings.socket == tmp_path / "holdfast" / "holdfast.sock"


@pytest.mark.parametrize("runtime", ["", "relative", "/does/not/exist"])
def test_without_a_runtime_directory_the_socket_has_the_users_id_in_its_path(runtime: str) -> None:
    path = load_settings({}, {"XDG_RUNTIME_DIR": runtime}).socket
    assert path.name == "holdfast.sock"
    assert path.parent.name.startswith("holdfast-")
    assert path.parent.name.removeprefix("holdfast-").isdigit()


def test_each_layer_beats_the_one_below(tmp_path: Path) -> None:
    config = write(tmp_path, "readers = 2\nbatch_max = 2\ngrace_s = 2\n")
    environment = {"HOLDFAST_BATCH_MAX": "3", "HOLDFAST_GRACE_S": "3"}
    settings = load_settings({"grace_s": "4"}, environment, config)
    assert (settings.unary_threads, settings.readers, settings.batch_max, settings.grace_s) == (32, 2, 3, 4.0)


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    assert load_settings({}, {"HOLDFAST_CONFIG": str(write(tmp_path, "readers = 7"))}).readers == 7


def test_persist_db_path_puts_the_rest_beside_the_database() -> None:
    settings = load_settings({}, {"PERSIST_DB_PATH": "/x/store.db", "PERSISTENCE": "sqlite"})
    assert settings.database_path == Path("/x/store.db")
    assert settings.blobs_dir == Path("/x/store.db.d/blobs")


def test_a_higher_layer_says_where_the_store_is() -> None:
    settings = load_settings({"data_dir": "/flag"}, {"PERSIST_DB_PATH": "/x/store.db"})
    assert settings.database_path == Path("/flag/holdfast.db")


def test_one_layer_cannot_set_both_paths() -> None:
    with pytest.raises(SetupError, match=r"data_dir and persist_db_path"):
        load_settings({}, {"PERSIST_DB_PATH": "/x", "HOLDFAST_DATA_DIR": "/y"})


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"socket": "./s.sock"}, {}).socket == tmp_path / "s.sock"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("readerz = 4", "no setting 'readerz'. Did you mean 'readers'"),
        ("zzz = 4", "no setting 'zzz'"),
        ("readers = 0", "readers is 0, but must be a whole number from 1 to 64. The default is 6"),
        ("readers = true", "readers is True"),
        ("readers = '4x'", "readers is '4x'"),
        ("readers = 2.5", "readers is 2.5"),
        ("grace_s = -1", "grace_s is -1"),
        ("grace_s = nan", "grace_s is nan"),
        ("delta = 'maybe'", "delta is 'maybe', but must be on or off. The default is on"),
        ("delta = 1", "delta is 1"),
        ("persistence = 'postgres'", "sqlite or memory"),
        ("data_dir = ''", "data_dir is ''"),
        ("data_dir = 3", "data_dir is 3"),
        ("readers = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SetupError) as caught:
        load_settings({}, {}, write(tmp_path, text))
    assert message in caught.value.message
    assert "holdfast.toml" in caught.value.message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"cannot be read"):
        load_settings({}, {}, tmp_path / "none.toml")


def test_a_wrong_variable_is_refused_by_name() -> None:
    with pytest.raises(SetupError, match=r"HOLDFAST_READERS is 'many'"):
        load_settings({}, {"HOLDFAST_READERS": "many"})
    with pytest.raises(SetupError, match=r"PERSISTENCE is 'disk'"):
        load_settings({}, {"PERSISTENCE": "disk"})


def test_a_misspelt_variable_is_refused_and_those_of_clients_are_not() -> None:
    with pytest.raises(SetupError, match=r"HOLDFAST_DATADIR, which is no setting. Did you mean 'HOLDFAST_DATA_DIR'"):
        load_settings({}, {"HOLDFAST_DATADIR": "/x"})
    with pytest.raises(SetupError, match=r"HOLDFAST_MEMORY_MAX, which is no setting. Did you mean 'HOLDFAST_MEMORY_MAX_BYTES'"):
        load_settings({}, {"HOLDFAST_MEMORY_MAX": "3"})
    with pytest.raises(SetupError, match=r"HOLDFAST_REQUEST, which is no setting. Did you mean 'HOLDFAST_REQUEST_RETENTION_"):
        load_settings({}, {"HOLDFAST_REQUEST": "3"})
    load_settings({}, {"HOLDFAST_WORKSPACE": "w", "HOLDFAST_ACTOR": "a", "HOLDFAST_FAILPOINTS": "x"})


def test_a_wrong_flag_is_refused_by_name() -> None:
    with pytest.raises(SetupError, match=r"--idle-exit is 'soon'"):
        load_settings({"idle_exit_s": "soon"}, {})


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1G", 1 << 30),
        ("512MiB", 1 << 29),
        ("1024m", 1 << 30),
        ("524288 KiB", 1 << 29),
        ("536870912", 1 << 29),
        (1 << 29, 1 << 29),
    ],
)
def test_sizes_take_binary_suffixes(text: object, size_bytes: int) -> None:
    assert load_settings({"memory_max_bytes": text}, {}).memory_max_bytes == size_bytes


@pytest.mark.parametrize("text", ["1GB", "1.5G", "G", "-1G", "255MiB", "1025G", "3", "٣G", True, 2.0])
def test_wrong_sizes_are_refused_with_the_limits_in_the_same_units(text: object) -> None:
    with pytest.raises(SetupError, match=r"must be 0 or a size from 256 MiB to 1024 GiB, in bytes or as .*\. The default is 0\."):
        load_settings({"memory_max_bytes": text}, {})
    with pytest.raises(SetupError, match=r"must be a size from 0 to 1 MiB, .*\. The default is 32 KiB\."):
        load_settings({"inline_max_bytes": "2M"}, {})


def test_help_shows_the_default_of_each_setting() -> None:
    told = " ".join(_parser().format_help().split())
    for setting in fields(Settings):
        if setting.name != "persist_db_path":
            assert re.search(rf"{re.escape(setting.metadata['help'])} \(default: [^)]+\)", told), setting.name


def test_help_and_readme_name_every_exit_code_and_the_signals() -> None:
    codes = {
        value for module in (daemon, supervisor, __main__) for name, value in vars(module).items() if name.startswith("EXIT_")
    }
    told, readme = _parser().format_help(), README.read_text()
    for code in [*map(str, codes), "0", "2", "128+n"]:
        assert re.search(rf"^  {re.escape(code)} ", told, re.MULTILINE), code
        assert f"\n| {code} |" in readme, code
    for each in ("SIGTERM", "SIGHUP", "SIGTSTP (Ctrl-Z)"):
        assert re.search(rf"^  {re.escape(each)}", told, re.MULTILINE), each
        assert f"\n| {each}" in readme, each


@pytest.mark.parametrize("text", ["on", "yes", "True", "1"])
def test_switches_take_the_usual_words(text: str) -> None:
    assert load_settings({"force_nonlocal": text}, {}).force_nonlocal is True


def test_every_setting_has_a_flag_of_its_own_and_a_text() -> None:
    flags = [flag_of(each) for each in fields(Settings)]
    assert len(set(flags)) == len(flags)
    assert all(each.metadata["help"] for each in fields(Settings))


@pytest.mark.parametrize("value", ["1X", "100M"])
def test_a_wrong_value_of_a_flag_is_wrong_usage(tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    from holdfastd.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path), "--memory-max-bytes", value])
    assert ended.value.code == 2
    assert f"--memory-max-bytes is '{value}', but must be 0 or a size from" in capsys.readouterr().err


def test_a_wrong_value_in_the_environment_is_a_refused_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfastd.__main__ import main

    monkeypatch.setenv("HOLDFAST_MEMORY_MAX_BYTES", "1X")
    assert main(["--data-dir", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("given", "default", "by_kind"),
    [
        ("64K", 65536, {}),
        (0, 0, {}),
        ("checkpoint=0", 32 << 10, {"checkpoint": 0}),
        ("1K, checkpoint=0, transcript=64K", 1024, {"checkpoint": 0, "transcript": 65536}),
        ("default=1K,phase_output=0", 1024, {"phase_output": 0}),
        ({"default": "1K", "checkpoint": 0}, 1024, {"checkpoint": 0}),
        ({"artifact": 5}, 32 << 10, {"artifact": 5}),
    ],
)
def test_chosen_kinds_have_a_limit_of_their_own_in_the_database(given: object, default: int, by_kind: dict[str, int]) -> None:
    limits = load_settings({"inline_max_bytes": given}, {}).inline_max_bytes
    assert (limits.default, dict(limits.by_kind)) == (default, by_kind)
    assert (limits.of("checkpoint"), limits.of("")) == (by_kind.get("checkpoint", default), default)


def test_the_file_and_the_environment_set_the_limits_of_kinds(tmp_path: Path) -> None:
    config = write(tmp_path, "inline_max_bytes = { default = '64K', checkpoint = 0 }")
    limits = load_settings({}, {}, config).inline_max_bytes
    assert (limits.default, dict(limits.by_kind)) == (65536, {"checkpoint": 0})
    limits = load_settings({}, {"HOLDFAST_INLINE_MAX_BYTES": "artifact=0"}, config).inline_max_bytes
    assert (limits.default, dict(limits.by_kind)) == (32 << 10, {"artifact": 0})


@pytest.mark.parametrize(
    "given", ["tusk=0", "task=0", "checkpoint=2M", "checkpoint=", "1K,2K", "checkpoint=1,checkpoint=2", "1K,", {"x": 1}, True]
)
def test_wrong_limits_of_kinds_are_refused_with_the_kinds(given: object) -> None:
    with pytest.raises(
        SetupError, match=r"from 0 to 1 MiB.*\(kinds with blobs: artifact, checkpoint, .*\)\. The default is 32 KiB"
    ):
        load_settings({"inline_max_bytes": given}, {})
