"""Which source has which destinations."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS, CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, MESSAGE, UNREAD_COUNT
from airyd.sources.shares import share_out

#: ``(url, the source's own, the patterns)``
URLS = (
    ("memory:?destinations=/**", "memory:", "/**"),
    ("memory:?history=5&destinations=/**", "memory:?history=5", "/**"),
    ("memory:?destinations=/**&history=5", "memory:?history=5", "/**"),
    ("memory:?a=1&destinations=%2F%2A%2a&b=%20", "memory:?a=1&b=%20", "/**"),
    ("memory:?%64estinations=/queue/*,/queue/channel/*", "memory:", "/queue/*,/queue/channel/*"),
    ("redis://:s3cret@host:1/0?destinations=/**&prefix=a:", "redis://:s3cret@host:1/0?prefix=a:", "/**"),
)
#: Kept as they are: nothing in them is the parameter.
OTHERS = ("memory:", "memory:?", "memory:?history=5", "memory:?xdestinations=/**", "memory:?destinations", "x:?a=1&a=1")
#: ``(urls, what the refusal names)``
WRONG = (
    (["memory:", "memory:"], ["memory", "?destinations="]),
    (["memory:?destinations=/**", "redis://u:s3cret@host"], ["redis", "?destinations="]),
    (["memory:?destinations=/queue/message"], [UNREAD_COUNT]),
    (["memory:?destinations=/queue/*", "memory:?destinations=/queue/channel/connected"], [CHANNEL_DISCONNECTED]),
    (
        ["memory:?destinations=/**", "redis://u:s3cret@host?destinations=/queue/message"],
        [MESSAGE, "=/**", "=/queue/message"],
    ),
    (["memory:?destinations=/**,/queue/mesage"], ["/queue/mesage", MESSAGE]),
    (["memory:?destinations="], ["''"]),
    (["memory:?destinations=/**,"], ["''"]),
    (["memory:?destinations=queue"], ["'queue'"]),
    (["memory:?destinations=/**&destinations=/**"], ["twice"]),
)


class ShareTests(SynchronousTestCase):
    """Each destination belongs to one source."""

    def test_one_source_has_everything(self) -> None:
        for url in OTHERS:
            self.assertEqual(share_out([url], AIRY_DESTINATIONS), [(url, "", AIRY_DESTINATIONS)])

    def test_the_patterns_are_taken_from_the_url(self) -> None:
        for url, rest, patterns in URLS:
            (share,) = share_out([url], AIRY_DESTINATIONS)
            self.assertEqual((share.url, share.name), (rest, patterns))
            self.assertEqual(set(share.destinations), set(AIRY_DESTINATIONS))

    def test_several(self) -> None:
        urls = ["a:?destinations=/queue/message", "b:?x=1&destinations=/queue/channel/*,/queue/unread-count"]
        first, second = share_out(urls, AIRY_DESTINATIONS)
        self.assertEqual((first.url, list(first.destinations)), ("a:", [MESSAGE]))
        self.assertEqual(second.url, "b:?x=1")
        self.assertEqual(set(second.destinations), {CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, UNREAD_COUNT})

    def test_a_source_may_name_a_destination_twice(self) -> None:
        (share,) = share_out(["a:?destinations=/queue/**,/queue/message"], AIRY_DESTINATIONS)
        self.assertEqual(sorted(share.destinations), sorted(AIRY_DESTINATIONS))

    def test_wrong(self) -> None:
        for urls, names in WRONG:
            said = str(self.assertRaises(ConfigurationError, share_out, urls, AIRY_DESTINATIONS))
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertTrue(said.startswith("--source"), said)
            for name in names:
                self.assertIn(name, said, urls)
            self.assertNotIn("s3cret", said)
