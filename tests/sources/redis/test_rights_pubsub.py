"""The least rights in docs/publishing.rst for Pub/Sub suffice, and each is needed."""

from __future__ import annotations

import json
import time

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.payloads import MESSAGE, body
from tests.patience import PATIENCE
from tests.sources.redis.rights import RightsTestCase, server_with_users

CHANNEL = f"airyd:{MESSAGE}"


class AirydTests(RightsTestCase):
    """The user of an airyd that reads and publishes."""

    user = "airyd-pubsub"
    parameters = "?mode=pubsub"

    def log_in_anew(self) -> None:
        """Close the daemon's connections, and wait until they are back; no client is subscribed."""
        self.redis.call("CLIENT", "KILL", "USER", self.user)
        self.wait_until_ready(503)
        self.wait_until_ready(200)

    def test_suffices(self) -> None:
        """Redis refuses no command of login, publish, subscribe, resume, dead letters or PING."""
        self.redis.call("ACL", "LOG", "RESET")
        self.log_in_anew()
        client = self.connect()
        start = client.subscribe(MESSAGE, "0").headers["last-message-id"]
        client.send("SEND", {"destination": MESSAGE, "receipt": "sent"}, body(MESSAGE, 1))
        self.assertEqual({client.receive().command, client.receive().command}, {"RECEIPT", "MESSAGE"})
        self.daemon.publish(MESSAGE, body(MESSAGE, 2))
        self.assertEqual(client.message("0").body, body(MESSAGE, 2))
        letters = self.redis.call("XLEN", "airyd:dead-letter")
        self.redis.call("PUBLISH", CHANNEL, f'["{time.time()}"]')
        self.redis.call("PUBLISH", CHANNEL, body(MESSAGE, 3))
        self.assertEqual(client.message("0").body, body(MESSAGE, 3))
        other = self.connect()
        receipt = other.subscribe(MESSAGE, "0", last_message_id=start)
        self.assertEqual(receipt.headers["recovered"], "true")
        self.assertEqual([other.message().body for _ in range(3)], [body(MESSAGE, number) for number in (1, 2, 3)])
        deadline = time.monotonic() + PATIENCE
        while self.redis.call("XLEN", "airyd:dead-letter") == letters:
            self.assertLess(time.monotonic(), deadline)
        while b" cmd=ping " not in self.redis.call("CLIENT", "LIST", "TYPE", "pubsub"):
            self.assertLess(time.monotonic(), deadline)
        denied = self.redis.call("ACL", "LOG")
        self.assertEqual([], [entry for entry in denied if self.user.encode() in entry])

    def test_no_more_than_needed(self) -> None:
        """It cannot access keys or other channels."""
        for words in (
            ("GET", CHANNEL),
            ("XADD", CHANNEL, "*", "payload", "{}"),
            ("XRANGE", "airyd:dead-letter", "-", "+"),
            ("SUBSCRIBE", "other:/queue/message"),
            ("PUBLISH", "other:/queue/message", "{}"),
            ("PSUBSCRIBE", "airyd:/*"),
            ("CLIENT", "LIST"),
        ):
            self.assertNotEqual(b"OK", self.redis.call("ACL", "DRYRUN", self.user, *words), words)

    def test_without_ping(self) -> None:
        self.without("ping")
        self.log_in_anew()
        client = self.connect()
        client.subscribe(MESSAGE, "0")
        self.redis.call("PUBLISH", CHANNEL, body(MESSAGE, 1))
        self.assertEqual(client.message().body, body(MESSAGE, 1))

    def test_without_subscribe(self) -> None:
        self.without("subscribe")
        self.redis.call("CLIENT", "KILL", "USER", self.user)
        reasons = self.wait_until_ready(503)
        while "NOPERM" not in "".join(reasons):
            reasons = self.wait_until_ready(503)
        self.redis.call("ACL", "SETUSER", self.user, "+subscribe")
        self.wait_until_ready(200)

    def test_without_publish(self) -> None:
        self.without("publish")
        status, answer = self.daemon.post(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(status, 503)
        self.assertIn("NOPERM", json.loads(answer)["error"])

    def check_counted_only(self) -> None:
        """A message that is refused is counted, and not copied."""
        daemon = self.own_daemon(*self.options)  # it doesn't try again
        before = self.redis.call("XLEN", "airyd:dead-letter")
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        self.redis.call("PUBLISH", CHANNEL, f'["{time.time()}"]')
        self.redis.call("PUBLISH", CHANNEL, body(MESSAGE, 1))
        client.message()
        daemon.wait_for_metrics(payloads_refused_total=1)
        client.disconnect()
        self.assertEqual(self.redis.call("XLEN", "airyd:dead-letter"), before)

    def test_without_xadd(self) -> None:
        self.without("xadd")
        self.check_counted_only()

    def test_without_set(self) -> None:
        self.without("set")
        self.check_counted_only()


class ReadOnlyTests(RightsTestCase):
    """The user of an airyd that may only read."""

    user = "airyd-pubsub-reader"
    parameters = "?mode=pubsub"

    def test_live_and_resume(self) -> None:
        client = self.connect()
        client.subscribe(MESSAGE, "0")
        self.redis.call("PUBLISH", CHANNEL, body(MESSAGE, 1))
        last = client.message().headers["message-id"]
        self.redis.call("PUBLISH", CHANNEL, body(MESSAGE, 2))
        other = self.connect()
        self.assertEqual(other.subscribe(MESSAGE, "0", last_message_id=last).headers["recovered"], "true")
        self.assertEqual(other.message().body, body(MESSAGE, 2))

    def test_publishing_fails(self) -> None:
        status, answer = self.daemon.post(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(status, 503)
        self.assertIn("NOPERM", json.loads(answer)["error"])


@pytest.mark.integration
class PublisherTests(SynchronousTestCase):
    """The user of a publisher."""

    def test_publish_and_nothing_else(self) -> None:
        connection = server_with_users().connect()
        self.addCleanup(connection.close)
        for words, allowed in (
            (("PUBLISH", CHANNEL, "{}"), True),
            (("PUBLISH", "other", "{}"), False),
            (("SUBSCRIBE", CHANNEL), False),
            (("XADD", CHANNEL, "*", "payload", "{}"), False),
        ):
            answer = connection.call("ACL", "DRYRUN", "publisher-pubsub", *words)
            self.assertEqual(answer == b"OK", allowed, words)
