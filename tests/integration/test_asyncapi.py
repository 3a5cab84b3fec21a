"""The AsyncAPI document of a running airyd: a parser of AsyncAPI accepts it, and what airyd sends is as it says."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.node import NodeClient
from tests.integration.payloads import MESSAGE, body
from tests.integration.wire import StompFrame
from tests.sources.redis.server import own_prefix, shared_server

STATUS = "/airyd/status"
#: A destination whose name has all kinds of characters.
ODD = "/queue/a~b%2F+c@d.e"
OPTIONS = ("--source=memory:", "--auth=anonymous:send", f"--destination={ODD}", "--destination=/events")


def served(daemon: Daemon) -> Any:
    """Return the document that the admin page serves."""
    status, answer = daemon.request("GET", "/api/v1/asyncapi.json")
    if status != 200:
        raise AssertionError(f"{status}: {answer!r}")
    return json.loads(answer)


class AsyncApiTests(DaemonTestCase):
    """One daemon, and a client whose frames are compared with the document."""

    options = OPTIONS

    def setUp(self) -> None:
        super().setUp()
        self.document = served(self.daemon)

    def check(self, frame: StompFrame, channel: str, message: str) -> None:
        """Check that the headers, and a JSON body, are as the message of a channel says."""
        described = self.document["channels"][channel]["messages"][message]
        if "$ref" in described:
            described = self.document["components"]["messages"][described["$ref"].rpartition("/")[2]]
        self.fits(described["headers"], frame.headers)
        if frame.headers.get("content-type") == "application/json":
            self.fits(described["payload"], json.loads(frame.body))

    def fits(self, schema: Any, value: object) -> None:
        """Check that a value fits a schema of the document."""
        validator = Draft7Validator({"components": self.document["components"], **schema})
        self.assertEqual([fault.message for fault in validator.iter_errors(value)], [], value)

    def test_parser(self) -> None:
        """The parser of the AsyncAPI Initiative finds no fault, and all destinations."""
        file = Path(self.mktemp()).absolute()
        file.write_text(json.dumps(self.document))
        program = NodeClient("asyncapi.mjs", file=str(file))
        self.addCleanup(program.close)
        parsed = program.wait("parsed")
        self.assertEqual(parsed["faults"], [])
        for name in (MESSAGE, ODD, "/events", STATUS):
            self.assertIn(name, parsed["addresses"])

    def test_parser_finds_faults(self) -> None:
        """The test before would notice a reference to nothing."""
        self.document["operations"]["subscribe"]["channel"]["$ref"] = "#/channels/none"
        file = Path(self.mktemp()).absolute()
        file.write_text(json.dumps(self.document))
        program = NodeClient("asyncapi.mjs", file=str(file))
        self.addCleanup(program.close)
        self.assertNotEqual(program.wait("parsed")["faults"], [])

    def test_server(self) -> None:
        (server,) = self.document["servers"].values()
        self.assertEqual(
            (server["protocol"], server["host"], server["pathname"]),
            ("ws", f"127.0.0.1:{self.daemon.port}", "/ws.communication"),
        )

    def test_frames(self) -> None:
        """CONNECTED, RECEIPT, MESSAGE, a notice and an ERROR are as the document says."""
        client = self.open()
        client.send("CONNECT", {"accept-version": "1.2"})
        self.check(client.expect("CONNECTED"), "connection", "CONNECTED")
        client.send("SUBSCRIBE", {"id": "s", "destination": STATUS})
        self.check(client.message("s"), "airydStatus", "sourceNotice")
        client.send("SUBSCRIBE", {"id": "0", "destination": MESSAGE, "receipt": "r1", "ack": "client"})
        receipt = client.expect("RECEIPT")
        self.check(receipt, "connection", "RECEIPT")
        self.daemon.publish(MESSAGE, body(MESSAGE, 1))
        self.check(client.message("0"), "queueMessage", "event")
        position = receipt.headers["last-message-id"]
        resume = {"id": "1", "destination": MESSAGE, "receipt": "r2", "last-message-id": position}
        client.send("SUBSCRIBE", resume)
        receipt = client.expect("RECEIPT")
        self.assertEqual(receipt.headers["recovered"], "true")
        self.check(receipt, "connection", "RECEIPT")
        self.check(client.message("1"), "queueMessage", "event")
        client.send("SUBSCRIBE", {"id": "2", "destination": "/none", "receipt": "r3"})
        error, code = client.error()
        self.check(error, "connection", "ERROR")
        rule = self.document["components"]["schemas"]["ErrorHeaders"]["properties"]["message"]
        self.assertEqual(rule["x-close-codes"][error.headers["message"]], code)


class ReloadTests(DaemonTestCase):
    """A server whose catalogue grows."""

    def test_new_destination(self) -> None:
        """A destination that a reload adds is in the document."""
        file = Path(self.mktemp()).absolute()
        file.write_text("")
        daemon = self.own_daemon("--source=memory:", f"--destinations-file={file}")
        self.assertNotIn("queueTags", served(daemon)["channels"])
        file.write_text("/queue/tags\n")
        start = len(daemon.log)
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for_log(re.compile(r"settings reloaded: .*\n"), start)
        self.assertIn("queueTags", served(daemon)["channels"])


class WorkersTests(DaemonTestCase):
    """The admin page of a parent of workers."""

    def test_same_document(self) -> None:
        """It is the one of a single process, but for the port and the sources."""
        redis = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        alone, parent = (served(self.own_daemon(*OPTIONS[1:], *more)) for more in ((), (redis, "--workers=2")))
        for document in (alone, parent):
            self.assertEqual(len(document.pop("servers")), 1)
        self.assertEqual(alone, parent)
