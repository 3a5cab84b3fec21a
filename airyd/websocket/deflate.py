"""permessage-deflate (RFC 7692): one deflate of a batch serves all who get it; inflating has bounds.

The history of the compressor begins anew with each batch. So a batch's bytes are right for every
client, whatever that has received before, and the server keeps no window for anybody; within a
batch the later messages still profit from the earlier. A client's inflater, which keeps its window
from message to message, never sees a reference that goes back beyond the batch.

Messages that are not compressed may stand among the others (RFC 7692, section 6): what goes to few
clients is not worth the work.

A few bytes from a client may inflate to a thousand times as many. So an inflater has a budget for each turn of the
reactor, as large as one read, and the connection reads nothing more until the message is inflated. All bounds hold as
they do without compression: those of STOMP while the message arrives, and the one of a WebSocket message (close 1009)
over what it has become. Clients begin each message with an empty window (``client_no_context_takeover``), so that an
inflater lives as long as its message.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final, Literal, NamedTuple

from airyd.request_head import elements
from airyd.stomp.message import Framing
from airyd.websocket.frames import text_header, websocket_framing

#: The extension's name.
EXTENSION: Final = "permessage-deflate"

#: At any level a single Airy message becomes 0.76 of its size, four in a batch 0.39; but a body of 256 KiB holds up
#: everybody for 1.2 ms at level 1 and for 4.2 ms at level 6.
LEVEL: Final = 1
#: To deflate a message takes 12 µs or more, to send it 5 µs for each client: from so many clients on it is less than
#: a tenth. A replay goes to one client, and would cost twice as much just when all come back.
FEWEST_RECEIVERS: Final = 32

#: What ends the output of a sync flush and is left out on the wire (RFC 7692, section 7.2.1).
_FLUSH_END: Final = b"\x00\x00\xff\xff"
#: What a final block counts for beside its output, so that a turn has no more than 128 of them. One takes 2 µs, because
#: zlib begins anew behind it, and may have only two bytes.
_FINAL_BLOCK: Final = 64

_WINDOW_BITS: Final = tuple(str(bits) for bits in range(8, zlib.MAX_WBITS + 1))
#: The parameters of an offer and their values; True stands for none (RFC 7692, section 7.1). zlib has no window of 2^8.
_PARAMETERS: Final[Mapping[str, Sequence[str | Literal[True]]]] = {
    "server_no_context_takeover": (True,),
    "client_no_context_takeover": (True,),
    "server_max_window_bits": _WINDOW_BITS[1:],
    "client_max_window_bits": (True, *_WINDOW_BITS),
}


class Agreement(NamedTuple):
    """What was agreed on with a client.

    :ivar answer: the value of ``Sec-WebSocket-Extensions`` in the answer to the opening handshake
    :ivar framing: the same object for all clients that agreed on the same
    """

    answer: str
    framing: Framing


def parse_extensions(header: str) -> list[tuple[str, dict[str, list[str | Literal[True]]]]]:
    """Return the extensions of a ``Sec-WebSocket-Extensions`` header (RFC 6455, section 9.1).

    Each has a list of values for each of its parameters; True stands for none.
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
    """Accept the first offer of permessage-deflate that is right; None if there is none (RFC 7692, section 5.1).

    :param offers: extensions as the client listed them, each with the values of its parameters; True for no value
    """
    for extension, parameters in offers:
        if extension == EXTENSION and all(
            len(values) == 1 and values[0] in _PARAMETERS.get(name, ()) for name, values in parameters.items()
        ):
            return _accept({name: values[0] for name, values in parameters.items()})
    return None


def _accept(offer: Mapping[str, str | Literal[True]]) -> Agreement:
    # No window for what comes in: an inflater lives as long as its message.
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
    """Return the framing that compresses what many clients get; always the same one for the same arguments.

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
            payload = payload.removesuffix(_FLUSH_END)
            wire += (text_header(len(payload), compressed=True), payload)
        return b"".join(wire)

    return framing


class Inflater:
    """Inflates one message, piece by piece.

    :ivar budget: bytes that may still be returned in this turn of the reactor; 0 only while ``has_more``
    :ivar has_more: whether there may be more than was returned: the caller must wait for the next turn
    """

    __slots__ = ("_rest", "_window", "budget", "has_more")

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.reset()

    def reset(self) -> None:
        """Begin with an empty window, and forget all that came."""
        self._window = zlib.decompressobj(-zlib.MAX_WBITS)
        self._rest = b""
        self.has_more = False

    def inflate(self, data: bytes) -> bytes:
        """Take a part of the message; return what the budget allows of it and of what came before.

        :raises zlib.error: this is not deflated
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
            # A final block: the next one follows, at the next byte (RFC 7692, section 7.2.1).
            self._rest = self._window.unused_data
            self._window = zlib.decompressobj(-zlib.MAX_WBITS)
            self.budget = max(self.budget - _FINAL_BLOCK, 0)
            if not self._rest or not self.budget:
                break
        # zlib may have taken all of the data, and yet hold a part of what it becomes.
        self.has_more = not self.budget
        return inflated

    def finish(self) -> None:
        """End the message.

        :raises zlib.error: the message was cut off
        """
        if self._window.decompress(_FLUSH_END, 1):
            raise zlib.error("the message was cut off")
