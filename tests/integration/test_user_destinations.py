"""User destinations with real twistd, Redis and stompjs: each user gets only the user's own events."""

from __future__ import annotations

import json
import os
import re
import signal
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.integration.daemon import Daemon
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import MESSAGE, UNREAD_COUNT
from tests.integration.raw import RawClient
from tests.integration.test_cli import Cli
from tests.integration.test_tokens import TokenCase
from tests.snippets import snippets
from tests.sources.redis.server import RedisServer

USER_MESSAGE = f"/user{MESSAGE}"
OPTION = "--user-destinations=user_id=sub"


def event(user: str, number: int = 0) -> bytes:
    """Return an event of a user that fits all destinations."""
    fields = {"conversation_id": "c", "message": {"id": "m"}, "unread_message_count": number, "timestamp": "t"}
    return json.dumps({"id": "c", **fields, "user_id": user}).encode()


class UserDestinationTests(TokenCase):
    """The events come from Redis, so that any node may have them."""

    @cached_property
    def redis(self) -> RedisServer:
        """The Redis of the test."""
        server = RedisServer()
        self.addCleanup(server.close)
        return server

    def serve(self, *options: str) -> Daemon:
        """Start a daemon on the test's Redis."""
        return self.with_secret("", OPTION, f"--source=redis://127.0.0.1:{self.redis.port}/0", *options)

    def logged_in(self, daemon: Daemon, **changed: Any) -> RawClient:
        """Return a client that is connected with a token."""
        client = self.open(daemon)
        client.connect(Authorization=self.token(**changed))
        return client

    def refused_by(self, client: RawClient, destination: str) -> str:
        """Have a SUBSCRIBE refused; return the ERROR's message."""
        client.send("SUBSCRIBE", id="x", destination=destination)
        return client.error()[0].headers["message"]

    def test_stompjs(self) -> None:
        """In each version of it, as users of Spring know it."""
        daemon = self.serve()
        for version in (5, 6, 7):
            clients = {
                user: NodeClient(
                    "airy.mjs",
                    url=daemon.url,
                    stompjs=version,
                    destinations=[USER_MESSAGE, f"/user{UNREAD_COUNT}"],
                    token=self.token(sub=user, subscribe=["/user/**"]),
                )
                for user in ("ann", "bob")
            }
            for client in clients.values():
                self.addCleanup(client.close)
                client.wait_all("receipt", 2)
            for destination in (MESSAGE, UNREAD_COUNT):
                for user, client in clients.items():
                    daemon.publish(destination, event("eve"))
                    wire_id = daemon.publish(destination, event(user))
                    message = client.wait("message")
                    self.assertEqual(body_of(message), event(user))
                    headers = (message["headers"]["destination"], message["headers"]["message-id"])
                    self.assertEqual(headers, (f"/user{destination}", wire_id))
            clients["ann"].tell("send", destination=USER_MESSAGE, body="e30=")
            self.assertEqual(clients["ann"].wait("error")["headers"]["message"], "403 Forbidden")
            clients["bob"].tell("subscribe", destination=MESSAGE)
            self.assertEqual(clients["bob"].wait("error")["headers"]["message"], "403 Forbidden")
            for client in clients.values():
                self.assertEqual(len(client.told("message")), 2)
                client.close()

    def test_resume_on_another_node(self) -> None:
        """By the position of either name."""
        first, second = self.serve(), self.serve()
        client = self.logged_in(first, sub="ann")
        start = client.subscribe(USER_MESSAGE, "u").headers["last-message-id"]
        missed = [first.publish(MESSAGE, event(user)) for user in ("ann", "bob", "ann")]
        own = client.message("u")
        self.assertEqual((own.headers["message-id"], own.headers["destination"]), (missed[0], USER_MESSAGE))
        for position, destination, expected in (
            (start, USER_MESSAGE, missed[::2]),
            (start, MESSAGE, missed),
            (missed[0], USER_MESSAGE, missed[2:]),
        ):
            other = self.logged_in(second, sub="ann")
            receipt = other.subscribe(destination, "x", last_message_id=position)
            self.assertEqual((receipt.headers["recovered"], receipt.headers["last-message-id"]), ("true", position))
            found = [other.message("x").headers for _ in expected]
            self.assertEqual(
                [(each["message-id"], each["destination"]) for each in found],
                [(wire_id, destination) for wire_id in expected],
            )

    def test_refused(self) -> None:
        strict = self.with_secret("", "--user-destinations=user_id=owner")
        for wrong in (None, "", [], [""], ["ann", ""], ["ann", 7], [["ann"]], 7, True, {"ann": "ann"}):
            client = self.logged_in(strict, owner=wrong)
            client.subscribe(MESSAGE, "m")
            self.assertEqual(self.refused_by(client, USER_MESSAGE), "403 Forbidden", wrong)
        daemon = self.serve("--auth=anonymous")
        anonymous = self.open(daemon)
        anonymous.connect()
        self.assertEqual(self.refused_by(anonymous, USER_MESSAGE), "403 Forbidden")
        for pattern in ("/**", "/queue/**", "/*/queue/message"):
            client = self.logged_in(daemon, subscribe=[pattern])
            self.assertEqual(self.refused_by(client, USER_MESSAGE), "403 Forbidden", pattern)
        for name in ("/user//queue/message", f"/user{USER_MESSAGE}", "/user/queue%2Fmessage", "/user/airyd/status"):
            client = self.logged_in(daemon)
            self.assertEqual(self.refused_by(client, name), "unknown destination", name)
        self.assertEqual(daemon.post(USER_MESSAGE, event("ann"))[0], 404)

    def test_catalogue(self) -> None:
        """What SIGHUP adds has user destinations; it adds none whose name begins with /user/."""
        path = Path(self.mktemp()).absolute()
        path.write_text("")
        daemon = self.serve(f"--destinations-file={path}")
        client = self.logged_in(daemon, sub="ann", subscribe=["/user/**"])
        client.subscribe("/user/**", "w")
        path.write_text("/user/tags\n/queue/tags\n")
        start = len(daemon.log)
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for_log(re.compile("nothing was reloaded: .*'/user/tags'"), start)
        path.write_text("/queue/tags\n")
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for_log(re.compile("reloaded: destinations added: /queue/tags"), start)
        daemon.wait_for_metrics(subscriptions=5)
        daemon.publish("/queue/tags", event("bob"))
        daemon.publish("/queue/tags", event("ann"))
        message = client.message("w")
        self.assertEqual((message.headers["destination"], message.body), ("/user/queue/tags", event("ann")))

    def test_workers(self) -> None:
        """Each of them has the option."""
        daemon = self.serve("--workers=2")
        clients = [self.logged_in(daemon, sub=user) for user in ("ann", "bob") * 3]
        for client in clients:
            client.subscribe(USER_MESSAGE, "u")
        for user in ("eve", "ann", "bob"):
            daemon.publish(MESSAGE, event(user))
        for client, user in zip(clients, ("ann", "bob") * 3, strict=True):
            self.assertEqual(client.message("u").body, event(user))

    def test_new_token_and_revocation(self) -> None:
        """A new token's values apply, then the login ends with its revocation."""
        daemon = self.with_secret(":subject-claim=user_id", "--user-destinations=user_id=owns")
        client = self.logged_in(daemon, owns="ann")
        client.subscribe(USER_MESSAGE, "u")
        token = self.token(owns=["bob", "eve"])
        client.send("SEND", [("destination", "/airyd/token"), ("receipt", "r")], token.encode())
        client.receipt("r")
        for user in ("ann", "eve", "bob"):
            daemon.publish(MESSAGE, event(user))
        self.assertEqual([client.message("u").body for _ in range(2)], [event("eve"), event("bob")])
        subject = json.dumps({"subject": "6ae85efa-cd94-44e3-8068-0348fdf9117b"}).encode()
        status, _ = daemon.request("POST", "/revoke", subject, {"Content-Type": "application/json"})
        self.assertEqual(status, 200)
        self.assertEqual(client.error()[0].headers["message"], "401 token revoked")

    def test_tail(self) -> None:
        """``airyd tail`` follows one by name, and by a pattern; it resumes."""
        daemon = self.serve()
        token = Path(mkdtemp(), "token")
        token.write_text(self.token(sub="ann"))
        for asked in (USER_MESSAGE, "/user/queue/*"):
            tail = Cli(Path(self.mktemp()), "tail", daemon.url, asked, "--token-file", str(token), "--count=1")
            self.addCleanup(tail.kill)
            tail.wait_for("connected to ws://")
            daemon.publish(MESSAGE, event("bob"))
            wire_id = daemon.publish(MESSAGE, event("ann"))
            self.assertEqual(tail.wait(), 0)
            (printed,) = tail.events()
            self.assertEqual((printed["destination"], printed["message-id"]), (USER_MESSAGE, wire_id))

    def test_frames_of_the_document(self) -> None:
        """docs/protocol.rst: what it has a client send is sent as it is, and what it has the server answer comes."""
        (shown,) = [each.text for each in snippets() if re.match(r"SUBSCRIBE +MESSAGE\n", each.text)]
        columns = shown.index("MESSAGE")
        halves = [(line[:columns].rstrip(), line[columns:]) for line in shown.splitlines()]
        sent, answer = ("\n".join(half) for half in zip(*halves, strict=True))
        daemon = self.serve()
        client = self.logged_in(daemon, sub="ann")
        client.send_frame(1, sent.partition("^@")[0].encode() + b"\0")
        daemon.wait_for_metrics(subscriptions=1)
        self.logged_in(daemon, sub="bob").subscribe(MESSAGE, "after")  # subscriptions are answered in their order
        head, _, body = answer.removesuffix("^@").partition("\n\n")
        daemon.publish(MESSAGE, body.encode())
        message = client.message("sub-0")
        self.assertEqual(message.body.decode(), body)
        for line in head.splitlines()[1:]:
            name, _, value = line.partition(":")
            if name != "message-id":
                self.assertEqual(message.headers[name], value, name)
