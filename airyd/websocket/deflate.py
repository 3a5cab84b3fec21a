"""permessage-deflate (RFC 7692): a batch is compressed once for all its receivers, and inflating is limited.

The compressor starts each batch with an empty window. So a batch's bytes are valid for every client, whatever
it has received before, and the server keeps no window per client; within a batch, later messages still refer to
earlier ones. A client's inflater, which keeps its window between messages, never sees a reference to before the batch.

Uncompressed messages may be sent between compressed ones (RFC 7692, section 6): a batch for few clients is not worth
compressing.

A few bytes from a client may inflate to a thousand times as many. So an inflater has a budget for each turn of the
reactor, as large as one read, and the connection reads nothing more until the message is inflated. All limits apply
as without compression: those of STOMP while the message arrives, and the limit of a WebSocket message (close code
1009) to its inflated size. Clients start each message with an empty window (``client_no_context_takeover``), so an
inflater lives only as long as its message.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final, Literal, NamedTuple

from airyd.request_head import elements
from airyd.stomp.message import Framing
from airyd.websocket.frames import FLUSH_END, text_header, websocket_framing

#: The extension's name.
EXTENSION: Final = "permessage-deflate"

#: At any level, a single Airy message shrinks to 0.76 of its size and four in a batch to 0.39; but a body of 256 KiB
#: blocks the reactor for 1.2 ms at level 1 and for 4.2 ms at level 6.
LEVEL: Final = 1
#: Compressing a message takes 12 µs or more, sending it 5 µs per client: from this many clients on, compression adds
#: less than a tenth. A replay goes to one client, and would cost twice as much just when all clients reconnect.
FEWEST_RECEIVERS: Final = 32

#: Bytes of the budget that a final block uses besides its output, so that a turn has at most 128 of them. Each takes
#: 2 µs, because zlib starts anew after it, and may have only two bytes.
_FINAL_BLOCK: Final = 64

_WINDOW_BITS: Final = tuple(str(bits) for bits in range(8, zlib.MAX_WBITS + 1))
#: The parameters of an offer and their values; True means no value (RFC 7692, section 7.1). zlib lacks a window of 2^8.
_PARAMETERS: Final[Mapping[str, Sequence[str | Literal[True]]]] = {
    "server_no_context_takeover": (True,),
    "client_no_context_takeover": (True,),
    "server_max_window_bits": _WINDOW_BITS[1:],
    "client_max_window_bits": (True, *_WINDOW_BITS),
}


class Agreement(NamedTuple):
    """The compression that was negotiated with a client.

    :ivar answer: the value of ``Sec-WebSocket-Extensions`` in the answer to the opening handshake
    :ivar framing: the framing, the same object for all clients with the same parameters
    """

    answer: str
    framing: Framing


def parse_extensions(header: str) -> list[tuple[str, dict[str, list[str | Literal[True]]]]]:
    """Return the extensions of a ``Sec-WebSocket-Extensions`` header (RFC 6455, section 9.1).

    Each extension has a list of values for each of its parameters; True means no value.
    """
    extensions = []
    for element in elements(header):
        name, *pairs = [part.strip(" \t") for part in element.split(";")]
        parameters: dict[str, list[str | Literal[True]]] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            values = parameters.setdefault(key.rstrip(" \t").lower(), [])
            values.append(value.lstrip(" \t").removeprefix('"').removesuffix('"') if equals else True)
        extensions.append((name.lower(), parameters))
    return extensions


def agree(offers: Iterable[tuple[str, Mapping[str, Sequence[str | Literal[True]]]]]) -> Agreement | None:
    """Accept the first valid offer of permessage-deflate; return None if there is none (RFC 7692, section 5.1).

    :param offers: extensions as the client listed them, each with the values of its parameters; True for no value
    """
    for extension, parameters in offers:
        if extension == EXTENSION and all(
            len(values) == 1 and values[0] in _PARAMETERS.get(name, ()) for name, values in parameters.items()
        ):
            return _accept({name: values[0] for name, values in parameters.items()})
    return None


def _accept(offer: Mapping[str, str | Literal[True]]) -> Agreement:
    # Messages from the client share no window: an inflater lives only as long as its message.
    answer = [EXTENSION, "client_no_context_takeover"]
    window_bits = offer.get("server_max_window_bits")
    if window_bits is not None:
        answer.append(f"server_max_window_bits={window_bits}")
    takeover = "server_no_context_takeover" not in offer
    if not takeover:
        answer.append("server_no_context_takeover")
    return Agreement("; ".join(answer), deflate_framing(int(window_bits or zlib.MAX_WBITS), takeover))


@cache
def deflate_framing(window_bits: int = zlib.MAX_WBITS, takeover: bool = True) -> Framing:
    """Return the framing that compresses batches for many clients; equal arguments give the same object.

    :param window_bits: the logarithm of the window's size in bytes
    :param takeover: whether a message may refer to those before it in its batch
    """

    def framing(frames: Sequence[bytes], receivers: int) -> bytes:
        if receivers < FEWEST_RECEIVERS:
            return websocket_framing(frames, receivers)
        wire: list[bytes] = []
        deflater = None
        for frame in frames:
            if deflater is None or not takeover:
                deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, -window_bits)
            payload = deflater.compress(frame) + deflater.flush(zlib.Z_SYNC_FLUSH)
            payload = payload.removesuffix(FLUSH_END)
            wire += (text_header(len(payload), compressed=True), payload)
        return b"".join(wire)

    return framing


class Inflater:
    """Inflates one message, piece by piece.

    :ivar budget: bytes that may still be returned in this turn of the reactor; 0 only while ``has_more``
    :ivar has_more: whether more output may follow, for which the caller must wait until the next turn
    """

    __slots__ = ("_rest", "_window", "budget", "has_more")

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.reset()

    def reset(self) -> None:
        """Start with an empty window, and drop all input."""
        self._window = zlib.decompressobj(-zlib.MAX_WBITS)
        self._rest = b""
        self.has_more = False

    def inflate(self, data: bytes) -> bytes:
        """Inflate a part of the message; return as many bytes as the budget allows.

        :raises zlib.error: the data is not valid
        """
        inflated = b""
        self._rest += data
        while True:
            piece = self._window.decompress(self._rest, self.budget)
            inflated += piece
            self.budget -= len(piece)
            if not self._window.eof:
                self._rest = self._window.unconsumed_tail
                break
            # After a final block, the next block starts at the next byte (RFC 7692, section 7.2.1).
            self._rest = self._window.unused_data
            self._window = zlib.decompressobj(-zlib.MAX_WBITS)
            self.budget = max(self.budget - _FINAL_BLOCK, 0)
            if not self._rest or not self.budget:
                break
        # zlib may have consumed all input, and still hold a part of the output.
        self.has_more = not self.budget
        return inflated

    def finish(self) -> None:
        """End the message.

        :raises zlib.error: the message was cut off
        """
        if self._window.decompress(FLUSH_END, 1):
            raise zlib.error("the message was cut off")
