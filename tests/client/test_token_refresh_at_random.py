"""Token refreshes at random times, with resumes, full windows and wildcards: no event is lost, doubled or leaked."""

from __future__ import annotations

import json
from random import Random

from twisted.internet.defer import succeed

from airyd.events import CHANNEL_CONNECTED
from airyd.hub import replay
from tests.client.frames import subscribe
from tests.client.test_token_refresh import RefreshCase
from tests.doubles import Channel, frame

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
