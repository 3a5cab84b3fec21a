"""A model of Redis streams, behind connections in memory whose replies the test releases."""

from __future__ import annotations

from typing import NamedTuple

from twisted.internet.task import Clock

from airyd.sources.redis.stream_position import order
from tests.sources.redis.fakes import Answer, Error, FakeEndpoint, Session, counters, encode, stream_info

Id = tuple[int, int]


def text(event_id: Id) -> str:
    """Return an id as Redis writes it."""
    return f"{event_id[0]}-{event_id[1]}"


class Entry(NamedTuple):
    """An entry, and the body in its one field ``payload``."""

    id: Id
    body: bytes


class Stream:
    """One stream, with the counters of XINFO."""

    def __init__(self, added: int = 0) -> None:
        self.entries: list[Entry] = []
        self.last: Id = (0, 0)
        self.deleted: Id = (0, 0)
        self.added = added

    def add(self, event_id: Id, body: bytes) -> None:
        """XADD."""
        assert event_id > self.last
        self.entries.append(Entry(event_id, body))
        self.last = event_id
        self.added += 1

    def delete(self, index: int) -> Entry:
        """XDEL of one that is there."""
        entry = self.entries.pop(index)
        self.deleted = max(self.deleted, entry.id)
        return entry

    def trim(self, keep: int) -> list[Entry]:
        """XTRIM MAXLEN; return the removed entries."""
        gone = self.entries[: len(self.entries) - keep] if keep < len(self.entries) else []
        del self.entries[: len(gone)]
        return gone

    def info(self) -> Answer:
        """XINFO STREAM."""
        newest = oldest = None
        body = b""
        if self.entries:
            newest, oldest, body = text(self.entries[-1].id), text(self.entries[0].id), self.entries[-1].body
        return stream_info(text(self.last), self.added, text(self.deleted), newest, oldest, len(self.entries), body)


class _Blocked(NamedTuple):
    most: int
    positions: list[tuple[bytes, Id]]


class Client:
    """One connection: its commands are executed at once, the replies wait.

    :ivar number: its CLIENT ID
    """

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.number = number
        self.answers: list[bytes] = []
        self.blocked: _Blocked | None = None
        self.requests: list[list[bytes]] = []
        self.queued: list[list[bytes]] | None = None

    def flow(self) -> bool:
        """Release the replies; return whether there were any."""
        answers, self.answers = self.answers, []
        for answer in answers:
            self.session.send(answer)
        return bool(answers)


class Redis:
    """Executes the commands of a source's two connections.

    :ivar streams: the streams by key; None for a key that is not a stream
    :ivar clients: the connected clients, oldest first
    :ivar replication_id: the id of the replication history
    """

    def __init__(self, clock: Clock) -> None:
        self.endpoint = FakeEndpoint(clock)
        self.streams: dict[bytes, Stream | None] = {}
        self.clients: list[Client] = []
        self.replication_id = "0"
        self._known = 0

    def serve(self) -> None:
        """Take what was asked."""
        for session in self.endpoint.sessions[self._known :]:
            self._known += 1
            self.clients.append(Client(session, self._known))
        self.clients = [client for client in self.clients if client.session.is_open]
        for client in self.clients:
            client.requests += client.session.asked()
        for client in self.clients:
            while client.requests and client.blocked is None:
                answer = self._answer(client, client.requests.pop(0))
                if answer is not _NOT_YET:
                    client.answers.append(encode(answer))

    def flow(self) -> None:
        """Execute all commands and release all replies, until nothing is pending."""
        moves = True
        while moves:
            self.serve()
            moves = any([client.flow() for client in self.clients])  # noqa: C419  # all of them

    def touched(self) -> None:
        """Answer blocked readers that have new entries; called after each command or transaction."""
        for client in self.clients:
            if client.blocked is not None:
                found = self._read(client.blocked, blocked=True)
                if found is not None:
                    client.blocked = None
                    client.answers.append(encode(found))
        self.serve()

    def time_out(self) -> None:
        """Let all blocked readers time out."""
        for client in self.clients:
            if client.blocked is not None:
                client.blocked = None
                client.answers.append(encode(None))
        self.serve()

    def _answer(self, client: Client, request: list[bytes]) -> Answer:
        if client.queued is not None and request != [b"EXEC"]:
            client.queued.append(request)
            return "QUEUED"
        match request:
            case [b"MULTI"]:
                client.queued = []
                return "OK"
            case [b"EXEC"]:
                queued, client.queued = client.queued or [], None
                return [self._answer(client, each) for each in queued]
            case [b"INFO", b"replication"]:
                return f"role:master\r\nmaster_replid:{self.replication_id}\r\n".encode()
            case [b"XRANGE", key, first, last, *more]:
                stream = self.streams.get(key, _EMPTY)
                if stream is None:
                    return _WRONG_TYPE
                begin, end = order(first.decode().removeprefix("(")), order(last.decode())
                entries = [each for each in stream.entries if begin <= each.id <= end]
                if first.startswith(b"("):
                    entries = [each for each in entries if each.id > begin]
                return [_raw(each) for each in entries[: int(more[1]) if more else None]]
            case [b"CLIENT", b"ID"]:
                return client.number
            case [b"PING"]:
                return "PONG"
            case [b"CLIENT", b"UNBLOCK", number]:
                for other in self.clients:
                    if other.number == int(number) and other.blocked is not None:
                        other.blocked = None
                        other.answers.append(encode(None))
                        return 1
                return 0
            case [b"XINFO", b"STREAM", key]:
                return self._info(key)
            case [b"EVAL_RO", _, _, *keys]:
                return counters(*map(self._info, keys))
            case [b"XREAD", b"COUNT", count, *rest]:
                blocks = rest[0] == b"BLOCK"
                rest = rest[3:] if blocks else rest[1:]
                half = len(rest) // 2
                positions = [(key, order(after.decode())) for key, after in zip(rest[:half], rest[half:], strict=True)]
                if any(self.streams.get(key, _EMPTY) is None for key, _ in positions):
                    return _WRONG_TYPE
                asked = _Blocked(int(count), positions)
                found = self._read(asked, blocked=False)
                if found is None and blocks:
                    client.blocked = asked
                    return _NOT_YET
                return found
        raise AssertionError(f"nobody should ask {request}")

    def _info(self, key: bytes) -> Answer:
        if key not in self.streams:
            return Error("ERR no such key")
        stream = self.streams[key]
        return _WRONG_TYPE if stream is None else stream.info()

    def _read(self, asked: _Blocked, blocked: bool) -> Answer:
        found: list[Answer] = []
        for key, after in asked.positions:
            stream = self.streams.get(key)
            if stream is None:
                continue
            entries = [entry for entry in stream.entries if entry.id > after][: asked.most]
            # A blocked reader is answered for a last id that is new to it, though nothing may be left to read.
            if entries or (blocked and stream.last > after):
                found.append([key, [_raw(entry) for entry in entries]])
                if blocked:
                    break
        return found or None


def _raw(entry: Entry) -> Answer:
    return [text(entry.id).encode(), [b"payload", entry.body]]


_EMPTY = Stream()
_WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
_NOT_YET = Error("no answer yet")
