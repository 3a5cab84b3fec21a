"""permessage-deflate towards the clients (RFC 7692): one deflate of a batch serves all who get it.

The history of the compressor begins anew with each batch. So a batch's bytes are right for every
client, whatever that has received before, and the server keeps no window for anybody; within a
batch the later messages still profit from the earlier. A client's inflater, which keeps its window
from message to message, never sees a reference that goes back beyond the batch.

Messages that are not compressed may stand among the others (RFC 7692, section 6): what goes to few
clients is not worth the work.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final, Literal, NamedTuple

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
