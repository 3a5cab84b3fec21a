"""permessage-deflate from the clients (RFC 7692): inflated piece by piece, at the pace of what isn't compressed.

A few bytes may inflate to a thousand times as many. Autobahn's own inflater would make all of that
of one read, and hand it on in one turn of the reactor. Here a turn hands on no more than a read
brings of what is not compressed; meanwhile nothing more is read from the client. So all bounds hold
as they do without compression: those of STOMP while the message arrives, and the one of a WebSocket
message (close 1009) over what it has become.

Nothing stays between messages: clients begin each with an empty window (``client_no_context_takeover``).
"""

from __future__ import annotations

import zlib
from typing import Final

from autobahn.exception import PayloadCorruptError

from airyd.stomp.message import Framing
from airyd.websocket.deflate import EXTENSION
from airyd.websocket.handshake import OpeningHandshake
from airyd.websocket.transport import READ_BYTES

#: What a client has left out at the end of a message (RFC 7692, section 7.2.1).
_FLUSH_END: Final = b"\x00\x00\xff\xff"
#: What a final block counts for beside its output, so that a turn has no more than 128 of them. One takes 2 µs, because
#: zlib begins anew behind it, and may have only two bytes.
_FINAL_BLOCK: Final = 64
_FIRST_CONTROL: Final = 8  # the lowest opcode of a control frame (RFC 6455, section 5.2)


class Inflater:
    """Inflates one message; the methods are those that Autobahn calls.

    :ivar left: bytes that may still be given in this turn of the reactor; 0 only while ``has_more``
    :ivar has_more: whether there may be more than was given: nothing may be asked of it until the next turn
    :ivar is_due: whether it will be asked for more in the next turn
    """

    __slots__ = ("_inflate", "_rest", "has_more", "is_due", "left")

    #: For the text of Autobahn's complaints.
    EXTENSION_NAME: Final = EXTENSION

    def __init__(self, left: int) -> None:
        self.left = left
        self.is_due = False
        self.start_decompress_message()

    def start_decompress_message(self) -> None:
        """Begin, with an empty window; also: forget all that came."""
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._rest = b""
        self.has_more = False

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
        """Take a part of the message; return what may be given of it and of what came before.

        :param max_output_len: Autobahn's bound on the message, which it checks afterwards too: that is enough here
        :raises PayloadCorruptError: this is not deflated
        """
        given = b""
        self._rest += data
        while True:
            try:
                piece = self._inflate.decompress(self._rest, self.left)
            except zlib.error as error:
                raise PayloadCorruptError(str(error)) from error
            given += piece
            self.left -= len(piece)
            if not self._inflate.eof:
                self._rest = self._inflate.unconsumed_tail
                break
            # A final block: the next one follows, at the next byte (RFC 7692, section 7.2.1).
            self._rest = self._inflate.unused_data
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            self.left = max(self.left - _FINAL_BLOCK, 0)
            if not self._rest or not self.left:
                break
        # zlib may have taken all of the data, and yet hold a part of what it becomes.
        self.has_more = not self.left
        return given

    def end_decompress_message(self) -> None:
        """End.

        :raises PayloadCorruptError: the message was cut off
        """
        try:
            rest = self._inflate.decompress(_FLUSH_END, 1)
        except zlib.error as error:
            raise PayloadCorruptError(str(error)) from error
        if rest:
            raise PayloadCorruptError("the message was cut off")


#: Stands on every connection that has agreed to compression, between its messages.
_IDLE: Final = Inflater(READ_BYTES)


class InflatingWebSocket(OpeningHandshake):
    """A connection that inflates what comes compressed.

    :ivar is_paused: whether nothing is to be handed on for now
    """

    __slots__ = ()

    is_paused: bool

    # What Autobahn asks to inflate; None: RSV1 is a fault.
    _perMessageCompress: Inflater | None  # type: ignore[assignment]  # Autobahn's type knows only None
    _isMessageCompressed: bool

    def compression_agreed(self, framing: Framing) -> None:
        """See ``OpeningHandshake``."""
        self._perMessageCompress = _IDLE

    def pause(self) -> None:
        """See ``IChannel``."""
        self.is_paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """See ``IChannel``. What has been read comes first."""
        self.is_paused = False
        if self._has_more:
            self._read_on_later()
        else:
            self.transport.resumeProducing()

    @property
    def _has_more(self) -> bool:
        inflater = self._perMessageCompress
        return inflater is not None and inflater.has_more and self.state != self.STATE_CLOSED

    def _dataReceived(self, data: bytes) -> None:
        if self._has_more:  # TLS may have had some more when reading was paused
            self.data += data
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        super()._dataReceived(data)
        if self._has_more:
            self.transport.pauseProducing()
            self._read_on_later()
        elif self._perMessageCompress is not None and not self.inside_message:
            self._perMessageCompress = _IDLE
        if self._perMessageCompress is not None:
            self._perMessageCompress.left = READ_BYTES  # for the next turn

    def _read_on_later(self) -> None:
        inflater = self._perMessageCompress
        if inflater is not None and not inflater.is_due:
            inflater.is_due = True
            self.factory.reactor.callLater(0, self._read_on, inflater)

    def _read_on(self, inflater: Inflater) -> None:
        inflater.is_due = False
        if self._has_more and not self.is_paused:
            self._read(b"")
            if not self._has_more and not self.is_paused:
                self.transport.resumeProducing()

    # Of Autobahn's, which reads the frames.

    def onFrameBegin(self) -> None:
        """A frame begins; with RSV1, a compressed message."""
        if self.current_frame.rsv and self._perMessageCompress is not None:
            self._perMessageCompress = Inflater(self._perMessageCompress.left)
        super().onFrameBegin()

    def onFrameData(self, payload: bytes) -> bool | None:
        """Take payload of a frame; False: read nothing more of what has been received."""
        if self.current_frame.opcode >= _FIRST_CONTROL or not self._isMessageCompressed:
            return super().onFrameData(payload)
        if self.state == self.STATE_OPEN and super().onFrameData(payload) is False:
            return False
        assert self._perMessageCompress is not None  # noqa: S101  # the message began with RSV1
        if self.state != self.STATE_OPEN:  # all that still matters is the client's close frame
            self._perMessageCompress.start_decompress_message()
            return None
        return False if self._perMessageCompress.has_more else None
