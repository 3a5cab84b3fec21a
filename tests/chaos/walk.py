"""A random interleaving of publishing, subscribing, resuming, disconnecting and changing nodes, step by step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from tests.chaos.ledger import Cursor, History, read_id
from tests.chaos.publisher import addition, key_of
from tests.integration.daemon import Daemon
from tests.integration.payloads import body, number_of
from tests.integration.raw import RawClient
from tests.integration.wire import StompFrame
from tests.sources.redis.server import Connection

WALKERS: Final = 3
STEPS: Final = 24


class Walker:
    """A blocking client; events that come while it waits for something else are added to its run.

    :param meanwhile: called after each request, before the client waits for the answer
    :ivar positions: the ids that it may resume after, from RECEIPTs and MESSAGEs, oldest first
    :ivar answers: counts of ``recovered:true``, ``false`` and none in RECEIPTs
    """

    def __init__(self, name: str, history: History, random: Random, meanwhile: Callable[[], None]) -> None:
        self.positions: list[str] = []
        self.answers: Counter[str] = Counter()
        self._meanwhile = meanwhile
        self._name = name
        self._history = history
        self._random = random
        self._raw: RawClient | None = None
        self._cursor: Cursor | None = None
        self._receipts = 0
        self._acknowledges = False

    @property
    def is_connected(self) -> bool:
        """Whether it has a session."""
        return self._raw is not None

    @property
    def is_subscribed(self) -> bool:
        """Whether it has a subscription."""
        return self._cursor is not None

    def connect(self, daemon: Daemon) -> None:
        """Begin a session with a node."""
        self._raw = RawClient(daemon.port)
        self._raw.handshake()
        self._raw.connect("1.2")

    def subscribe(self, position: str | None, must_recover: bool | None) -> None:
        """Subscribe, from a position if one is given.

        :param must_recover: whether the RECEIPT must say ``recovered:true`` or ``false``; None: both are right
        """
        self._acknowledges = self._random.random() < 0.3
        headers = {"ack": "client-individual", "prefetch-count": "2"} if self._acknowledges else {}
        if position is not None:
            headers["last-message-id"] = position
        receipt = self._ask("SUBSCRIBE", id=self._name, destination=self._history.destination, **headers)
        recovered = receipt.headers.get("recovered")
        allowed = {"true", "false"} if must_recover is None else {"true" if must_recover else "false"}
        if recovered not in (allowed if position is not None else {None}):
            raise AssertionError(f"{self._name} from {position}: {receipt}, but allowed is {allowed}")
        self.answers[f"recovered:{recovered}"] += 1
        begin = receipt.headers["last-message-id"]
        if recovered == "true" and begin != position:
            raise AssertionError(f"{self._name} resumed from {begin}, not from {position}")
        self.positions.append(begin)
        self._cursor = Cursor(self._history, read_id(begin))

    def publish(self, number: int) -> None:
        """Publish by SEND, and wait for the RECEIPT."""
        destination = self._history.destination
        assert self._raw is not None
        self._receipts += 1
        self._raw.send("SEND", {"destination": destination, "receipt": f"{self._receipts}"}, body(destination, number))
        self._wait_for_receipt()

    def unsubscribe(self) -> None:
        """End the subscription; events before the RECEIPT belong to the run, but can't be acknowledged any more."""
        self._acknowledges = False
        self._ask("UNSUBSCRIBE", id=self._name)
        self._finish()

    def cut(self) -> None:
        """End the connection by a reset, a close or DISCONNECT, at random."""
        assert self._raw is not None
        self._random.choice((self._raw.reset, self._raw.abort, self._disconnect))()
        self._raw.abort()
        self._raw = None
        self._finish()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._raw is not None:
            self._raw.abort()

    def _disconnect(self) -> None:
        self._acknowledges = False
        self._ask("DISCONNECT")

    def read_all(self) -> None:
        """Read until all events of the ledger have come."""
        self._complain()
        while self._cursor is not None and not self._cursor.is_level:
            self._take(self._receive())
            self._complain()

    def _ask(self, command: str, **headers: str) -> StompFrame:
        assert self._raw is not None
        self._receipts += 1
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._raw.send(command, {**named, "receipt": f"{self._receipts}"})
        self._meanwhile()
        return self._wait_for_receipt()

    def _wait_for_receipt(self) -> StompFrame:
        while (frame := self._receive()).command == "MESSAGE":
            self._take(frame)
        if frame.command != "RECEIPT" or frame.headers["receipt-id"] != f"{self._receipts}":
            raise AssertionError(f"{self._name} expected the receipt {self._receipts}, got {frame}")
        return frame

    def _receive(self) -> StompFrame:
        assert self._raw is not None
        try:
            return self._raw.receive()
        except AssertionError as error:
            standing = self._cursor.standing if self._cursor is not None else "no subscription"
            raise AssertionError(f"{self._name}: {error}; {standing}") from None

    def _take(self, frame: StompFrame) -> None:
        if self._cursor is None or frame.command != "MESSAGE" or frame.headers["subscription"] != self._name:
            raise AssertionError(f"{self._name} got {frame}")
        wire_id = frame.headers["message-id"]
        self._cursor.take(read_id(wire_id), number_of(frame.body), 0.0)
        self.positions.append(wire_id)
        if self._acknowledges:
            assert self._raw is not None
            self._raw.send("ACK", id=frame.headers["ack"])

    def _finish(self) -> None:
        self._complain()
        self._cursor = None

    def _complain(self) -> None:
        if self._cursor is not None:
            self._cursor.check()
            if self._cursor.faults or self._cursor.holes:
                raise AssertionError(f"{self._name}: {self._cursor.faults} {self._cursor.holes}")


