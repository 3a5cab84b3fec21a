"""Test doubles: a terminal or pipe that keeps its output, and a STOMP server over WebSocket in memory."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha1
from io import BytesIO
from types import MappingProxyType
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.cli.terminal import Console
from airyd.limits import Limits
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.spec import FROM_CLIENT, Version

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE = 0x1, 0x8


class Stream(BytesIO):
    """A standard stream.

    :param terminal: what ``isatty`` says
    :ivar broken: raised at the next write
    """

    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal
        self.broken: OSError | None = None

    def isatty(self) -> bool:
        return self._terminal

    def write(self, data: object, /) -> int:
        if self.broken is not None:
            raise self.broken
        return super().write(data)  # type: ignore[arg-type]  # BytesIO's own type differs by Python version

    @property
    def text(self) -> str:
        """All that was written."""
        return self.getvalue().decode()


class Screen:
    """A console and its two streams."""

    def __init__(
        self,
        name: str = "airyd",
        terminal: bool = False,
        follows: bool = False,
        encoding: str = "utf-8",
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.out = Stream(terminal)
        self.err = Stream(follows)
        self.console = Console(name, self.out, self.err, environ, encoding)


class _Wire(StringTransportWithDisconnection):
    """A connection in memory; bytes written are given to the peer at once."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer

    def write(self, data: bytes) -> None:
        self._peer.received(data)

    def unregisterProducer(self) -> None:
        """Do nothing: no producer was registered."""


class Peer:
    """The server's end of one connection.

    :param answer: the HTTP answer to the opening handshake; None: a good one
    :ivar frames: the STOMP frames that came, CONNECT first
    :ivar beats: how many heart-beats came
    :ivar request: the opening handshake's request
    :ivar close_codes: the codes of the close frames that came
    """

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._data = b""
        self._parser = Parser(Limits(), FROM_CLIENT)
        self.frames: list[Frame] = []
        self.beats = 0
        self.request = b""
        self.close_codes: list[int] = []
        self.wire = _Wire(self)
        self.protocol: IProtocol | None = None

    @property
    def connected(self) -> bool:
        """Whether the client still holds the connection."""
        return bool(self.wire.connected)

    def commands(self) -> list[str]:
        """Return the commands of the received frames."""
        return [frame.command for frame in self.frames]

    def subscriptions(self) -> dict[str, Frame]:
        """Return the SUBSCRIBE frames by destination, except that of the status, which every client sends."""
        return {
            f.headers["destination"]: f for f in self.frames if f.command == "SUBSCRIBE" and f not in self._status()
        }

    def _status(self) -> list[Frame]:
        return [f for f in self.frames if f.command == "SUBSCRIBE" and f.headers["id"] == "status"]

    @property
    def asks_status(self) -> bool:
        """Whether the client has subscribed to the status."""
        return bool(self._status())

    def connect(self, heart_beat: str = "0,0") -> None:
        """Answer CONNECT."""
        self.send("CONNECTED", version="1.2", heart_beat=heart_beat, server="fake")
        self._parser.connected(Version.V1_2)

    def confirm(self, destination: str, **headers: str) -> None:
        """Send the RECEIPT of a SUBSCRIBE."""
        self.send("RECEIPT", receipt_id=self.subscriptions()[destination].headers["receipt"], **headers)

    def confirm_all(self, **headers: str) -> None:
        """Send the RECEIPTs of all SUBSCRIBEs; ``headers`` are not for the status."""
        for frame in self._status():
            self.send("RECEIPT", receipt_id=frame.headers["receipt"], last_message_id="s-0")
        for destination in self.subscriptions():
            self.confirm(destination, **headers)

    def message(self, destination: str, message_id: str, body: bytes) -> None:
        """Send a MESSAGE."""
        subscription = self.subscriptions()[destination].headers["id"]
        self.send("MESSAGE", body, destination=destination, message_id=message_id, subscription=subscription)

    def status(self, body: bytes) -> None:
        """Send a MESSAGE of the status."""
        self.send("MESSAGE", body, destination="/airyd/status", message_id="s-1", subscription="status")

    def refuse(self, destination: str | None, message: str, body: bytes = b"") -> None:
        """Send the ERROR for a SUBSCRIBE, and close.

        :param destination: of the SUBSCRIBE; None for that of the status
        """
        frame = self.subscriptions()[destination] if destination is not None else self._status()[0]
        self.send("ERROR", body, message=message, receipt_id=frame.headers["receipt"])
        self.close(1008)

    def send(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        """Send a STOMP frame in one WebSocket message."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send_text(Frame(command, named, body).encode(Version.V1_2))

    def send_text(self, payload: bytes) -> None:
        """Send a WebSocket text message."""
        self._deliver(_TEXT, payload)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self.protocol is not None
        self.protocol.dataReceived(data)

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and drop the connection."""
        self._deliver(_CLOSE, code.to_bytes(2, "big") + reason.encode())
        self.drop()

    def drop(self, reason: Exception | None = None) -> None:
        """Lose the connection."""
        if self.wire.connected:
            self.wire.connected = False
            assert self.protocol is not None
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    def received(self, data: bytes) -> None:
        """Receive bytes from the client."""
        self._data += data
        if not self.request:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if end:
                self.request, self._data = head, rest
        while self.request and (frame := self._next_frame()) is not None:
            self._take(*frame)

    def open(self) -> None:
        """Answer the opening handshake."""
        assert self.protocol is not None
        self.protocol.dataReceived(self._answer or self._switching_protocols())

    def _switching_protocols(self) -> bytes:
        key = re.search(rb"(?i)^sec-websocket-key: *(\S+)", self.request, re.MULTILINE)
        assert key is not None
        accept = b64encode(sha1(key[1] + _GUID).digest())  # noqa: S324  (RFC 6455 says so)
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n" % accept
        )

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Remove a masked WebSocket frame from the received bytes and return it (RFC 6455, section 5.2)."""
        data = self._data
        if len(data) < 6:
            return None
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        end = start + 4 + length
        if len(data) < end:
            return None
        mask = data[start : start + 4]
        self._data = data[end:]
        return data[0] & 0xF, bytes(b ^ mask[i % 4] for i, b in enumerate(data[start + 4 : end]))

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE:
            self.close_codes.append(int.from_bytes(payload[:2], "big"))
        elif payload == b"\n":
            self.beats += 1
        else:
            self._parser.feed(payload)
            while (frame := self._parser.next_frame()) is not None:
                self.frames.append(frame)

    def _deliver(self, opcode: int, payload: bytes) -> None:
        assert self.protocol is not None
        size = len(payload)
        length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        self.protocol.dataReceived(bytes([0x80 | opcode]) + length + payload)


@implementer(IStreamClientEndpoint)
class Server:
    """Where the client connects, again and again.

    :ivar peers: the connections so far
    :ivar refusal: fails the next connections, if set
    :ivar answer: answers the next opening handshakes, if set
    """

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.refusal: Exception | None = None
        self.answer: bytes | None = None
        self.attempts = 0

    @property
    def peer(self) -> Peer:
        """The latest connection."""
        return self.peers[-1]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.attempts += 1
        if self.refusal is not None:
            return fail(self.refusal)
        peer = Peer(self.answer)
        protocol = protocolFactory.buildProtocol(peer.wire.getPeer())
        assert protocol is not None
        peer.protocol = peer.wire.protocol = protocol
        self.peers.append(peer)
        protocol.makeConnection(peer.wire)
        return succeed(protocol)


def pass_time(clock: Clock, seconds: int) -> None:
    """Advance the clock second by second, so that repeated calls run."""
    for _ in range(seconds):
        clock.advance(1)
