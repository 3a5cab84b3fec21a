"""What clients make of a batch that was compressed once for all of them (RFC 7692)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.events import AIRY_DESTINATIONS, MESSAGE, Event
from airyd.sources.sample.conversations import Conversations
from airyd.stomp.message import Framing, message_head, message_tail
from airyd.stomp.spec import Version
from airyd.websocket.deflate import FEWEST_RECEIVERS, agree, deflate_framing, parse_extensions
from airyd.websocket.frames import websocket_framing
from tests.inflating import Inflating

MANY = FEWEST_RECEIVERS
FEW = FEWEST_RECEIVERS - 1

#: Frames that have much in common, within and between them, and some that haven't.
FRAMES = st.one_of(
    st.binary(min_size=1, max_size=300),
    st.lists(st.sampled_from([b"MESSAGE\n", b"destination:/queue/message\n", b'{"text":"', b"0123456789"]), min_size=1)
    .map(b"".join)
    .map(lambda frame: frame * 20),
)
BATCHES = st.tuples(st.lists(FRAMES, min_size=1, max_size=6), st.sampled_from([FEW, MANY]))


def airy_frames(count: int) -> list[bytes]:
    """Return MESSAGE frames as they come on the four destinations of Airy, one after the other of each."""
    heads = {destination: message_head(Version.V1_2, destination, "sub-0") for destination in AIRY_DESTINATIONS}
    made = islice(Conversations(1, lambda: 1.7e9), count)
    events = [Event(destination, f"1700000000000-{number}", body) for number, (destination, body) in enumerate(made)]
    return [heads[event.destination] + message_tail(event) for event in events if event.destination == MESSAGE]


class BatchTests(SynchronousTestCase):
    """One batch, many clients."""

    def check(self, framing: Framing, client: Inflating, batches: Sequence[tuple[list[bytes], int]]) -> None:
        """The client gets all these batches, and another one only the last."""
        for frames, receivers in batches:
            wire = framing(frames, receivers)
            self.assertEqual(list(client.read(wire)), frames)
        self.assertEqual(list(Inflating().read(wire)), frames)

    @given(st.lists(BATCHES, min_size=1, max_size=8))
    def test_any_batches(self, batches: list[tuple[list[bytes], int]]) -> None:
        """Of several groups, compressed or not, in any order: whoever joins late reads them, too."""
        self.check(deflate_framing(), Inflating(), batches)

    @given(st.integers(9, 15), st.lists(BATCHES, min_size=1, max_size=4))
    def test_any_window(self, bits: int, batches: list[tuple[list[bytes], int]]) -> None:
        """``server_max_window_bits``: no reference goes back further."""
        self.check(deflate_framing(bits), Inflating(bits), batches)

    @given(st.lists(BATCHES, min_size=1, max_size=4))
    def test_no_takeover(self, batches: list[tuple[list[bytes], int]]) -> None:
        """``server_no_context_takeover``: each message can be read by itself."""
        self.check(deflate_framing(takeover=False), Inflating(takeover=False), batches)

    def test_references_within_the_batch_only(self) -> None:
        """The second of two equal messages is nearly nothing; in a batch of its own it is as long as the first."""
        frame = airy_frames(10)[0]
        together = deflate_framing()([frame, frame], MANY)
        alone = deflate_framing()([frame], MANY)
        self.assertTrue(together.startswith(alone))
        self.assertLess(len(together) - len(alone), 30)
        self.assertEqual(deflate_framing()([frame], MANY), alone)
        self.assertEqual(deflate_framing(takeover=False)([frame, frame], MANY), 2 * alone)

    def test_a_small_window_matters(self) -> None:
        """The reader above would notice a reference that goes too far."""
        far = bytes(range(256)) * 2
        frames = [far, b"x" * 600, far]
        self.assertRaises(zlib.error, list, Inflating(9).read(deflate_framing(15)(frames, MANY)))
        self.assertEqual(list(Inflating(9).read(deflate_framing(9)(frames, MANY))), frames)

    def test_few_receivers(self) -> None:
        """It would cost more than it saves."""
        frames = airy_frames(10)
        self.assertEqual(deflate_framing()(frames, FEW), websocket_framing(frames, FEW))
        client = Inflating()
        list(client.read(deflate_framing()(frames, MANY)))
        self.assertEqual(client.compressed, len(frames))

    def test_large(self) -> None:
        """Lengths of all three forms, before and after."""
        frames = [b"a" * 70_000, bytes(range(256)) * 300, b"b", airy_frames(2000)[0] * 3]
        self.assertEqual(list(Inflating().read(deflate_framing()(frames, MANY))), frames)

    def test_size(self) -> None:
        """Airy's messages: alone, and four in a batch."""
        frames = airy_frames(2000)
        for count, most in ((1, 0.77), (4, 0.42)):
            batches = [frames[start : start + count] for start in range(0, len(frames), count)]
            plain = sum(len(websocket_framing(batch, MANY)) for batch in batches)
            size = sum(len(deflate_framing()(batch, MANY)) for batch in batches)
            self.assertLess(size / plain, most)