class Walk:
    """Some walkers on a destination that nobody else uses.

    :ivar done: the steps so far, for the message of a failure
    """

    def __init__(self, seed: int, destination: str, daemons: Sequence[Daemon], redis: Connection) -> None:
        self.done: list[str] = []
        self._random = Random(seed)
        self._history = History(destination)
        self._daemons = daemons
        self._redis = redis
        self._number = 0
        self._walkers = [Walker(f"w{n}", self._history, self._random, self._meanwhile) for n in range(WALKERS)]

    def run(self) -> None:
        """Take the steps; then check that all subscribed walkers get all events."""
        steps = {self._publish: 4, self._step: 8, self._trim: 0.4}
        for _ in range(STEPS):
            self._random.choices(list(steps), list(steps.values()))[0]()
        self._publish()
        for walker in self._walkers:
            walker.read_all()
            if walker.is_connected:
                walker.cut()

    @property
    def answers(self) -> Counter[str]:
        """Counts of ``recovered`` in all RECEIPTs."""
        return sum((walker.answers for walker in self._walkers), Counter())

    def close(self) -> None:
        """Close the connections that a failure left open."""
        for walker in self._walkers:
            walker.close()

    def _publish(self) -> None:
        for _ in range(self._random.randint(1, 5)):
            self._number += 1
            sender = self._random.choice(self._walkers)
            how = self._random.random()
            if how < 0.2 and sender.is_connected:
                self._say(f"SEND {self._number}")
                sender.publish(self._number)
            elif how < 0.3:
                self._say(f"POST {self._number}")
                destination = self._history.destination
                self._random.choice(self._daemons).publish(destination, body(destination, self._number))
            else:
                self._redis_adds("XADD")
        self._note()

    def _meanwhile(self) -> None:
        if self._random.random() < 0.4:
            for _ in range(self._random.randint(1, 3)):
                self._number += 1
                self._redis_adds("meanwhile XADD")
            self._note()

    def _redis_adds(self, what: str) -> None:
        self._say(f"{what} {self._number}")
        self._redis.call(*addition(self._history.destination, self._number))

    def _note(self) -> None:
        """Add new entries of the stream to the ledger."""
        begin = "({}-{}".format(*self._history.ids[-1]) if self._history.ids else "-"
        for raw_id, fields in self._redis.call("XRANGE", key_of(self._history.destination), begin, "+"):
            if fields[0] == b"payload":
                self._history.add(read_id(raw_id.decode()), json.loads(fields[1])["n"])

    def _trim(self) -> None:
        """Trim old entries, after all subscribed walkers and their nodes have all events, so that nobody misses any.

        A walker may get its last events from a page of the history, before its node has read them live. So another
        event is published first: a subscribed walker gets it live, after all others.
        """
        self._number += 1
        self._redis_adds("XADD")
        self._note()
        self._say("XTRIM")
        for walker in self._walkers:
            walker.read_all()
        self._redis.call("XTRIM", key_of(self._history.destination), "MAXLEN", self._random.randint(0, 3))

    def _step(self) -> None:
        walker = self._random.choice(self._walkers)
        if not walker.is_connected:
            node = self._random.randrange(len(self._daemons))
            self._say(f"{self._walkers.index(walker)} connects to node {node}")
            walker.connect(self._daemons[node])
        elif not walker.is_subscribed:
            self._subscribe(walker)
        else:
            what = self._random.choice((walker.cut, walker.cut, walker.unsubscribe, walker.read_all))
            self._say(f"{self._walkers.index(walker)} {what.__name__}")
            what()

    def _subscribe(self, walker: Walker) -> None:
        other = self._random.choice(self._walkers)
        position: str | None = None
        kind = self._random.random()
        if kind < 0.4 and walker.positions:  # its last position
            position = walker.positions[-1]
        elif kind < 0.55 and walker.positions:  # an earlier position
            position = self._random.choice(walker.positions)
        elif kind < 0.75 and other.positions:  # another walker's position, from any node
            position = self._random.choice(other.positions)
        elif kind < 0.85:
            position = self._random.choice(("c102d7ca-1-1", "nonsense", "00000000-0-1", "-"))
        must = None if position is None else self._must_recover(walker, other, position)
        self._say(f"{self._walkers.index(walker)} subscribes from {position}, {must}")
        walker.subscribe(position, must)

    def _must_recover(self, walker: Walker, other: Walker, position: str) -> bool | None:
        if position not in walker.positions and position not in other.positions:
            return False
        event_id = "{}-{}".format(*read_id(position))
        # If the entry exists, all later ones do, too. If not, its id may still be the stream's last one.
        return True if self._redis.call("XRANGE", key_of(self._history.destination), event_id, event_id) else None

    def _say(self, what: str) -> None:
        self.done.append(what)
