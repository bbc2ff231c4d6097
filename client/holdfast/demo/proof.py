"""The proof: everything that the store acknowledged to an agent is in the store, once and in order.

The agents' notes say what was acknowledged. The proof reads the store through the public client, with a client of its own.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import holdfast
from holdfast.demo.acknowledgements import acknowledged
from holdfast.demo.agent import BOARD, session_of

Note = dict[str, Any]
_SHOWN = 10


class Proof:
    """The checks. Each yields the problems found and sets `said` to its summary."""

    def __init__(self, store: holdfast.Store, place: Path) -> None:
        self._store = store
        self._told = acknowledged(place)
        self._agents = [name for name in self._told if name != "director"]
        self.said = ""

    def checks(self) -> list[Callable[[], Iterator[str]]]:
        """All checks, in the order in which they run."""
        return [self.rows, self.entries, self.checkpoints, self.artifacts, self.tasks, self.links, self.history]

    def rows(self) -> Iterator[str]:
        """The daemon's Verify, which checks every row and reads every blob."""
        counts: Note = {}
        for frame in self._store.verify(read_blobs=True):
            yield from (f"{each.reason} {each.subject}: {each.detail}" for each in frame.problems)
            counts = dict(frame.counts) or counts
        self.said = f"all rows and blobs are consistent; {counts.get('blobs', 0):,} blobs were read"

    def entries(self) -> Iterator[str]:
        """In each transcript: numbers 1, 2, 3 …, no mark twice, each acknowledged entry at its number, in order."""
        total = there = 0
        for agent in self._agents:
            marks = []
            for number, entry in enumerate(self._store.transcripts.read(session_of(agent)), 1):
                marks.append(entry.metadata["mark"])
                if entry.number != number:
                    yield f"{agent}: found entry {entry.number} in the place of {number}"
            yield from (f"{agent}: {mark} is there {count} times" for mark, count in Counter(marks).items() if count > 1)
            told = list(self._acknowledged_marks(agent))
            for number, mark in told:
                if marks[number - 1 : number] != [mark]:
                    yield f"{agent}: {mark} was acknowledged as entry {number} and is not there"
            if any(one >= other for (one, _), (other, _) in itertools.pairwise(told)):
                yield f"{agent}: entries were acknowledged twice or out of order"
            total, there = total + len(told), there + len(marks)
        late = f"; {there - total} more were stored when the agent died before their answer" if there > total else ""
        self.said = f"{total:,} acknowledged entries in {len(self._agents)} transcripts: each once, in order, no gap{late}"

    def _acknowledged_marks(self, agent: str) -> Iterator[tuple[int, str]]:
        for note in self._notes(agent, "entries"):
            yield from enumerate(note["marks"], note["first"])

    def checkpoints(self) -> Iterator[str]:
        """Each acknowledged checkpoint has its number and content; numbers are 1, 2, 3 …; the latest context can be loaded."""
        total = plain = 0
        for agent in self._agents:
            found = {each.id: each for each in self._store.checkpoints.list(session_of(agent), order_by="number", page_size=500)}
            if [each.number for each in found.values()] != list(range(1, len(found) + 1)):
                yield f"{agent}: the checkpoints are not numbered 1 to {len(found)}"
            for note in self._notes(agent, "checkpoint"):
                one = found.get(note["id"])
                if one is None or (one.number, one.context_digest) != (note["number"], note["digest"]):
                    yield f"{agent}: checkpoint {note['number']} ({note['id']}) was acknowledged and is missing or differs"
                total += 1
            if found and self._store.checkpoints.latest(session_of(agent)).load()["agent"] != agent:
                yield f"{agent}: the latest checkpoint has somebody else's context"
            plain += sum(each.context_size_bytes for each in found.values())
        stored = self._store.status().blob_stored_bytes
        self.said = (
            f"{total:,} checkpoints; contexts of {plain / 1e6:,.1f} MB and all artifacts are kept in {stored / 1e6:,.1f} MB"
        )

    def artifacts(self) -> Iterator[str]:
        """Each acknowledged artifact is read and compared; none exists twice."""
        found = {each.id: each for each in self._store.artifacts.list(page_size=500)}
        names = Counter((each.task_id, each.name) for each in found.values())
        yield from (f"{name} of {task} is there {count} times" for (task, name), count in names.items() if count > 1)
        notes = [note for agent in self._agents for note in self._notes(agent, "artifact")]
        for note in notes:
            if note["id"] not in found or self._digest(note["id"]) != note["digest"]:
                yield f"artifact {note['id']} was acknowledged and is missing or differs"
        self.said = f"{len(notes):,} artifacts, read and compared"

    def _digest(self, artifact: str) -> str:
        with self._store.artifacts.open(artifact) as content:
            return f"sha256:{hashlib.sha256(content.read()).hexdigest()}"

    def tasks(self) -> Iterator[str]:
        """Each task has versions 1, 2, 3 …, every acknowledged update among them; the board has lost no count."""
        moves = [note for agent in self._told for note in self._notes(agent, "task")]
        made = {}
        for change in self._store.watch(kinds=["task"], since=0, replay_only=True):
            if change.version != 1 and (change.id, change.version - 1) not in made:
                yield f"{change.id}: version {change.version} came without the one before it"
            if (change.id, change.version) in made:
                yield f"{change.id}: version {change.version} was made twice"
            task = change.record.task if change.record is not None else None
            made[change.id, change.version] = task.status if task is not None else ""
        for note in moves:
            if made.get((note["id"], note["version"])) != note["status"]:
                yield f"{note['id']}: version {note['version']} ({note['status']}) was acknowledged and is not there"
        twice = Counter((note["id"], note["version"]) for note in moves)
        yield from (f"{id}: version {version} was acknowledged {n} times" for (id, version), n in twice.items() if n > 1)
        yield from self._uncounted()
        races = sum(len(self._notes(agent, "lost race")) for agent in self._agents)
        self.said = f"{len(moves):,} updates of shared tasks, one version each; {races} version conflicts were seen and retried"

    def _uncounted(self) -> Iterator[str]:
        """All agents add to the board, with expected versions. It must equal the sum over the completed tasks."""
        tally: Counter[str] = Counter()
        for task in self._store.tasks.list(page_size=500):
            if task.status == "completed":
                tally.update(task.metadata["tally"])
            elif task.id != BOARD:
                yield f"{task.id} is {task.status}"
        counted = self._store.tasks.get(BOARD).metadata
        if counted != dict(tally):
            yield f"the board counts {counted}, the tasks add up to {dict(tally)}"

    def links(self) -> Iterator[str]:
        """Each acknowledged link exists."""
        notes = [note["id"] for agent in self._agents for note in self._notes(agent, "link")]
        found = self._store.links.batch_get(notes)
        yield from (f"link {id} was acknowledged and is not there" for id in notes if id not in found)
        self.said = f"{len(notes):,} links from tasks to their sessions"

    def history(self) -> Iterator[str]:
        """A watch from revision 0 gives every revision, in order, without a gap."""
        changes = list(self._store.watch(since=0, replay_only=True))
        revisions = list(dict.fromkeys(each.revision for each in changes))
        if revisions != list(range(1, len(revisions) + 1)):
            yield "the revisions are not 1, 2, 3 …"
        places = [(each.revision, each.ordinal) for each in changes]
        if any(one >= other for one, other in itertools.pairwise(places)):
            yield "a change came twice or out of order"
        self.said = f"{len(changes):,} changes in {len(revisions):,} revisions, replayed from the first, no gap"

    def _notes(self, agent: str, what: str) -> list[Note]:
        return [note for note in self._told[agent] if note["what"] == what]


def prove(store: holdfast.Store, place: Path, tell: Callable[[str], None]) -> bool:
    """Runs every check and reports each. Returns whether there were no problems."""
    proof = Proof(store, place)
    well = True
    for check in proof.checks():
        problems = list(check())
        well = well and not problems
        tell(f"  ✗ {check.__name__}: {len(problems)} problems" if problems else f"  ✓ {proof.said}")
        for problem in problems[:_SHOWN]:
            tell(f"      {problem}")
    return well
