"""The AsyncAPI document: what it says about destinations, frames and errors, and ``airyd asyncapi``."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from twisted.trial.unittest import SynchronousTestCase

from airyd import notices
from airyd.cli.main import main
from airyd.contracts.asyncapi import ContractScope, asyncapi_document, channel_key
from airyd.contracts.frames import FRAMES
from airyd.errors import Fault
from airyd.events import AIRY_DESTINATIONS, MESSAGE, REFRESH, STATUS, UNREAD_COUNT, Event, message_id
from airyd.limits import Limits
from airyd.stomp.frames import Frame
from airyd.stomp.message import message_frames, message_head
from airyd.stomp.requests import Connect, Violation
from airyd.stomp.session import Session
from airyd.stomp.spec import FROM_CLIENT, FROM_SERVER, Command, Header, HeartBeat, Version

URLS = ("ws://127.0.0.1:8080/ws.communication", "wss://[::]:8443/ws.events")


def scope(*destinations: str, has_user_destinations: bool = False, needs_token: bool = False) -> ContractScope:
    """Return what a document of the test describes."""
    return ContractScope(destinations, has_user_destinations, URLS, needs_token, Limits())


def document_of(*destinations: str, **more: bool) -> Any:
    """Return the document as it arrives."""
    return json.loads(json.dumps(asyncapi_document(scope(*destinations, **more))))


class DocumentTests(SynchronousTestCase):
    """The document."""

    def test_destinations(self) -> None:
        document = document_of(*AIRY_DESTINATIONS, "/queue/tags")
        addresses = [channel["address"] for channel in document["channels"].values()]
        self.assertEqual(addresses, [None, STATUS, REFRESH, *AIRY_DESTINATIONS, "/queue/tags"])
        for key, schema in (("queueMessage", "MessagePayload"), ("queueTags", "JsonObject")):
            event = document["channels"][key]["messages"]["event"]
            self.assertEqual(event["payload"], {"$ref": f"#/components/schemas/{schema}"})

    def test_user_destinations(self) -> None:
        """They have the message-ids of the plain destination, and nobody publishes to them."""
        document = document_of(MESSAGE, has_user_destinations=True)
        plain, own = (document["channels"][key]["messages"] for key in ("queueMessage", "userQueueMessage"))
        self.assertEqual([*plain], ["event", "publication"])
        self.assertEqual([*own], ["event"])
        rules = [each["event"]["headers"]["allOf"][1]["properties"] for each in (plain, own)]
        self.assertEqual(rules[0][Header.MESSAGE_ID], rules[1][Header.MESSAGE_ID])
        self.assertEqual(rules[1][Header.DESTINATION], {"const": "/user/queue/message"})

    def test_servers(self) -> None:
        one, other = document_of(MESSAGE)["servers"].values()
        self.assertEqual((one["protocol"], one["host"], one["pathname"]), ("ws", "127.0.0.1:8080", "/ws.communication"))
        self.assertEqual((other["protocol"], other["host"], other["pathname"]), ("wss", "{host}:8443", "/ws.events"))
        self.assertNotIn("security", one)
        secure = document_of(MESSAGE, needs_token=True)["servers"].values()
        self.assertEqual([len(each["security"]) for each in secure], [1, 1])

    def test_keys(self) -> None:
        """Names that differ only in other characters have different keys, also from those of the connection."""
        names = ("/queue/a-b", "/queue/a.b", "/~", "/@", "/connection")
        channels = document_of(*names)["channels"]
        found = {channel["address"]: key for key, channel in channels.items()}
        expected = ["queueAB", "queueAB_2", "destination", "destination_2", "connection_2"]
        self.assertEqual([found[name] for name in names], expected)
        self.assertEqual(found[None], "connection")
        self.assertEqual(channel_key("/queue/unread-count", {}), "queueUnreadCount")

    def test_operations_are_not_lost(self) -> None:
        """Each destination has an operation to deliver and one to publish, whatever it is called."""
        names = ("/queue/a", "/Queue/a", "/airyd.status", "/connection", "/queue.a")
        operations = document_of(*names)["operations"].values()
        delivered = [each["channel"]["$ref"] for each in operations if each["action"] == "send"]
        self.assertEqual(len(set(delivered)), len(names) + 2, "with the status and the connection")

    def test_plain_text(self) -> None:
        self.assertEqual(re.findall(r":ivar|:class:|:data:|``|\bNone\b", json.dumps(document_of(MESSAGE))), [])

    def test_errors(self) -> None:
        """Each ERROR is in it, with its close code and its kind."""
        rule = document_of()["components"]["schemas"]["ErrorHeaders"]["properties"]["message"]
        for fault in Fault:
            self.assertIn(fault.message, rule["enum"])
            self.assertEqual(rule["x-close-codes"][fault.message], fault.close_code.value)
            self.assertEqual(rule["x-kinds"][fault.message], fault.kind)
        self.assertEqual(len(rule["enum"]), len(Fault))

    def test_all_frames(self) -> None:
        self.assertEqual({*FRAMES}, {*FROM_CLIENT, *FROM_SERVER})


class FrameTests(SynchronousTestCase):
    """Frames that airyd sends fit the schemas, and the session reads what they say."""

    def setUp(self) -> None:
        self.document = document_of(MESSAGE, UNREAD_COUNT)

    def valid(self, schema: dict[str, Any], value: object) -> bool:
        """Return whether a value fits a schema of the document."""
        return bool(Draft7Validator({"components": self.document["components"], **schema}).is_valid(value))

    def check(self, encoded: bytes, version: Version = Version.V1_2) -> None:
        """Check that the headers of a frame fit, and that each of them is described."""
        frame = Frame.decode(encoded, version)
        name = f"{frame.command.capitalize()}Headers"
        self.assertTrue(self.valid({"$ref": f"#/components/schemas/{name}"}, frame.headers), frame)
        described = self.document["components"]["schemas"][name]["properties"]
        self.assertEqual(set(frame.headers) - set(described), set())

    def session(self, version: Version = Version.V1_2) -> Session:
        """Return a session after CONNECT."""
        session = Session(Limits(), HeartBeat(30000, 30000))
        (request,) = session.receive(Frame(Command.CONNECT, {Header.ACCEPT_VERSION: version.value}).encode(version))
        self.assertIsInstance(request, Connect)
        self.check(session.accept("94c297a8-1"), version)
        return session

    def test_from_server(self) -> None:
        for version in Version:
            session = self.session(version)
            self.check(session.receipt("r1"), version)
            self.check(session.receipt("r1", {Header.LAST_MESSAGE_ID: "x-1", Header.RECOVERED: "true"}), version)
            for fault in Fault:
                self.check(session.error(fault, "A sentence.", "r1"), version)
                self.check(session.error(fault, ""), version)

    def test_messages(self) -> None:
        event = Event(MESSAGE, "1795563326918-1", b'{"conversation_id":"c1","message":{"id":"m1"}}')
        for ordinal in (None, 3):
            head = message_head(Version.V1_2, MESSAGE, "sub-0")
            for encoded in message_frames(head, [event], ordinal):
                self.check(encoded)
                headers = Frame.decode(encoded, Version.V1_2).headers
                for key, is_its in (("queueMessage", True), ("queueUnreadCount", False)):
                    schema = self.document["channels"][key]["messages"]["event"]["headers"]
                    self.assertEqual(self.valid(schema, headers), is_its)

    def test_required_headers(self) -> None:
        """A client's frame without a header that is required is refused; one without another header is not."""
        values = {
            Header.DESTINATION: MESSAGE,
            Header.TRANSACTION: "t1",
            Header.ACK: "client",
            Header.HEART_BEAT: "0,0",
            Header.ACCEPT_VERSION: "1.2",
            Header.PREFETCH_COUNT: "5",
            Header.CONTENT_LENGTH: "0",
        }
        for command in FROM_CLIENT:
            rules = FRAMES[command].headers
            for left_out in rules:
                given = {rule.name: values.get(rule.name, "s1") for rule in rules if rule is not left_out}
                if command in (Command.ACK, Command.NACK) and Header.ID in given:
                    given[Header.ID] = f"0-{message_id(MESSAGE, '1-1')}"
                requests = self.outcome(command, given)
                missing = [
                    each
                    for each in requests
                    if isinstance(each, Violation) and each.error.fault is Fault.MISSING_HEADER
                ]
                self.assertEqual(bool(missing), left_out.is_required, (command, left_out.name, requests))
                schema = {"$ref": f"#/components/schemas/{command.capitalize()}Headers"}
                self.assertEqual(self.valid(schema, given), not left_out.is_required, (command, left_out.name))

    def outcome(self, command: str, headers: dict[str, str]) -> list[object]:
        """Return what a session makes of a frame."""
        fresh = command in (Command.CONNECT, Command.STOMP)
        session = Session(Limits(), HeartBeat(0, 0)) if fresh else self.session()
        return list(session.receive(Frame(command, headers).encode(Version.V1_2)))

    def test_wrong_values(self) -> None:
        """What the schema refuses, the session refuses as well."""
        subscribe = {Header.ID: "0", Header.DESTINATION: MESSAGE}
        for command, headers in (
            (Command.SUBSCRIBE, {**subscribe, Header.ACK: "never"}),
            (Command.SUBSCRIBE, {**subscribe, Header.PREFETCH_COUNT: "0"}),
            (Command.SUBSCRIBE, {**subscribe, Header.PREFETCH_COUNT: "x"}),
            (Command.CONNECT, {Header.ACCEPT_VERSION: "1.2", Header.HEART_BEAT: "1"}),
            (Command.ACK, {Header.ID: "x"}),
        ):
            self.assertFalse(self.valid({"$ref": f"#/components/schemas/{command.capitalize()}Headers"}, headers))
            (request,) = self.outcome(command, headers)
            self.assertIsInstance(request, Violation)

    def test_notices(self) -> None:
        """Each notice fits its own schema, and no other."""
        messages = self.document["channels"]["airydStatus"]["messages"]
        for kind, bodies in {
            "sourceNotice": (notices.sources([]), notices.sources([MESSAGE])),
            "gapNotice": (notices.gap(MESSAGE, "c102d7ca-1-1"),),
            "subscriptionNotice": (notices.subscription_ended("0", MESSAGE),),
            "tokenNotice": (notices.token_expires(59.2), notices.token_expires(-1)),
            "drainingNotice": (notices.draining(1.5),),
        }.items():
            for body in bodies:
                fitting = [name for name, each in messages.items() if self.valid(each["payload"], json.loads(body))]
                self.assertEqual(fitting, [kind])