class ExtensionsTests(SynchronousTestCase):
    """The header that lists extensions (RFC 6455, section 9.1)."""

    def test_parameters(self) -> None:
        """Each has a list of values; True stands for none. Names are in lower case, quotes are taken off."""
        parsed = parse_extensions('X-A , permessage-deflate; P="1";q; q = 2,,\tb;')
        wanted = [("x-a", {}), ("permessage-deflate", {"p": ["1"], "q": [True, "2"]}), ("b", {"": [True]})]
        self.assertEqual(parsed, wanted)
        self.assertEqual(parse_extensions(" , "), [])

    def test_offer(self) -> None:
        agreement = agree(parse_extensions("permessage-deflate; server_max_window_bits=12; client_max_window_bits"))
        assert agreement is not None
        wanted = "permessage-deflate; client_no_context_takeover; server_max_window_bits=12"
        self.assertEqual(agreement.answer, wanted)


class AgreementTests(SynchronousTestCase):
    """What is offered, and what is answered (RFC 7692, sections 5 and 7.1)."""

    ANSWER = "permessage-deflate; client_no_context_takeover"

    def answer(self, *parameters: tuple[str, str | bool]) -> str | None:
        """Return the answer to an offer with these parameters; several of one name may be given."""
        offer: dict[str, list[str | bool]] = {}
        for name, value in parameters:
            offer.setdefault(name, []).append(value)
        agreement = agree([("permessage-deflate", offer)])  # type: ignore[list-item]  # False is never a value
        return None if agreement is None else agreement.answer

    def test_accepted(self) -> None:
        self.assertEqual(self.answer(), self.ANSWER)
        for name, value in (
            ("client_no_context_takeover", True),
            ("client_max_window_bits", True),
            ("client_max_window_bits", "8"),
            ("client_max_window_bits", "15"),
        ):
            self.assertEqual(self.answer((name, value)), self.ANSWER, name)

    def test_what_the_server_is_asked_for(self) -> None:
        """It is in the answer, which means that it is kept."""
        self.assertEqual(
            self.answer(("server_no_context_takeover", True)), f"{self.ANSWER}; server_no_context_takeover"
        )
        for bits in range(9, 16):
            wanted = f"{self.ANSWER}; server_max_window_bits={bits}"
            self.assertEqual(self.answer(("server_max_window_bits", str(bits))), wanted)
        self.assertEqual(
            self.answer(
                ("client_max_window_bits", True),
                ("server_max_window_bits", "10"),
                ("server_no_context_takeover", True),
                ("client_no_context_takeover", True),
            ),
            f"{self.ANSWER}; server_max_window_bits=10; server_no_context_takeover",
        )

    def test_declined(self) -> None:
        """What is wrong, or not known, or can't be kept."""
        for name, value in (
            ("no_such_parameter", True),
            ("", True),
            ("server_no_context_takeover", "1"),
            ("client_no_context_takeover", "true"),
            ("client_no_context_takeover", ""),
            ("server_max_window_bits", True),
            ("server_max_window_bits", ""),
            ("server_max_window_bits", "8"),  # zlib has no such window
            ("server_max_window_bits", "16"),
            ("server_max_window_bits", "09"),
            ("server_max_window_bits", "+9"),
            ("server_max_window_bits", "1_0"),
            ("server_max_window_bits", " 9"),
            ("server_max_window_bits", "٩"),
            ("client_max_window_bits", ""),
            ("client_max_window_bits", "7"),
            ("client_max_window_bits", "16"),
            ("client_max_window_bits", "015"),
        ):
            self.assertIsNone(self.answer((name, value)), (name, value))
            self.assertIsNone(self.answer(("client_max_window_bits", "15"), (name, value)), (name, value))

    def test_repeated(self) -> None:
        for name, value in (("client_no_context_takeover", True), ("server_max_window_bits", "10")):
            self.assertIsNone(self.answer((name, value), (name, value)))

    def test_first_good_offer(self) -> None:
        """Offers are in the client's order; those that can't be kept, and other extensions, are passed over."""
        agreement = agree(
            [
                ("x-unknown", {"a": ["b"]}),
                ("permessage-deflate", {"server_max_window_bits": ["8"]}),
                ("permessage-deflate", {"server_max_window_bits": ["12"]}),
                ("permessage-deflate", {}),
            ]
        )
        assert agreement is not None
        self.assertEqual(agreement.answer, f"{self.ANSWER}; server_max_window_bits=12")
        self.assertIsNone(agree([]))
        self.assertIsNone(agree([("permessage-bzip2", {})]))

    def test_framings(self) -> None:
        """Those who agreed on the same are in one group; the framing keeps what was agreed on."""
        first = agree([("permessage-deflate", {"client_max_window_bits": [True]})])
        second = agree([("permessage-deflate", {})])
        small = agree([("permessage-deflate", {"server_max_window_bits": ["9"]})])
        alone = agree([("permessage-deflate", {"server_no_context_takeover": [True]})])
        assert first and second and small and alone
        self.assertIs(first.framing, second.framing)
        self.assertEqual(len({first.framing, small.framing, alone.framing}), 3)
        frames = [bytes(range(256)) * 2, b"x" * 600, bytes(range(256)) * 2]
        self.assertEqual(list(Inflating(9).read(small.framing(frames, MANY))), frames)
        self.assertEqual(list(Inflating(takeover=False).read(alone.framing(frames, MANY))), frames)
