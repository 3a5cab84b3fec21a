"""Authenticators are found by the first word of their spec."""

from __future__ import annotations

from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd.auth import describe_authenticators
from airyd.errors import ConfigurationError
from airyd.interfaces import IAuthenticatorParser
from tests.auth.case import authenticator


class FindingTests(SynchronousTestCase):
    """Specs, and the text of ``--help-auth``."""

    def test_parsers(self) -> None:
        for parser in getPlugins(IAuthenticatorParser):
            verifyObject(IAuthenticatorParser, parser)

    def test_unknown(self) -> None:
        for spec in ("", "tokens:s3cret", "Anonymous", "anonymous "):
            error = self.assertRaises(ConfigurationError, authenticator, spec)
            self.assertIn("There are: anonymous, jwt", str(error))
            self.assertNotIn("s3cret", str(error))

    def test_help(self) -> None:
        text = describe_authenticators()
        for word in ("anonymous[:public][:send]", "public ", "send "):
            self.assertIn(word, text)
        self.assertEqual([line for line in text.splitlines() if len(line) > 88], [])
