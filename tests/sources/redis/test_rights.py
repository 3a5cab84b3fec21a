"""The least rights in docs/publishing.rst suffice, and each is needed."""

from __future__ import annotations

import json
import time
from typing import ClassVar

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.payloads import MESSAGE, UNREAD_COUNT, body
from tests.patience import PATIENCE
from tests.sources.redis.rights import RightsTestCase, server_with_users

EMPTY = "/test/empty"


class AirydTests(RightsTestCase):
    """The user of an airyd that reads and publishes."""

    user = "airyd"
    destinations: ClassVar[tuple[str, ...]] = (EMPTY,)

    def check_unavailable(self, last: str | None = None) -> None:
        """A SUBSCRIBE gets the ERROR that the document promises."""
        client = self.connect()
        resume = {} if last is None else {"last-message-id": last}
        client.send("SUBSCRIBE", {"id": "0", "destination": MESSAGE, "receipt": "r", **resume})
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("event source unavailable", 1013))

    def check_resume_fails(self) -> None:
        """Live events are delivered, and a resume gets an ERROR."""
        client = self.connect()
        client.subscribe(MESSAGE, "0")
        self.add(MESSAGE, body(MESSAGE, 1))
        self.check_unavailable(client.message().headers["message-id"])

    def test_suffices(self) -> None:
        """Redis refuses no command of login, publish, subscribe, resume or dead letters."""
        self.redis.call("ACL", "LOG", "RESET")
        self.redis.call("CLIENT", "KILL", "USER", self.user)
        self.wait_until_ready(503)
        self.wait_until_ready(200)
        client = self.connect()
        start = client.subscribe(EMPTY, "0").headers["last-message-id"]
        client.send("SEND", {"destination": EMPTY, "receipt": "sent"}, b'{"by":"SEND"}')
        self.assertEqual({client.receive().command, client.receive().command}, {"RECEIPT", "MESSAGE"})
        self.daemon.publish(EMPTY, b'{"by":"POST"}')
        self.assertEqual(client.message("0").body, b'{"by":"POST"}')
        refused = self.add(EMPTY, b"[]")
        self.add(EMPTY, b'{"by":"XADD"}')
        self.assertEqual(client.message("0").body, b'{"by":"XADD"}')

        other = self.connect()
        receipt = other.subscribe(EMPTY, "0", last_message_id=start)
        self.assertEqual(receipt.headers["recovered"], "true")
        self.assertEqual([json.loads(other.message().body)["by"] for _ in range(3)], ["SEND", "POST", "XADD"])

        deadline = time.monotonic() + PATIENCE
        while not (letters := self.redis.call("XRANGE", "airyd:dead-letter", "-", "+")):
            self.assertLess(time.monotonic(), deadline)
        fields = letters[-1][1]
        told = dict(zip(fields[::2], fields[1::2], strict=True))
        reason = told.pop(b"reason")
        self.assertTrue(reason.startswith(b"the body is not a JSON object"), reason)
        self.assertEqual(told, {b"stream": f"airyd:{EMPTY}".encode(), b"id": refused.encode(), b"payload": b"[]"})
        denied = self.redis.call("ACL", "LOG")
        self.assertEqual([], [entry for entry in denied if self.user.encode() in entry])

    def test_no_more_than_needed(self) -> None:
        """It cannot delete entries, or access another key."""
        for words in (
            ("DEL", "airyd:/queue/message"),
            ("XTRIM", "airyd:/queue/message", "MAXLEN", "0"),
            ("FLUSHALL",),
            ("XRANGE", "airyd:dead-letter", "-", "+"),
            ("XADD", "other:/queue/message", "*", "payload", "{}"),
            ("CLIENT", "KILL", "ID", "1"),
            ("CONFIG", "GET", "requirepass"),
        ):
            self.assertNotEqual(b"OK", self.redis.call("ACL", "DRYRUN", self.user, *words), words)

    def test_without_client_id(self) -> None:
        self.without("client|id")
        self.redis.call("CLIENT", "KILL", "USER", self.user)
        reasons = self.wait_until_ready(503)
        while not all("client|id" in reason for reason in reasons):
            reasons = self.wait_until_ready(503)
        self.redis.call("ACL", "SETUSER", self.user, "+client|id")
        self.wait_until_ready(200)

    def test_without_client_unblock(self) -> None:
        """A new stream is read when the XREAD without it ends: here, by an event of another stream."""
        first, second = self.connect(), self.connect()
        first.subscribe(MESSAGE, "0")
        self.add(MESSAGE, body(MESSAGE, 1))
        first.message()  # an XREAD of this stream alone is on its way now, or soon
        self.without("client|unblock")
        second.subscribe(UNREAD_COUNT, "0")
        self.add(UNREAD_COUNT, body(UNREAD_COUNT, 2))
        self.assertFalse(second.has_data(within=0.3))
        self.add(MESSAGE, body(MESSAGE, 3))
        self.assertEqual(second.message().body, body(UNREAD_COUNT, 2))

    def test_without_xinfo(self) -> None:
        self.without("xinfo|stream")
        self.check_unavailable()

    def test_without_eval_ro(self) -> None:
        """The rights that airyd needed before it used scripts: gaps are reported, and the log has a warning."""
        self.without("eval_ro")
        daemon = self.own_daemon(*self.options)
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        self.add(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(client.message().body, body(MESSAGE, 1))
        self.redis.call("DEL", f"airyd:{MESSAGE}")
        self.assertEqual(client.error()[0].headers["message"], "history lost")
        self.assertIn("Redis refuses EVAL_RO", daemon.log)

    def test_without_xread(self) -> None:
        """airyd is not ready, and says why; when it may read again, no event is missed."""
        self.without("xread")
        client = self.connect()
        client.subscribe(MESSAGE, "0")
        self.add(MESSAGE, body(MESSAGE, 1))
        (reason,) = self.wait_until_ready(503)
        self.assertIn("NOPERM", reason)
        self.redis.call("ACL", "SETUSER", self.user, "+xread")
        self.assertEqual(client.message().body, body(MESSAGE, 1))
        self.wait_until_ready(200)

    def test_without_xrange(self) -> None:
        self.without("xrange")
        self.check_resume_fails()

    def test_without_xrevrange(self) -> None:
        """The admin page has the history after a message-id, and says why it does not have the newest events."""
        first, second = (self.daemon.publish(MESSAGE, body(MESSAGE, number)) for number in range(2))
        self.assertEqual(self.daemon.request("GET", f"/api/v1/events?destination={MESSAGE}")[0], 200)
        self.without("xrevrange")
        status, answer = self.daemon.request("GET", f"/api/v1/events?destination={MESSAGE}")
        self.assertEqual(status, 503)
        self.assertIn("xrevrange", json.loads(answer)["error"])
        status, answer = self.daemon.request("GET", f"/api/v1/events?destination={MESSAGE}&after={first}")
        self.assertEqual([row["id"] for row in json.loads(answer)["events"]], [second])

    def test_without_multi(self) -> None:
        self.without("multi")
        self.check_resume_fails()

    def test_without_exec(self) -> None:
        self.without("exec")
        self.check_resume_fails()

    def test_without_xadd(self) -> None:
        self.without("xadd")
        status, answer = self.daemon.post(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(status, 503)
        self.assertIn("NOPERM", json.loads(answer)["error"])

    def test_without_xadd_nothing_is_copied(self) -> None:
        """An entry that is refused is counted."""
        daemon = self.own_daemon(*self.options)  # it doesn't try again
        self.without("xadd")
        before = self.redis.call("XLEN", "airyd:dead-letter")
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        self.add(MESSAGE, b"[]")
        self.add(MESSAGE, body(MESSAGE, 1))
        client.message()
        daemon.wait_for_metrics(payloads_refused_total=1)
        client.disconnect()
        self.assertEqual(self.redis.call("XLEN", "airyd:dead-letter"), before)


class ReadOnlyTests(RightsTestCase):
    """The user of an airyd that may only read."""

    user = "airyd-reader"
    destinations: ClassVar[tuple[str, ...]] = (EMPTY, f"{EMPTY}/without-events")

    def test_live_and_resume(self) -> None:
        client = self.connect()
        client.subscribe(MESSAGE, "0")
        self.add(MESSAGE, body(MESSAGE, 1))
        last = client.message().headers["message-id"]
        self.add(MESSAGE, body(MESSAGE, 2))
        other = self.connect()
        self.assertEqual(other.subscribe(MESSAGE, "0", last_message_id=last).headers["recovered"], "true")
        self.assertEqual(other.message().body, body(MESSAGE, 2))

    def test_position_of_an_empty_stream(self) -> None:
        """After an event a resume from the position is incomplete."""
        destination = f"{EMPTY}/without-events"
        client = self.connect()
        start = client.subscribe(destination, "0").headers["last-message-id"]
        self.assertTrue(start.endswith("-0-0"), start)
        self.add(destination, b"{}")
        self.assertEqual(client.message().body, b"{}")
        other = self.connect()
        self.assertEqual(other.subscribe(destination, "0", last_message_id=start).headers["recovered"], "false")

    def test_without_eval_ro(self) -> None:
        """The rights that airyd needed before it used scripts."""
        self.without("eval_ro")
        self.test_live_and_resume()

    def test_publishing_fails(self) -> None:
        status, answer = self.daemon.post(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(status, 503)
        self.assertIn("NOPERM", json.loads(answer)["error"])
        client = self.connect()
        client.send("SEND", {"destination": MESSAGE, "receipt": "r"}, body(MESSAGE, 1))
        self.assertEqual(client.error()[0].headers["message"], "event source unavailable")

    def test_refused_entries_are_counted_only(self) -> None:
        daemon = self.own_daemon(*self.options)
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        before = self.redis.call("XLEN", "airyd:dead-letter")
        self.add(MESSAGE, b"{}")
        self.add(MESSAGE, body(MESSAGE, 1))
        client.message()
        daemon.wait_for_metrics(payloads_refused_total=1)
        client.disconnect()
        self.assertEqual(before, self.redis.call("XLEN", "airyd:dead-letter"))


@pytest.mark.integration
class PublisherTests(SynchronousTestCase):
    """The users for publishers."""

    def may(self, user: str, *words: str) -> bool:
        """Ask Redis whether a user may do something."""
        connection = server_with_users().connect()
        self.addCleanup(connection.close)
        return bool(connection.call("ACL", "DRYRUN", user, *words) == b"OK")

    def test_publish_and_nothing_else(self) -> None:
        for user in ("publisher", "publisher-reader"):
            self.assertTrue(self.may(user, "XADD", f"airyd:{MESSAGE}", "MAXLEN", "~", "9", "*", "payload", "{}"))
            self.assertFalse(self.may(user, "XADD", "airyd:dead-letter", "*", "payload", "{}"))
            self.assertFalse(self.may(user, "XRANGE", f"airyd:{MESSAGE}", "-", "+"))
            self.assertFalse(self.may(user, "XTRIM", f"airyd:{MESSAGE}", "MAXLEN", "0"))
            self.assertFalse(self.may(user, "DEL", f"airyd:{MESSAGE}"))

    def test_dead_letters(self) -> None:
        for command in (("XRANGE", "airyd:dead-letter", "-", "+"), ("XREVRANGE", "airyd:dead-letter", "+", "-")):
            self.assertTrue(self.may("publisher-reader", *command))
            self.assertFalse(self.may("publisher", *command))
