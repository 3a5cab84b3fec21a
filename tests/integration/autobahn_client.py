"""Autobahn's own WebSocket client, as a program that offers permessage-deflate.

It takes a URL, a destination and a number, subscribes as ``sub-0``, says in JSON lines what was agreed on, when the
subscription stands and what it gets, and ends after so many messages.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol, connectWS
from autobahn.websocket.compress import (
    PerMessageDeflate,
    PerMessageDeflateOffer,
    PerMessageDeflateResponse,
    PerMessageDeflateResponseAccept,
)
from twisted.internet import reactor

from tests.integration.wire import TEXT, decode, encode

_URL, _DESTINATION, _COUNT = sys.argv[1:]


def _say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


class Subscriber(WebSocketClientProtocol):
    """One connection."""

    def onOpen(self) -> None:
        """Begin a session."""
        agreed = [each for each in self.websocket_extensions_in_use if isinstance(each, PerMessageDeflate)]
        _say("open", extensions=[(each.EXTENSION_NAME, each.client_no_context_takeover) for each in agreed])
        self.got = 0
        headers = {"destination": _DESTINATION, "id": "sub-0", "receipt": "live"}
        for frame in (encode("CONNECT", {"accept-version": "1.2"}), encode("SUBSCRIBE", headers)):
            self.sendMessage(frame, isBinary=False)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Tell of a frame."""
        frame = decode(payload, TEXT, "1.2")
        if frame.command == "MESSAGE":
            _say("message", body=frame.body.decode())
            self.got += 1
            if self.got == int(_COUNT):
                self.sendClose(1000)
        elif frame.command == "RECEIPT":
            _say("live")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Tell, and end the program."""
        _say("closed", code=code)
        reactor.stop()


def _accept(response: object) -> PerMessageDeflateResponseAccept | None:
    return PerMessageDeflateResponseAccept(response) if isinstance(response, PerMessageDeflateResponse) else None


_factory = WebSocketClientFactory(_URL, protocols=["v12.stomp"])
_factory.protocol = Subscriber
_factory.setProtocolOptions(perMessageCompressionOffers=[PerMessageDeflateOffer()], perMessageCompressionAccept=_accept)
connectWS(_factory)
reactor.run()
