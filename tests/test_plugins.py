"""The names that plugins may import, and the example plugin in docs/examples/plugin."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Final, cast
from unittest.mock import patch

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyObject

from airyd import PUBLIC
from airyd.errors import ConfigurationError, LoginRefused
from airyd.interfaces import AuthenticatorContext, Credentials, IAuthenticator, IEventSource, IPrincipal
from tests.sources.contract import NEWS, EventSourceContract
from tests.sources.support import RecordingSink, make_context
from tests.test_architecture import ROOT, imports
from tests.test_docs import example

FOLDER: Final = ROOT / "docs/examples/plugin"
EXAMPLES: Final = tuple(sorted(FOLDER.glob("**/*.py")))
#: airyd's own plugins; ``airyd_plugin.py`` is a plugin of twistd.
RESERVED_PREFIX: Final = (ROOT / "twisted/plugins/airyd_authenticators.py", ROOT / "twisted/plugins/airyd_sources.py")
NAMES: Final = frozenset(f"{module}.{name}" for module, names in PUBLIC.items() for name in names)


def example_module(name: str) -> ModuleType:
    """Import a module of the example."""
    with patch.object(sys, "path", [str(FOLDER), *sys.path]):
        return import_module(name)


class PublicTests(SynchronousTestCase):
    """``airyd.PUBLIC``."""

    maxDiff = None

    def test_each_is_there_and_explained(self) -> None:
        """Each name exists and has a docstring, as has each member of an interface."""
        for name in NAMES:
            module, _, last = name.rpartition(".")
            found = getattr(import_module(module), last)
            self.assertEqual((found.__module__, found.__name__), (module, last))
            self.assertTrue((found.__doc__ or "").strip(), name)
            if isinstance(found, InterfaceClass):
                for member, description in found.namesAndDescriptions():
                    self.assertTrue(description.__doc__, f"{name}.{member}")

    def test_page(self) -> None:
        """docs/plugins.rst describes exactly these names."""
        page = (ROOT / "docs/plugins.rst").read_text()
        described = re.findall(r"^\.\. (?:interface|auto\w+):: (\S+)$", page, flags=re.MULTILINE)
        self.assertEqual(sorted(NAMES), sorted(described))

    def test_examples_import_nothing_else(self) -> None:
        self.assertNotEqual((), EXAMPLES)
        for path in EXAMPLES:
            self.assertEqual(set(), {name for name in used(path.read_text()) if name not in NAMES}, path)

    def test_own_plugins_import_nothing_else(self) -> None:
        """The exception is the module that a plugin offers; ``parse`` imports it when it is asked for."""
        for path in RESERVED_PREFIX:
            at_the_top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
            names = used("\n".join(map(ast.unparse, at_the_top)))
            self.assertNotEqual([], names)
            self.assertEqual(set(), set(names) - NAMES, path)


def used(source: str) -> list[str]:
    """Return airyd's names that a module imports."""
    return [name for name, _ in imports(source) if name.partition(".")[0] == "airyd"]


class TickerContractTests(EventSourceContract, TestCase):
    """The example source fulfils the contract of sources."""

    history = 100

    def make_source(self) -> IEventSource:
        source: IEventSource = example_module("ticker").parse("ticker:?seconds=1", make_context())
        return source

    def unknown_ids(self, source: IEventSource, newest: str) -> Sequence[str]:
        epoch, number = source.order(NEWS, newest)
        return (f"{epoch}-{number + 1}", f"{epoch - 1}-{number}", f"{epoch + 1}-{number}", f"{epoch}-0{number}", "0-0")


class TickerTests(SynchronousTestCase):
    """The example source beyond the contract."""

    def test_it_ticks(self) -> None:
        """A watched destination gets the time."""
        clock = MemoryReactorClock()
        source = example_module("ticker").parse("ticker:?seconds=5", make_context(clock))
        sink = RecordingSink()
        self.successResultOf(source.start(sink))
        self.successResultOf(source.watch(NEWS))
        clock.pump([5, 5])
        times = [json.loads(event.body)["time"] for event in sink.of(NEWS)]
        self.assertEqual([5.0], [later - sooner for sooner, later in pairwise(times)])
        self.successResultOf(source.stop())
        self.assertEqual([], clock.getDelayedCalls())

    def test_wrong_parameters(self) -> None:
        for url in ("ticker:?seconds=0", "ticker:?seconds=nan", "ticker:?seconds=x", "ticker:?second=1"):
            self.assertRaises(ConfigurationError, example_module("ticker").parse, url, make_context())


class PasscodeTests(SynchronousTestCase):
    """The example authenticator."""

    def made(self, passcode: str) -> IAuthenticator:
        """Return the authenticator with this passcode in its environment."""
        context = AuthenticatorContext(make_context().reactor, lambda: 0.0, {"PASSCODE": passcode})
        made: IAuthenticator = example_module("passcode").parse("PASSCODE", context)
        return made

    def test_logins(self) -> None:
        """A client with the passcode may subscribe; others are refused."""
        door = self.made("sesame")
        verifyObject(IAuthenticator, door)
        member = cast(IPrincipal, door.authenticate(Credentials("ann", "sesame", {})))
        verifyObject(IPrincipal, member)
        self.assertEqual(("ann", True, False), (member.name, member.may_subscribe(NEWS), member.may_send(NEWS)))
        self.assertRaises(LoginRefused, door.authenticate, Credentials("ann", "sesam", {}))
        self.assertFalse(door.takes(Credentials("ann", None, {})))

    def test_no_passcode(self) -> None:
        self.assertRaises(ConfigurationError, self.made, "")


class PageTests(SynchronousTestCase):
    """docs/plugins.rst."""

    def test_examples(self) -> None:
        for name in ("plugin/twisted/plugins/example_plugins.py", "plugin/pyproject.toml"):
            self.assertEqual(*example("docs/plugins.rst", name))
