"""Token refreshes at random times, with resumes, full windows and wildcards: no event is lost, doubled or leaked.

A refresh takes one turn of the reactor, or several.
"""

from __future__ import annotations

import json
from random import Random

from twisted.internet.defer import succeed

from airyd.client import token_refresh
from airyd.events import CHANNEL_CONNECTED, CHANNEL_DISCONNECTED
from airyd.hub import pacing, replay
from tests.client.frames import subscribe, unsubscribe
from tests.client.test_token_refresh import RefreshCase
from tests.doubles import Channel, frame
from tests.model.world import Reactor

CHANNELS = ("c1", "c2", "c3")
#: Runs of each kind of subscription.
RUNS = 40


class Reader:
    """A client whose tokens change, and the events that it must see.

    :ivar seen: the numbers of the events that it got, in order
    :ivar shown: what the token of the moment shows
    :ivar due: for each event its channel, and what the tokens show that it had since that was published
    """

    def __init__(self, ack: str) -> None:
        self.channel: Channel
        self.seen: list[int] = []
        self.shown: list[str] = ["c1"]
        self.due: list[tuple[str, list[list[str]]]] = []
        self._is_cumulative = ack == "client"
        self._is_acknowledged = ack != "auto"
        self._open: list[str] = []

    def published(self, channel_id: str) -> bytes:
        """Record that an event is published; return its body."""
        self.due.append((channel_id, [self.shown]))
        return json.dumps({"id": channel_id, "n": len(self.due) - 1}).encode()

    def renewed(self, shown: list[str]) -> None:
        """Record which events the token allows from now on."""
        self.shown = shown
        for _, since in self.due:
            since.append(shown)

    def read(self) -> None:
        """Read the messages that arrived."""
        for each in self.channel.frames():
            if each.command == "MESSAGE":
                self.seen.append(json.loads(each.body)["n"])
                if self._is_acknowledged:
                    self._open.append(each.headers["ack"])

    def settle(self, random: Random) -> None:
        """Acknowledge one message, with those before it in mode ``client``."""
        if self._open:
            last = random.randrange(len(self._open))
            self.channel.client.received(frame("ACK", id=self._open[last]))
            del self._open[0 if self._is_cumulative else last : last + 1]


class RandomTests(RefreshCase):
    """An event that all tokens since its publication allow is seen once, one that none allows never."""

    def setUp(self) -> None:
        """Make pages and the limits on held events so small that few events reach them."""
        super().setUp()
        self.patch(self.wheel, "next_turn", lambda: succeed(None))  # a client's tokens come faster than turns
        self.patch(replay, "REPLAY_PAGE", 3)
        self.patch(replay, "HELD_EVENTS", 2)

    def test_live(self) -> None:
        for ack in ("auto", "client", "client-individual"):
            self.many(ack, CHANNEL_CONNECTED, is_resumed=False)

    def test_resumed(self) -> None:
        for ack in ("auto", "client", "client-individual"):
            self.many(ack, CHANNEL_CONNECTED, is_resumed=True)

    def test_pattern(self) -> None:
        for ack in ("auto", "client", "client-individual"):
            self.many(ack, "/queue/channel/*", is_resumed=False)

    def many(self, ack: str, destination: str, is_resumed: bool) -> None:
        """Run with many seeds."""
        for seed in range(RUNS):
            reader = Reader(ack)
            self.run_once(Random(seed), reader, ack, destination, is_resumed)
            where = (ack, destination, is_resumed, seed, reader.seen, reader.due)
            self.assertEqual(reader.channel.closed, [], where)
            self.assertEqual(reader.seen, sorted(set(reader.seen)), where)
            for number, (channel_id, since) in enumerate(reader.due):
                shows = {channel_id in shown for shown in since}
                if len(shows) == 1:
                    self.assertEqual({number in reader.seen}, shows, where)
            reader.channel.client.ended()

    def run_once(self, random: Random, reader: Reader, ack: str, destination: str, is_resumed: bool) -> None:
        """Run random steps, then the remaining ones."""
        other = self.logged_in(subscribe("o", CHANNEL_CONNECTED))  # keeps the source watching
        last = self.publish(CHANNEL_CONNECTED)
        headers = {} if ack == "auto" else {"ack": ack, "prefetch_count": str(random.randint(1, 3))}
        if is_resumed:
            headers["last_message_id"] = last
            for _ in range(random.randint(1, 9)):
                self.publish(CHANNEL_CONNECTED, reader.published(random.choice(CHANNELS)))
        reader.channel = self.logged_in(only={"channel_id": reader.shown})
        self.feed.replays.holding = True
        reader.channel.client.received(subscribe("a", destination, **headers))
        happenings = [self.publish_late] * 8 + [self.renew] * 4 + [self.page] * 3 + [self.turn] * 3 + [self.acknowledge]
        for _ in range(random.randint(5, 30)):
            random.choice(happenings)(random, reader)
            reader.read()
        for _ in range(100):
            for happening in (self.page, self.turn, self.acknowledge):
                happening(random, reader)
                reader.read()
        self.feed.replays.holding = False
        other.client.ended()

    # What may happen.

    def publish_late(self, random: Random, reader: Reader) -> None:
        """Publish an event, which is sent at the turn's end."""
        body = reader.published(random.choice(CHANNELS))
        self.successResultOf(self.context.hub.publish(CHANNEL_CONNECTED, body, "admin"))

    def renew(self, random: Random, reader: Reader) -> None:
        """Send a token that allows other events."""
        shown = random.sample(CHANNELS, random.randint(1, 3))
        self.refresh(reader.channel, only={"channel_id": shown})
        reader.renewed(shown)

    def page(self, random: Random, reader: Reader) -> None:
        """Let the source answer with a page of the history."""
        if len(self.feed.replays):
            self.feed.replays.answer()

    def turn(self, random: Random, reader: Reader) -> None:
        """End the turn of the reactor."""
        self.clock.advance(0)

    def acknowledge(self, random: Random, reader: Reader) -> None:
        """Let the client acknowledge something."""
        reader.settle(random)


