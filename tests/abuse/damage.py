"""Bit flips over blob files and database: none served as good, each found by `verify --read-blobs` or shown to lie in free space.

After a flip of the database, a few plain writes follow: none of what is acknowledged may be wrong, missing or there twice.

The flips of blob files do not interfere, so one daemon gets many of them. A flip of the database has a daemon of its own, forked
from a process that has imported it. The damaged copy of a store is kept when a demand fails.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc

import holdfast
from tests.abuse.attack import Attack, defects_in
from tests.abuse.pages import Pages
from tests.abuse.readings import Answer, Contents, differences, kinds_of, read_all
from tests.abuse.rows import logical_content, roots, unread
from tests.abuse.writes import check, write
from tests.end_to_end.daemons import eventually, is_reachable
from tests.support.api import Api, append, insert
from tests.support.forker import Forker

FLIPS, SHORT_FLIPS = 1_000, 40  # of each sort
WORKSPACE = "damage"
DATABASE = "holdfast.db"
_FILE_SIZES = (40_000, 300_000, 700_000)
_FILES = 30
_AT_ONCE = 3
_ZEROS = bytes(16)  # zeros mostly lie in free space


@dataclass(frozen=True)
class Flip:
    """One bit of a file, relative to the data directory."""

    path: str
    at: int
    bit: int

    def apply(self, data_dir: Path) -> None:
        with (data_dir / self.path).open("r+b") as file:
            file.seek(self.at)
            (byte,) = file.read(1)
            file.seek(self.at)
            file.write(bytes([byte ^ 1 << self.bit]))

    def __str__(self) -> str:
        return f"bit {self.bit} of byte {self.at} of {self.path}"


@dataclass(frozen=True)
class Gold:
    """The undamaged store: its directory, its contents and every answer."""

    data_dir: Path
    contents: Contents
    answers: dict[str, Answer]
    digests: dict[str, str]  # path of the file → digest of the blob
    base: tuple[str, bytes]  # digest and content of a blob that only a delta keeps


def run(attack: Attack) -> None:
    gold = _gold(attack)
    attack.tell(
        f"{len(gold.answers)} answers, {len(gold.digests)} blob files, {(gold.data_dir / DATABASE).stat().st_size:,} bytes"
    )
    with ExitStack() as exits:
        forkers = [exits.enter_context(closing(Forker())) for _ in range(_AT_ONCE)]
        if attack.only is None:
            _flip_files(attack, gold, forkers[0])
        _flip_database(attack, gold, forkers)


def _gold(attack: Attack) -> Gold:
    """Fills a store with records, journals, history and blobs of every codec, and reads all of it."""
    daemon = attack.serve("gold", "--lease", "1")  # so that the sweep has examined nothing, but will examine all
    with Api(daemon.socket, workspace=WORKSPACE) as api, holdfast.connect(daemon.socket, workspace=WORKSPACE) as store:
        sessions = tuple(_session(api, store, name) for name in ("S1", "S2"))
        digests = [_artifact(api, attack.rng, number) for number in range(_FILES)]
        api.commit(
            *[insert("task", title=f"task {n}", description="d" * attack.rng.randrange(400), tags=["x"]) for n in range(60)]
        )
        digests += [each.context_digest for each in store.checkpoints.list()]
        base, deltas = _base(api, attack.rng)
        digests += [base[0], *deltas]
        stats = {digest: store.blobs.stat(digest) for digest in digests}
        contents = Contents(kinds_of(api), sessions, {digest: each.size_bytes for digest, each in stats.items()})
        answers = read_all(api, contents)
    attack.demand(not any(each.error or each.unreadable for each in answers.values()), "the undamaged store has damage")
    attack.stop(daemon, "filling it")
    return Gold(daemon.data_dir, contents, answers, {each.path: digest for digest, each in stats.items() if each.path}, base)


def _session(api: Api, store: holdfast.Store, name: str) -> str:
    """A session with a journal, and checkpoints whose contexts are stored as deltas."""
    api.insert("session", id=name, title=name)
    for number in range(20):
        api.commit(append(name, *[f"{name} {number} {word} " + "lorem ipsum " * number for word in ("a", "b", "c")]))
    context = ""
    for _ in range(6):
        context += os.urandom(60_000).hex()
        store.checkpoints.save(name, context=context)
    return name


def _base(api: Api, rng: random.Random) -> tuple[tuple[str, bytes], list[str]]:
    """A blob without a reference, and some deltas that are based on it and have one."""
    content = rng.randbytes(100_000)
    base = api.put(content).digest
    deltas = [api.put(content + b"delta %d" % number, base_digest=base).digest for number in range(3)]
    for number, digest in enumerate(deltas):
        api.insert("artifact", type="file", name=f"delta {number}", content_digest=digest)
    return (base, content), deltas


def _artifact(api: Api, rng: random.Random, number: int) -> str:
    """A blob with a record that keeps it; a third compresses well, some are small enough for the database."""
    size = rng.choice(_FILE_SIZES) if number % 8 else 500
    content = (b"line %d\n" % number) * (size // 8) if number % 3 == 0 else rng.randbytes(size)
    digest = api.put(*[content[at : at + (1 << 20)] for at in range(0, len(content), 1 << 20)]).digest
    api.insert("artifact", type="file", name=f"f{number}", content_digest=digest)
    return digest


def _flip_files(attack: Attack, gold: Gold, forker: Forker) -> None:
    """Rounds in which half of the files are damaged, so that some deltas are whole and their bases are not."""
    wanted, flipped, number = attack.size(FLIPS, SHORT_FLIPS), 0, 0
    while flipped < wanted:
        rng = random.Random(f"{attack.seed}/files/{number}")
        paths = [path for path in sorted(gold.digests) if rng.random() < 0.5]
        flips = [Flip(path, rng.randrange((gold.data_dir / path).stat().st_size), rng.randrange(8)) for path in paths]
        with _damaged(attack, gold, forker, flips, f"files-{number}") as trial:
            for problem in trial.problems:
                attack.demand(False, f"round {number} of the files: {problem}")
            lost = [str(each) for each in flips if gold.digests[each.path] not in trial.subjects]
            attack.demand(not lost, f"round {number} of the files: verify does not find {len(lost)} flips, such as {lost[:1]}")
        flipped, number = flipped + len(flips), number + 1
    attack.tell(f"{flipped:,} flips in blob files, {number} daemons")


def _flip_database(attack: Attack, gold: Gold, forkers: Sequence[Forker]) -> None:
    outcomes: Counter[str] = Counter()
    data, content = (gold.data_dir / DATABASE).read_bytes(), logical_content(gold.data_dir / DATABASE)
    pages = Pages(data, roots(gold.data_dir / DATABASE))
    numbers = range(attack.size(FLIPS, SHORT_FLIPS)) if attack.only is None else range(attack.only, attack.only + 1)

    free: SimpleQueue[Forker] = SimpleQueue()
    for each in forkers:
        free.put(each)

    def run(number: int) -> str:
        forker = free.get()
        try:
            return flip_one(forker, number)
        finally:
            free.put(forker)

    def flip_one(forker: Forker, number: int) -> str:
        rng = random.Random(f"{attack.seed}/database/{number}")
        flip = Flip(DATABASE, _place(rng, data), rng.randrange(8))
        with _damaged(attack, gold, forker, [flip], f"database-{number}") as trial:
            outcome = trial.outcome or pages.place_of(flip.at) or unread(content, _after(gold, trial.data_dir, flip))
            for problem in trial.problems:
                attack.demand(False, f"flip {number}, {flip}: {problem}")
            attack.demand(bool(outcome), f"flip {number}, {flip}: verify does not find it, and it changes the rows")
        if (number + 1) % 250 == 0:
            attack.tell(f"{number + 1:,} flips in the database")
        return outcome or "not found"

    with ThreadPoolExecutor(_AT_ONCE) as pool:  # while one daemon starts, the answers of another are read
        outcomes.update(pool.map(run, numbers))
    for name, count in outcomes.most_common():
        attack.tell(f"flips in the database: {count:,} {name}")


def _place(rng: random.Random, data: bytes) -> int:
    """A byte of the database; nine times of ten not among zeros."""
    while True:
        at = rng.randrange(len(data))
        if data[at : at + len(_ZEROS)].strip(b"\0") or rng.random() < 0.1:
            return at


def _after(gold: Gold, place: Path, flip: Flip) -> Any:
    """The logical content of the database with the flip. The daemon has written to its own copy since."""
    shutil.copyfile(gold.data_dir / DATABASE, place / "again.db")
    Flip("again.db", flip.at, flip.bit).apply(place)
    return logical_content(place / "again.db")


@dataclass
class _Trial:
    """What a daemon over a damaged store did. `outcome` is empty when neither start nor verify found anything."""

    data_dir: Path
    outcome: str = ""
    problems: list[str] = field(default_factory=list)
    subjects: set[str] = field(default_factory=set)


@contextmanager
def _damaged(attack: Attack, gold: Gold, forker: Forker, flips: list[Flip], name: str) -> Iterator[_Trial]:
    """A daemon over a copy of the store with the flips. The copy is deleted unless a demand fails in the block."""
    place, problems_before = attack.path / name, len(attack.problems)
    data_dir = place / "store"
    changed = {each.path for each in flips}
    shutil.copytree(gold.data_dir, data_dir, copy_function=lambda source, target: _copy(gold, source, target, changed))
    for each in flips:
        each.apply(data_dir)
    trial = _Trial(data_dir)
    try:
        with _serving(forker, place, data_dir, trial) as api:
            if api is not None:
                _read(gold, api, trial, ranges=changed != {DATABASE})
        if changed == {DATABASE} and not trial.outcome.startswith("refused"):
            _write(gold, forker, place, trial)
        yield trial
    finally:
        if len(attack.problems) == problems_before:
            shutil.rmtree(place)


def _copy(gold: Gold, source: str, target: str, changed: set[str]) -> None:
    """Copies a file that is changed or that the daemon writes to; links any other."""
    path = str(Path(source).relative_to(gold.data_dir))
    if path in changed or not path.startswith("blobs/"):
        shutil.copyfile(source, target)
    else:
        os.link(source, target)


@contextmanager
def _serving(forker: Forker, place: Path, data_dir: Path, trial: _Trial) -> Iterator[Api | None]:
    """A daemon over the copy, killed at the end; None when it refuses to start. Notes how it ended and what its log says."""
    daemon = forker.start(["--data-dir", str(data_dir), "--socket", str(place / "s")], place / "log")
    try:
        eventually(lambda: daemon.poll() is not None or is_reachable(place / "s"))
        if daemon.poll() is not None:
            trial.outcome = trial.outcome or "refused to start"
            if daemon.returncode != 1:
                trial.problems.append(f"start: exit code {daemon.returncode}: {_log(place)[-300:]}")
            yield None
            return
        with Api(place / "s", workspace=WORKSPACE) as api:
            yield api
        if daemon.poll() is not None:
            trial.problems.append(f"the daemon ended with exit code {daemon.returncode}")
    finally:
        daemon.kill()
        daemon.wait()
        trial.problems += [f"the log says {each}" for each in defects_in(_log(place)) if "Traceback" in each]


def _log(place: Path) -> str:
    return (place / "log").read_text(errors="replace")


def _read(gold: Gold, api: Api, trial: _Trial, ranges: bool) -> None:
    """Reads everything, and runs verify."""
    trial.problems += differences(gold.answers, read_all(api, gold.contents, ranges=ranges))
    try:
        found = api.problems()
    except grpc.RpcError as error:
        found = [f"{error.code().name} - {error.details()}"]
        trial.problems += found if error.code() is not grpc.StatusCode.DATA_LOSS else []
    trial.outcome = "found by verify" if found else ""
    trial.subjects = {each.split(" ")[1] for each in found}


def _write(gold: Gold, forker: Forker, place: Path, trial: _Trial) -> None:
    """Writes, then reads everything again from a daemon without caches. The writes go to one that has read nothing yet."""
    with _serving(forker, place, trial.data_dir, trial) as api:
        written = None if api is None else write(api, gold.answers, gold.contents.sessions, gold.base)
    if written is not None:
        with _serving(forker, place, trial.data_dir, trial) as api:
            if api is None:
                trial.problems.append("after the writes the daemon refuses to start")
            else:
                answers = read_all(api, gold.contents, ranges=False)
                found = [*differences(gold.answers, answers, written.added), *check(api, written)]
                trial.problems += [f"after the writes, {each}" for each in found]
