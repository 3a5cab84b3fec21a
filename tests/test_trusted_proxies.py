"""Who may say whose connection it forwards, and what that says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.trusted_proxies import FORWARDED, TrustedProxies, read_network

TRUSTED = ("10.0.0.0/8", "fd00::/8", "192.0.2.1")
#: ``(X-Forwarded-For, the client's address)``; None: it is malformed.
CHAINS = (
    ("198.51.100.7", "198.51.100.7"),
    ("198.51.100.7, 10.0.0.3", "198.51.100.7"),
    ("198.51.100.7,10.0.0.3,192.0.2.1", "198.51.100.7"),
    ("203.0.113.9, 198.51.100.7, 10.0.0.3", "198.51.100.7"),  # the client has written the first one
    ("nonsense, 198.51.100.7", "198.51.100.7"),
    (", 198.51.100.7", "198.51.100.7"),
    ("2001:db8::1, fd00::5", "2001:db8::1"),
    ("::ffff:10.0.0.3, 10.0.0.4", "10.0.0.3"),
    ("198.51.100.7:4000", "198.51.100.7"),
    ("[2001:db8::1]:4000", "2001:db8::1"),
    ("10.1.1.1, 10.0.0.3", "10.1.1.1"),  # all are proxies
    ("198.51.100.7, nonsense", None),
    ("198.51.100.7, nonsense, 10.0.0.3", None),
    ("198.51.100.7,", None),
    ("", None),
    ("unknown", None),
    ("fe80::1%eth0", None),
    ("198.51.100.7\t1", None),
    ("198.51.100.256", None),
    ("127.1", None),
)
#: The same of ``Forwarded`` (RFC 7239).
FORWARDED_CHAINS = (
    ("for=198.51.100.7", "198.51.100.7"),
    ('For="198.51.100.7:4000"', "198.51.100.7"),
    ('for="[2001:db8:cafe::17]:4711";proto=https;by=203.0.113.43', "2001:db8:cafe::17"),
    ("proto=http;for=198.51.100.7, for=10.0.0.3", "198.51.100.7"),
    ("for=203.0.113.9,for=198.51.100.7 , for=10.0.0.3", "198.51.100.7"),
    ("for=_hidden, for=198.51.100.7", "198.51.100.7"),
    (r'for="198.51.100.\7"', "198.51.100.7"),
    ("for=unknown", None),
    ("for=_hidden, for=10.0.0.3", None),
    ("for=198.51.100.7, proto=https", None),
    ("for=198.51.100.7;for=203.0.113.9", None),
    ('for="203.0.113.9, for=198.51.100.7', None),  # the client has opened a quotation
    ('for=", for="[2001:db8::1]"', None),
    ("198.51.100.7", None),
    ("for=198.51.100.7 for=203.0.113.9", None),
    ("", None),
)


class ClientTests(SynchronousTestCase):
    """The address of the client."""

    def test_x_forwarded_for(self) -> None:
        proxies = TrustedProxies(TRUSTED)
        for value, wanted in CHAINS:
            self.assertEqual(str(proxies.client_of(value)), str(wanted), value)

    def test_forwarded(self) -> None:
        proxies = TrustedProxies(TRUSTED, FORWARDED)
        for value, said in FORWARDED_CHAINS:
            self.assertEqual(str(proxies.client_of(value)), str(said), value)

    @given(st.text(st.characters(max_codepoint=255)))
    def test_whatever_a_client_writes(self, text: str) -> None:
        """What the proxy has added counts."""
        self.assertEqual(str(TrustedProxies(TRUSTED).client_of(f"{text}, 198.51.100.7")), "198.51.100.7")

    @given(st.text(st.sampled_from('for="[]:;,=\\ 127.0.0.1_')))
    def test_forwarded_that_a_client_writes(self, text: str) -> None:
        """What the proxy has added counts, or nothing."""
        found = TrustedProxies(TRUSTED, FORWARDED).client_of(f"{text}, for=198.51.100.7")
        self.assertIn(str(found), ("198.51.100.7", "None"))


class TrustTests(SynchronousTestCase):
    """Which peers are trusted."""

    def test_networks(self) -> None:
        proxies = TrustedProxies(TRUSTED)
        for host in ("10.0.0.0", "10.255.255.255", "fd12::1", "192.0.2.1", "::ffff:10.1.1.1"):
            self.assertTrue(proxies.trusts(host), host)
        for stranger in ("11.0.0.0", "192.0.2.2", "fe80::1", "::1", "nonsense", None):
            self.assertFalse(proxies.trusts(stranger), stranger)

    def test_unix(self) -> None:
        proxies = TrustedProxies(["unix"])
        self.assertTrue(proxies)
        self.assertTrue(proxies.trusts(None))
        self.assertFalse(proxies.trusts("127.0.0.1"))

    def test_none(self) -> None:
        self.assertFalse(TrustedProxies(()))
        self.assertFalse(TrustedProxies(()).trusts("127.0.0.1"))

    def test_wrong_networks(self) -> None:
        for text, hint in (
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("fd00::1/8", "fd00::/8"),
            ("10.0.0.0/33", "10.0.0.0/8"),
            ("10.0.0", "10.0.0.0/8"),
            ("localhost", "an address"),
            ("", "unix"),
        ):
            self.assertIn(hint, str(self.assertRaises(ValueError, read_network, text)))