class CommandTests(SynchronousTestCase):
    """``airyd asyncapi``."""

    def run_command(self, *words: str) -> tuple[object, str, str]:
        """Return the exit status, and what was written to standard output and standard error."""
        out, err = io.BytesIO(), io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(out, "utf-8", write_through=True))
        self.patch(sys, "stderr", io.TextIOWrapper(err, "utf-8", write_through=True))
        status = self.assertRaises(SystemExit, main, ["asyncapi", *words]).code
        return status, out.getvalue().decode(), err.getvalue().decode()

    def printed(self, *words: str) -> Any:
        """Return the document that is printed."""
        status, out, err = self.run_command(*words)
        self.assertEqual((status, err), (0, ""))
        return json.loads(out)

    def test_options(self) -> None:
        """The document has what the daemon's options say; no secret is read or shown."""
        secret = Path(self.mktemp())
        secret.write_text("a secret that is long enough for a key")
        document = self.printed(
            "--destination=/queue/tags",
            f"--auth=jwt:secret-file={secret}",
            "--user-destinations=user_id=sub",
            "--listen=tcp:9000",
            "--listen=unix:/run/x.sock",
            r"--listen=tcp6:9001:interface=\:\:1",
            "--path=/ws",
        )
        self.assertIn("userQueueTags", document["channels"])
        servers = document["servers"].values()
        self.assertEqual([each["host"] for each in servers], ["{host}:9000", "[::1]:9001"])
        self.assertEqual([each["protocol"] + each["pathname"] for each in servers], ["ws/ws", "ws/ws"])
        self.assertEqual([each["security"] for each in servers], [[{"$ref": "#/components/securitySchemes/token"}]] * 2)
        self.assertNotIn(secret.read_text(), json.dumps(document))
        self.assertNotIn(str(secret), json.dumps(document))

    def test_without_options(self) -> None:
        document = self.printed("--listen=unix:/run/x.sock")
        self.assertNotIn("servers", document)
        self.assertEqual(len(document["channels"]), len(AIRY_DESTINATIONS) + 3)

    def test_wrong_option(self) -> None:
        status, out, err = self.run_command("--listen=tpc:1")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("did you mean tcp?", err)
