"""The memory of an idle connection."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import autobahn
from twisted.internet import protocol

import airyd
from airyd.events import AIRY_DESTINATIONS
from tests.doubles import frame
from tests.inflating import RSV1, deflated
from tests.integration.wire import TEXT, websocket_frame
from tests.loop import Peer
from tests.websocket.case import WebSocketTestCase, request, text

#: Bytes in Python objects that airyd and Autobahn may keep for one connection: 2,153 now, and some more where a set or
#: a dict that all connections share has just grown. Autobahn alone would keep some 8,000. The transport's and the
#: socket's come on top.
MOST = 2_230
CONNECTIONS = 100


class IdleTests(WebSocketTestCase):
    """A session with heart-beats and four subscriptions."""

    def open_one(self, extensions: str | None = None) -> Peer:
        """Return such a connection, which has received some events."""
        _, _, _, peer = self.ask(request(Sec_WebSocket_Extensions=extensions))
        frames = [frame("CONNECT", accept_version="1.0,1.1,1.2", heart_beat="30000,30000")]
        for number, destination in enumerate(AIRY_DESTINATIONS):
            frames.append(frame("SUBSCRIBE", id=f"sub-{number}", destination=destination, receipt=f"r-{number}"))
        for each in frames:
            peer.say(text(each) if extensions is None else websocket_frame(TEXT, deflated(each), rsv=RSV1))
        peer.got()
        return peer

    def each(self, extensions: str | None = None) -> float:
        """Return the bytes that one of them keeps."""
        peers = [self.open_one(extensions)]
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        peers += [self.open_one(extensions) for _ in range(CONNECTIONS)]
        gc.collect()
        places = [str(Path(package.__path__[0]) / "*") for package in (airyd, autobahn)]
        places.append(protocol.__file__)  # a factory of Twisted's makes the connection
        kept = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, place) for place in places])
        self.assertEqual(len(peers), CONNECTIONS + 1)
        return sum(statistic.size for statistic in kept.statistics("filename")) / CONNECTIONS

    def test_objects(self) -> None:
        self.assertLess(self.each(), MOST)

    def test_compression(self) -> None:
        """An idle connection with compression keeps no window, and nothing else."""
        self.assertLess(self.each("permessage-deflate; client_max_window_bits"), MOST)
