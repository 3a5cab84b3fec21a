"""What airyd uses of Autobahn and isn't its API: one test per name, to be read when a new Autobahn breaks it.

Each looks at Autobahn's own protocol, not at airyd's, so that a failure says what has changed there. The names are
listed in ``airyd.websocket.connection``.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket import protocol
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.websocket import connection
from airyd.websocket.connection import WebSocketConnection
from tests.integration.wire import BINARY, CONTINUATION, TEXT, websocket_frame
from tests.websocket.case import close_frame, request, text

AIRYD = Path(connection.__file__).parents[1]
#: Options of what airyd does itself: the opening handshake, sending, and deadlines.
UNUSED_OPTIONS = {
    "allowNullOrigin",
    "allowedOrigins",
    "allowedOriginsPatterns",
    "autoFragmentSize",
    "autoPingInterval",
    "autoPingRestartOnAnyTraffic",
    "autoPingSize",
    "autoPingTimeout",
    "flashSocketPolicy",
    "logOctets",
    "maxConnections",
    "openHandshakeTimeout",
    "perMessageCompressionAccept",
    "serveFlashSocketPolicy",
    "tcpNoDelay",
    "trackTimings",
    "trustXForwardedFor",
    "versions",
    "webStatus",
}
#: Parameters that airyd's own versions must be able to take.
SIGNATURES = {
    "processData": [],
    "onFrameBegin": [],
    "onFrameData": ["payload"],
    "onFrameEnd": [],
    "sendData": ["data", "sync", "chopsize"],
    "sendCloseFrame": ["code", "reasonUtf8", "isReply"],
    "_closeConnection": ["abort"],
    "onMessageBegin": ["isBinary"],
    "onMessageFrameData": ["payload"],
    "onMessageFrameEnd": [],
    "onMessageEnd": [],
}


class Transport(StringTransport):
    """A transport that takes a needless word about producers, as the real ones do."""

    def unregisterProducer(self) -> None:
        """Do nothing."""


class Recorder(WebSocketServerProtocol):
    """Autobahn's protocol, which takes down the calls of some of its methods."""

    failByDrop = False
    maxMessagePayloadSize: int
    openHandshakeTimeout = 0
    closeHandshakeTimeout = 0

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        self.calls.append(("sendData", (data, sync, chopsize)))
        super().sendData(data, sync, chopsize)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        self.calls.append(("sendCloseFrame", (code, isReply, self.state)))
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def _closeConnection(self, abort: bool = False) -> None:
        self.calls.append(("_closeConnection", (abort, self.wasClean)))

    def onMessageBegin(self, isBinary: bool) -> None:
        self.calls.append(("onMessageBegin", (isBinary,)))
        self.message_data_total_length = 0

    def onMessageFrameData(self, payload: bytes) -> None:
        self.calls.append(("onMessageFrameData", (payload,)))

    def onMessageFrameEnd(self) -> None:
        self.calls.append(("onMessageFrameEnd", ()))

    def onMessageEnd(self) -> None:
        self.calls.append(("onMessageEnd", ()))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of the calls of a method."""
        return [arguments for called, arguments in self.calls if called == name]


class AutobahnTests(SynchronousTestCase):
    """Names of Autobahn's."""

    def make(self) -> Recorder:
        """Return a connection that has just been made."""
        factory = WebSocketServerFactory(reactor=Clock())
        factory.protocol = Recorder
        made: Any = factory.buildProtocol(None)
        made.makeConnection(Transport())
        assert isinstance(made, Recorder)
        return made

    def opened(self) -> Recorder:
        """Return a connection after its opening handshake."""
        made = self.make()
        made.dataReceived(request())
        made.calls.clear()
        return made

    def test_signatures(self) -> None:
        for name, wanted in SIGNATURES.items():
            for each in (WebSocketServerProtocol, WebSocketConnection, Recorder):
                found = inspect.signature(getattr(each, name)).parameters
                self.assertEqual([parameter for parameter in found if parameter != "self"], wanted, (each, name))

    def test_options(self) -> None:
        """airyd's class has all options that Autobahn would set on each connection; a new one is missed here."""
        options = set(WebSocketServerProtocol.CONFIG_ATTRS)
        self.assertTrue(options)
        self.assertEqual({option for option in options if not hasattr(WebSocketConnection, option)}, UNUSED_OPTIONS)

    def test_beginnings(self) -> None:
        """What is constant on airyd's class is what Autobahn begins with, or an option."""
        made, options = self.opened(), set(WebSocketServerProtocol.CONFIG_ATTRS)
        ours = {
            name: value
            for name, value in vars(WebSocketConnection).items()
            if not (name.startswith("__") or callable(value) or isinstance(value, property))
            and name not in WebSocketConnection.__slots__
        }
        for name in ours.keys() - options - {"is_closed", "trafficStats"}:
            self.assertEqual(getattr(made, name, None), ours[name], name)

    def test_no_other_module_names_them(self) -> None:
        """``data`` and ``state`` are words that all of airyd uses; the client of airyd tail asks why it closed."""
        table = re.split("(?m)^=.*$", inspect.getdoc(connection) or "")[1]
        names = set(re.findall(r"``(\w+)``", "".join(line[:32] for line in table.splitlines())))
        self.assertIn("_perMessageCompress", names)
        self.assertIn("websocket_version", names)
        names -= {"data", "state"}
        for path in AIRYD.rglob("*.py"):
            if path != Path(connection.__file__):
                tree = ast.parse(path.read_text())
                used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
                used |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
                allowed = {"failedByMe"} if path.relative_to(AIRYD) == Path("cli", "connection.py") else set()
                self.assertEqual(used & names, allowed, path)

    def test_data_is_what_has_not_been_read(self) -> None:
        made = self.make()
        made.dataReceived(b"GET / HT")
        made.dataReceived(b"TP/1.1")
        self.assertEqual(made.data, b"GET / HTTP/1.1")

    def test_states(self) -> None:
        made = self.make()
        states = [made.state]
        made.dataReceived(request())
        states.append(made.state)
        made.sendCloseFrame(1000)
        states.append(made.state)
        made.dataReceived(close_frame(1000))
        states.append(made.state)
        names = (made.STATE_CONNECTING, made.STATE_OPEN, made.STATE_CLOSING, made.STATE_CLOSED)
        self.assertEqual(tuple(states), names)

    def test_process_data(self) -> None:
        """Called for each step, until it says that there is no more; ``data`` begins with what it is to read."""

        class Steps(Recorder):
            def processData(self) -> bool:
                here = (self.data, self.current_frame is None, self.inside_message)
                again = super().processData()
                self.calls.append(("processData", (*here, again)))
                return again

        made = Steps()
        made.factory = WebSocketServerFactory(reactor=Clock())
        made.makeConnection(Transport())
        made.dataReceived(request())
        first, last = websocket_frame(TEXT, b"a", fin=False), websocket_frame(CONTINUATION, b"b")
        made.dataReceived(first + last + b"\x81")
        self.assertEqual(
            made.named("processData"),
            [
                (first + last + b"\x81", True, False, True),
                (first[-1:] + last + b"\x81", False, True, True),
                (last + b"\x81", True, True, True),
                (last[-1:] + b"\x81", False, True, True),
                (b"\x81", True, False, False),
            ],
        )

    def test_inflater(self) -> None:
        """``_perMessageCompress`` may be set by others; what it gives is the payload, and False stops the reading."""

        class Inflater:
            calls: list[Any] = []  # noqa: RUF012

            def start_decompress_message(self) -> None:
                self.calls.append("start")

            def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
                self.calls.append(data)
                return data[::-1]

            def end_decompress_message(self) -> None:
                self.calls.append("end")

        class Stops(Recorder):
            _isMessageCompressed: bool

            def onFrameBegin(self) -> None:
                self.calls.append(("onFrameBegin", (self.current_frame.rsv, self.inside_message)))
                super().onFrameBegin()

            def onFrameData(self, payload: bytes) -> bool | None:
                self.calls.append(("onFrameData", (payload, self._isMessageCompressed)))
                return False if super().onFrameData(payload) is False or len(payload) > 2 else None

        made: Any = Stops()
        made.factory = WebSocketServerFactory(reactor=Clock())
        made.makeConnection(Transport())
        made.dataReceived(request())
        self.assertIsNone(made._perMessageCompress)
        made._perMessageCompress = Inflater()
        made.calls.clear()
        made.dataReceived(websocket_frame(TEXT, b"abc", rsv=4) + text(b"d"))
        self.assertEqual(
            made.calls,
            [
                ("onFrameBegin", (4, False)),
                ("onMessageBegin", (False,)),
                ("onFrameData", (b"abc", True)),
                ("onMessageFrameData", (b"cba",)),
            ],
        )
        while made.processData():  # goes on where it stopped
            pass
        self.assertIn(("onFrameData", (b"", True)), made.calls)
        self.assertEqual(made.calls[-1], ("onMessageEnd", ()))
        self.assertIn(("onFrameData", (b"d", False)), made.calls)
        self.assertEqual(Inflater.calls, ["start", b"abc", b"", "end"])

    def test_masks(self) -> None:
        """Without ``applyMask`` the payload stays masked, and ``current_frame_masker`` counts it."""

        class Masked(Recorder):
            applyMask = False

            def onFrameData(self, payload: bytes) -> bool | None:
                mask, counted = self.current_frame.mask, self.current_frame_masker.pointer()
                self.calls.append(("onFrameData", (payload, mask, counted)))
                return super().onFrameData(payload)

        made = Masked()
        made.factory = WebSocketServerFactory(reactor=Clock())
        made.makeConnection(Transport())
        made.dataReceived(request())
        made.calls.clear()
        wire = websocket_frame(BINARY, b"abc", key=b"1234")
        made.dataReceived(wire[:-1])
        made.dataReceived(wire[-1:])
        masked = wire[-3:]
        self.assertEqual(made.named("onFrameData"), [(masked[:2], b"1234", 2), (masked[2:], b"1234", 3)])

    def test_send_data_is_the_only_way_out(self) -> None:
        made = self.make()
        made.dataReceived(request())
        made.dataReceived(websocket_frame(9, b"ping") + text(b"\xff"))
        transport: Any = made.transport
        sent = b"".join(data for data, sync, chopsize in made.named("sendData") if not sync and chopsize is None)
        self.assertEqual(transport.value(), sent)
        self.assertEqual(len(made.named("sendData")), 3)

    def test_send_close_frame_for_all(self) -> None:
        """For a reply, and for a violation; the state is still OPEN when it is called."""
        replying, failing = self.opened(), self.opened()
        replying.dataReceived(close_frame(1000))
        failing.dataReceived(text(b"\xff"))
        self.assertEqual(replying.named("sendCloseFrame"), [(1000, True, replying.STATE_OPEN)])
        self.assertEqual(failing.named("sendCloseFrame"), [(1007, False, failing.STATE_OPEN)])
        self.assertEqual((replying.failedByMe, failing.failedByMe), (False, True))

    def test_close_connection(self) -> None:
        """An abort is asked for after a clean closing handshake, and ``wasClean`` says so."""
        first, second = self.opened(), self.opened()
        first.sendCloseFrame(1000)
        first.dataReceived(close_frame(1000))
        second.dataReceived(close_frame(1000))
        self.assertEqual(first.named("_closeConnection"), [(True, True)])
        self.assertEqual(second.named("_closeConnection"), [(False, True)])

    def test_was_clean_when_lost(self) -> None:
        lost = self.opened()
        lost.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((lost.wasClean, lost.failedByMe), (False, False))

    def test_message_data_total_length(self) -> None:
        """Set to 0 where a message begins, it bounds the message over its frames."""
        made = self.opened()
        made.maxMessagePayloadSize = 10
        made.dataReceived(text(b"123456789") + text(b"123456789"))
        self.assertEqual(made.named("sendCloseFrame"), [])
        made.dataReceived(websocket_frame(TEXT, b"123456", fin=False) + websocket_frame(CONTINUATION, b"123456"))
        self.assertEqual([code for code, *_ in made.named("sendCloseFrame")], [1009])

    def test_streaming_calls(self) -> None:
        """Payload comes as it arrives, and nothing of Autobahn's collects it."""
        made = self.opened()
        wire = websocket_frame(TEXT, b"ab", fin=False) + websocket_frame(CONTINUATION, b"c")
        for byte in wire:
            made.dataReceived(bytes([byte]))
        names = [name for name, _ in made.calls]
        self.assertEqual(names[0], "onMessageBegin")
        self.assertEqual(b"".join(data for (data,) in made.named("onMessageFrameData")), b"abc")
        self.assertEqual((names.count("onMessageFrameEnd"), names.count("onMessageEnd")), (2, 1))

    def test_close_codes(self) -> None:
        """Those that airyd sends are taken from clients, too."""
        allowed = protocol.WebSocketProtocol.CLOSE_STATUS_CODES_ALLOWED
        self.assertEqual({1000, 1002, 1007, 1008, 1009, 1011, 1012, 1013} - set(allowed), set())
