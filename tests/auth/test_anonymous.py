"""The ``anonymous`` authenticator."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS
from airyd.interfaces import Credentials, IAuthenticator, IPrincipal, Opening
from tests.auth.case import authenticator, log_in

#: What a client may show: nothing, a login, a token.
SHOWN = (
    Credentials(None, None, {}),
    Credentials("admin", "s3cret", {"login": "admin", "passcode": "s3cret"}),
    Credentials(None, None, {"Authorization": "Bearer x"}),
)


class AnonymousTests(SynchronousTestCase):
    """Which clients are accepted, and what they may do."""

    def principal(self, spec: str, credentials: Credentials = SHOWN[0]) -> IPrincipal:
        """Return the principal of these credentials."""
        principal: IPrincipal = self.successResultOf(log_in(authenticator(spec), credentials))
        return principal

    def test_interfaces(self) -> None:
        verifyObject(IAuthenticator, authenticator("anonymous"))
        verifyObject(IPrincipal, self.principal("anonymous"))

    def test_everybody_is_let_in(self) -> None:
        for credentials in SHOWN:
            principal = self.principal("anonymous", credentials)
            self.assertEqual(principal.name, "anonymous")
            self.assertIsNone(principal.expires)

    def test_everybody_sees_everything(self) -> None:
        for destination in (*AIRY_DESTINATIONS, "/queue/own"):
            self.assertTrue(self.principal("anonymous").may_subscribe(destination))
            self.assertIsNone(self.principal("anonymous:send").row_filter(destination))

    def test_words(self) -> None:
        for spec, public, send in (
            ("anonymous", False, False),
            ("anonymous:send", False, True),
            ("anonymous:public", True, False),
            ("anonymous:public:send", True, True),
            ("anonymous:send:public", True, True),
        ):
            self.assertIs(authenticator(spec).public, public, spec)
            self.assertIs(self.principal(spec).may_send(AIRY_DESTINATIONS[0]), send, spec)

    def test_unknown_words(self) -> None:
        for spec in ("anonymous:sned", "anonymous:Send", "anonymous:public:", "anonymous::send", "anonymous: send"):
            error = self.assertRaises(ConfigurationError, authenticator, spec)
            self.assertIn("public, send", str(error))
            self.assertEqual(len(str(error).splitlines()), 1)

    def test_repeated_words(self) -> None:
        error = self.assertRaises(ConfigurationError, authenticator, "anonymous:send:public:send")
        self.assertEqual(str(error), "--auth anonymous: parameter 'send' is given twice")

    def test_ten_thousand_are_one(self) -> None:
        anonymous = authenticator("anonymous")
        first, second = (self.successResultOf(log_in(anonymous, each)) for each in SHOWN[:2])
        self.assertIs(first, second)

    def test_beside_others(self) -> None:
        """It takes only clients without credentials."""
        anonymous = authenticator("anonymous")
        self.assertTrue(anonymous.takes(SHOWN[0]))
        self.assertTrue(anonymous.takes(Credentials("", "", {}, Opening(cookie="theme=dark"))))
        for credentials in (*SHOWN[1:], Credentials(None, None, {}, Opening("Bearer x"))):
            self.assertFalse(anonymous.takes(credentials))
