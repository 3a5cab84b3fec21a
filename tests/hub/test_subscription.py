"""One subscription: how it is established, and how it is acknowledged."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

from twisted.internet.defer import fail

from airyd.errors import SourceUnavailable
from airyd.hub.replay import RETRY_SECONDS
from airyd.metrics import REPLAY_RECOVERED, REPLAY_UNRECOVERED
from airyd.stomp.spec import AckMode, Version
from tests.model.twin import Prompt, event_id
from tests.peer import NAME, DestinationCase, Peer, request


class EstablishTests(DestinationCase):
    """The answer to a SUBSCRIBE comes before the first MESSAGE."""

    def setUp(self) -> None:
        super().setUp()
        self.twin.prompt = Prompt(watch=True, replay=True)
        self.keeper = self.live(1)[0]

    def resume(self, last: str | None, ack: AckMode = AckMode.AUTO) -> Peer:
        """Return a peer that resumes."""
        peer = Peer()
        self.subscribe(peer, request(NAME, last=last, ack=ack))
        return peer

    def test_recovered(self) -> None:
        self.bring(b"1", b"2", b"3")
        peer = self.resume(event_id(1))
        self.assertEqual(peer.answers, [("sub-0", event_id(1), True)])
        self.bring(b"4")
        self.assertEqual([frame.command for frame in peer.channel.frames], ["RECEIPT"] + ["MESSAGE"] * 3)
        self.assertEqual(peer.bodies, [b"2", b"3", b"4"])
        self.assertEqual(self.metrics.replays[REPLAY_RECOVERED], 1)
        self.assertCountEqual(self.destination.subscriptions, self.keeper.subscriptions + peer.subscriptions)

    def test_the_position_of_a_receipt(self) -> None:
        """A client that has seen no MESSAGE can resume after the RECEIPT's position."""
        self.bring(b"1")
        peer = self.resume(None)
        position = peer.answers[0][1]
        peer.leave()
        self.bring(b"2")
        self.assertEqual(self.resume(position).bodies, [b"2"])

    def test_the_position_of_an_empty_history(self) -> None:
        self.bring(b"1")
        self.assertEqual(self.resume(event_id(0)).bodies, [b"1"])

    def test_not_recovered(self) -> None:
        self.bring(b"1", b"2", b"3")
        self.twin.evict(NAME, 2)
        ids = [event_id(1), event_id(9), "999-2", "nonsense", "", "\n"]
        for count, last in enumerate(ids, 1):
            for ack in AckMode:
                peer = self.resume(last, ack=ack)
                self.assertEqual(peer.answers, [("sub-0", event_id(2 + count), False)], last)
                self.assertEqual(peer.bodies, [])
                self.addCleanup(peer.leave)
            self.bring(b"{}")
            self.assertEqual(peer.bodies, [b"{}"])
        self.assertEqual(self.metrics.replays[REPLAY_UNRECOVERED], 3 * len(ids))

    def test_another_destinations_id(self) -> None:
        peer = Peer()
        asked = replace(request(NAME), last_message_id=request("/b", last=event_id(0)).last_message_id)
        self.subscribe(peer, asked)
        self.assertEqual(peer.answers, [("sub-0", event_id(0), False)])

    def test_too_slow_for_the_answer(self) -> None:
        """The RECEIPT itself fails the client: nothing comes after it, and nothing is kept."""
        for last in (None, event_id(0), event_id(9)):
            peer = Peer()
            with patch.object(peer, "answer_subscribe", lambda *_, peer=peer: peer.leave()):
                self.subscribe(peer, request(NAME, last=last))
            self.bring(b"{}")
            self.assertEqual(peer.channel.wire, b"")
        self.assertEqual(self.metrics.subscriptions[NAME], 1)


class AcknowledgedTests(DestinationCase):
    """Subscriptions that acknowledge have replays of their own."""

    def setUp(self) -> None:
        super().setUp()
        self.twin.prompt = Prompt(watch=True, replay=True)

    def client(self, version: Version, ack: AckMode, prefetch: int = 100) -> Peer:
        """Return a peer that acknowledges."""
        peer = Peer(version)
        self.subscribe(peer, request(NAME, ack=ack, ordinal=7, prefetch=prefetch))
        return peer

    def test_ack_header_in_1_2_only(self) -> None:
        for ack in (AckMode.CLIENT, AckMode.CLIENT_INDIVIDUAL):
            peers = [self.client(version, ack) for version in Version]
            self.bring(b"{}")
            frames = [peer.channel.frames[-1] for peer in peers]
            message_id = frames[0].headers["message-id"]
            self.assertEqual([frame.headers.get("ack") for frame in frames], [None, None, f"7-{message_id}"])
        auto = self.live(1)[0]
        self.bring(b"{}")
        self.assertNotIn("ack", auto.channel.frames[-1].headers)

    def test_settle(self) -> None:
        for ack, expected in ((AckMode.CLIENT, 2), (AckMode.CLIENT_INDIVIDUAL, 1)):
            peer = self.client(Version.V1_2, ack)
            self.bring(b"1", b"2", b"3")
            (subscription,) = peer.subscriptions
            message_id = peer.channel.frames[-2].headers["message-id"]
            self.assertEqual(subscription.settle(message_id), expected)
            for unknown in (message_id, "", message_id.partition("-")[2], f"{message_id}0"):
                self.assertEqual(subscription.settle(unknown), 0, unknown)

    def test_auto_has_nothing_to_settle(self) -> None:
        (peer,) = self.live(1)
        self.bring(b"{}")
        self.assertEqual(peer.subscriptions[0].settle(peer.channel.frames[-1].headers["message-id"]), 0)

    def test_the_window_goes_on_in_another_turn(self) -> None:
        peer = self.client(Version.V1_2, AckMode.CLIENT, prefetch=2)
        self.bring(b"1", b"2", b"3")
        self.assertEqual(peer.bodies, [b"1", b"2"])
        peer.subscriptions[0].settle(peer.channel.frames[-1].headers["message-id"])
        self.assertEqual(peer.bodies, [b"1", b"2"])
        self.clock.advance(0)
        self.assertEqual(peer.bodies, [b"1", b"2", b"3"])

    def test_counts(self) -> None:
        peer = self.client(Version.V1_2, AckMode.CLIENT)
        before = len(peer.channel.wire)
        self.bring(b"1", b"2")
        self.assertEqual(self.metrics.deliveries[NAME], 2)
        self.assertEqual(self.metrics.bytes_out, len(peer.channel.wire) - before)

    def test_source_is_away_while_it_reads_on(self) -> None:
        """The client waits until the source is back."""
        peer = self.client(Version.V1_2, AckMode.CLIENT, prefetch=1)
        self.bring(b"1", b"2")
        with patch.object(self.twin, "replay", lambda *_: fail(SourceUnavailable("unreachable"))):
            peer.subscriptions[0].settle(peer.channel.frames[-1].headers["message-id"])
            self.clock.pump([0, *[RETRY_SECONDS] * 20])
        self.assertEqual((peer.faults, peer.bodies), ([], [b"1"]))
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual((peer.faults, peer.bodies), ([], [b"1", b"2"]))