class Part:
    """A subscription of a client whose tokens are applied over several turns, and the events that it must see.

    :ivar due: for each event its number, its channel, and what the tokens show that the client had since then
    """

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.due: list[tuple[int, str, list[list[str]]]] = []


class TurnsTests(RefreshCase):
    """The rights of a token are applied to one subscription in each turn, while all kinds of things happen.

    From the RECEIPT on, the client sees only what the new token allows. Until then, the old or the new rights count.
    """

    def setUp(self) -> None:
        """Let each subscription take a turn."""
        super().setUp()
        self.patch(token_refresh, "VALUES_PER_TURN", 1)
        self.patch(pacing, "VALUES_PER_TURN", 1)

    def make_clock(self) -> Reactor:
        """Return a clock that tells turns of the reactor apart."""
        return Reactor()

    def test_subscriptions(self) -> None:
        self.many([("a", CHANNEL_CONNECTED), ("b", CHANNEL_DISCONNECTED), ("c", CHANNEL_CONNECTED)])

    def test_pattern(self) -> None:
        self.many([("a", "/queue/channel/*"), ("b", CHANNEL_CONNECTED)])

    def many(self, subscriptions: list[tuple[str, str]]) -> None:
        """Run with many seeds, and each ack mode."""
        for ack in ("auto", "client"):
            for seed in range(RUNS):
                self.run_once(Random(seed), ack, subscriptions)

    def run_once(self, random: Random, ack: str, subscriptions: list[tuple[str, str]]) -> None:
        """Run random steps, then check."""
        self.tokens = [["c1"]]  # those that may apply now: the last one with a RECEIPT, and all after it
        self.parts: dict[tuple[str, str], Part] = {}
        self.number = 0
        self.channel = self.logged_in(only={"channel_id": self.tokens[0]})
        for id, destination in subscriptions:
            self.subscribe(id, destination, ack)
        for _ in range(random.randint(10, 40)):
            step = random.choice("ppppppptttttrrrs")
            if step == "p":
                self.send(random.choice(CHANNELS), random.choice((CHANNEL_CONNECTED, CHANNEL_DISCONNECTED)))
            elif step == "t":
                self.clock.advance(0)
            elif step == "r":
                self.renew(random.sample(CHANNELS, random.randint(1, 3)))
            else:
                id, destination = random.choice(subscriptions)
                self.channel.client.received(unsubscribe(id))
                self.read()
                self.check(id)
                self.subscribe(id, destination, ack)
            self.read()
        for _ in range(100):
            self.clock.advance(0)
        self.read()
        self.assertEqual(len(self.tokens), 1)
        for id, _ in subscriptions:
            self.check(id)
        self.assertEqual(self.channel.closed, [])
        self.channel.client.ended()
        self.clock.advance(0)

    def subscribe(self, id: str, pattern: str, ack: str) -> None:
        """Subscribe."""
        plain = (CHANNEL_CONNECTED, CHANNEL_DISCONNECTED) if "*" in pattern else (pattern,)
        for destination in plain:
            self.parts[id, destination] = Part()
        self.channel.client.received(subscribe(id, pattern, ack=ack, prefetch_count="1000"))

    def send(self, channel_id: str, destination: str) -> None:
        """Publish an event, which is sent at the turn's end."""
        self.number += 1
        for (_, name), part in self.parts.items():
            if name == destination:
                part.due.append((self.number, channel_id, [*self.tokens]))
        body = json.dumps({"id": channel_id, "n": self.number}).encode()
        self.successResultOf(self.context.hub.publish(destination, body, "admin"))

    def renew(self, shown: list[str]) -> None:
        """Send a token that allows other events."""
        self.tokens.append(shown)
        for part in self.parts.values():
            for _, _, since in part.due:
                since.append(shown)
        self.refresh(self.channel, only={"channel_id": shown})

    def read(self) -> None:
        """Read what has arrived; check that a token whose RECEIPT has come, or a later one, allows each event."""
        for each in self.channel.frames():
            if each.headers.get("receipt-id") == "r":
                del self.tokens[0]
            elif each.command == "MESSAGE":
                event = json.loads(each.body)
                self.parts[each.headers["subscription"], each.headers["destination"]].seen.append(event["n"])
                self.assertIn(event["id"], [channel_id for shown in self.tokens for channel_id in shown])

    def check(self, id: str) -> None:
        """Check what the subscription has seen: once what all tokens allow, never what none allows."""
        for name, part in tuple(self.parts.items()):
            if name[0] == id:
                self.assertEqual(part.seen, sorted(set(part.seen)))
                for number, channel_id, since in part.due:
                    shows = {channel_id in shown for shown in since}
                    if len(shows) == 1:
                        self.assertEqual({number in part.seen}, shows, (number, since, part.seen))
                del self.parts[name]
