"""A test runs or checks each snippet and command of README.rst and docs/; exceptions state their reason."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, cast

from twisted.internet.interfaces import IReactorCore
from twisted.trial.unittest import SynchronousTestCase

from airyd.auth import make_authenticator
from airyd.config.command_line import Options
from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS
from airyd.interfaces import AuthenticatorContext, SourceContext
from airyd.sources import make_source
from bench.catalogue import scenarios
from bench.scenarios import SIZES
from tests.snippets import Snippet, consoles, snippets
from tests.test_docs import DOCUMENTS, parsed
from tests.test_systemd import option_sets

ROOT: Final = Path(__file__).parent.parent
#: Letters that a template of a log line must have besides its fields.
_FEWEST_LETTERS: Final = 9


class Held(NamedTuple):
    """The test that covers some snippets, or why none does.

    :ivar language: the language of the snippets
    :ivar begins: a pattern for the beginning of a snippet or command
    :ivar by: the test that runs or checks them, or why none does
    """

    language: str
    begins: str
    by: str


RUN: Final = "tests/integration/test_snippets.py"
PARSED: Final = "tests/test_snippets.py"
FILES: Final = "tests/test_docs.py"  # the snippets are files, which the tests run
#: Reasons why a snippet has no test.
ROOTS: Final = "no test: it writes into /etc; the steps are those of the unit"
INSTALLED: Final = "tests/test_packaging.py"  # with another folder in place of /opt/airyd
SYSTEMD: Final = "no test: it needs systemd as the first process"
PROXIES: Final = "no test: it needs the machine's own proxy; tests/integration/test_nginx_haproxy.py runs the files"
LOADER: Final = "no test: only the reader knows the folder of the load generator"
RECORDED: Final = "no test: the last line of a program that runs for minutes"
ENGINE: Final = "no test: it needs a container engine; tests/integration/test_image.py does the same without one"
CLUSTER: Final = "no test: it needs a cluster"
NPM: Final = "no test: it fetches a program from npm"
CHECKS: Final = "no test: it runs the tests"
PROMETHEUS: Final = "no test: a part of Prometheus' own configuration"
DIAGRAM: Final = "no test: a diagram of words"

HELD: Final = (
    Held("console", r"make (run|bench)", PARSED),
    Held("console", r"export AIRYD_WSLOAD_DIR=<", LOADER),
    Held("console", r"\.venv/bin/twistd .*airyd ", PARSED),  # commands that need no other machine are run, too
    Held("console", r"\.venv/bin/airyd |curl |jq |redis-cli |systemd-analyze |printf ", RUN),
    Held("console", r"openssl (?!.* secrets/)(req|rand -base64 48 > secret|rand -hex 16 > \w+-token)", RUN),
    Held(
        "console",
        r"umask |(mv|rm|cp|head|openssl|\(printf) .*(/etc/airyd/|airyd\.example\.org)",
        "tests/integration/test_rotation.py",
    ),
    Held("console", r"python3 -m venv /opt|/opt/airyd/bin/", INSTALLED),
    Held("console", r"(cp|mkdir -p) .*(/systemd/|/airyd\.env)|groupadd |install -d ", ROOTS),
    Held("console", r"systemctl |systemd-run |journalctl ", SYSTEMD),
    Held("console", r"(podman|docker) ", ENGINE),
    Held("console", r"mkdir -m 700 secrets|openssl .*secrets/|chmod 644 secrets/", "tests/integration/test_compose.py"),
    Held("console", r"kubectl create secret ", "tests/integration/test_kubernetes.py"),
    Held("console", r"kubectl (apply|exec|get) ", CLUSTER),
    Held("console", r"npx ", NPM),
    Held("console", r"make check|\.venv/bin/python -m pytest ", CHECKS),
    Held("console", r"PYTHONPATH=docs/examples/plugin ", "tests/integration/test_plugins.py"),
    Held(
        "javascript",
        r"import .*\n\nconst client|import \{ stayLoggedIn|connectHeaders: |client\.(publish|subscribe)",
        RUN,
    ),
    Held("javascript", r"/\*\* |// Publishes|import .*\n/\*\*", FILES),
    Held("python", r'"""Publishes', FILES),
    Held("python", r'"""The plugins by which', "tests/test_plugins.py"),
    Held("json", r"\{", FILES),
    Held("toml", r"# How the example is packaged", "tests/integration/test_plugins.py"),
    Held("toml", r"log-level = ", PARSED),
    Held("nginx", r"worker_rlimit_nofile ", "tests/integration/test_nginx_haproxy.py"),
    Held("console", r"nginx |haproxy |cat /etc/ssl/|cp /opt/airyd/share/airyd/(nginx|haproxy)/", PROXIES),
    Held("sh", r"#!/bin/sh\n# Publishes", FILES),
    Held("bash", r"AIRYD_OPTIONS=", PARSED),
    Held("text", r"(CONNECT(ED)?|SUBSCRIBE|RECEIPT|MESSAGE|ERROR)\n", RUN),
    Held("text", r"SUBSCRIBE  +MESSAGE\n", "tests/integration/test_user_destinations.py"),
    Held("text", r"SEND  +RECEIPT\n", "tests/integration/test_tokens.py"),  # a frame and its answer, side by side
    Held("text", r"XADD |PUBLISH ", RUN),
    Held("text", r"ACL SETUSER (?!airyd \+)", "tests/sources/redis/test_rights.py"),
    Held("text", r"ACL SETUSER airyd \+", "tests/doctor/test_redis_rights.py"),
    Held("text", r"node  ", "tests/cli/test_top_screen.py"),
    Held("text", r"✓ ", "tests/integration/test_doctor.py"),
    Held("text", r"airyd |admin page: |nothing was reloaded|rolling restart of |login of |tcp4:", PARSED),
    Held("text", r"# for the team", PARSED),
    Held("bash", r"\$ ", "tests/integration/test_alerts.py"),
    Held("yaml", r"rule_files:", PROMETHEUS),
    Held("text", r"rolling restart: ", RECORDED),
    Held("", r"source --> ", DIAGRAM),
    Held("", r"AWAITING_CONNECT\n", FILES),
)


def pieces() -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each command, and of each snippet that is not a console."""
    for _, commands in consoles():
        yield from (("console", command.line) for command in commands)
    yield from ((each.language, each.text) for each in snippets() if each.language != "console")


class RegisterTests(SynchronousTestCase):
    """The table :data:`HELD` is complete."""

    def test_each_snippet_is_held(self) -> None:
        """Exactly one row of the table matches each snippet."""
        for language, text in pieces():
            held = [each for each in HELD if each.language == language and re.match(each.begins, text)]
            self.assertEqual(1, len(held), f"{language}: {text}")

    def test_each_row_matches_a_snippet(self) -> None:
        for each in HELD:
            self.assertTrue(any(each.language == kind and re.match(each.begins, text) for kind, text in pieces()), each)

    def test_none_is_overlooked(self) -> None:
        """docutils finds the same snippets."""
        for document in set(DOCUMENTS) - {"docs/performance.rst"}:
            blocks = ["".join(block.itertext()) for block in parsed(document)[0].iter("literal_block")]
            self.assertEqual(blocks, [each.text for each in snippets() if each.document == document], document)

    def test_the_tests_are_there(self) -> None:
        for each in HELD:
            self.assertTrue(each.by.startswith("no test: ") or (ROOT / each.by).exists(), each)


def airyd_options(line: str) -> list[list[str]]:
    """Return airyd's options in a command of twistd or ``make run``."""
    words = shlex.split(line)
    if words[:2] == ["make", "run"]:
        return [shlex.split(word.removeprefix("ARGS=")) for word in words[2:]]
    return [words[words.index("airyd") + 1 :]] if "airyd" in words and words[0].endswith("/twistd") else []


class CommandTests(SynchronousTestCase):
    """Commands with options of airyd."""

    def check(self, words: list[str]) -> None:
        """Check that airyd accepts the options; the files that they name may be missing."""
        options = Options()
        options.parseOptions(words)
        from twisted.internet import reactor

        for spec in options.settings.auth:
            try:
                make_authenticator(spec, AuthenticatorContext(cast(IReactorCore, reactor), lambda: 0.0))
            except ConfigurationError as error:
                self.assertRegex(str(error), "there is no such file|may not read it")  # as on a machine with airyd
        for url in options.settings.sources:
            alone = re.sub(r"(?<=[?&])destinations=[^&]*&?", "", url).rstrip("?&")
            try:
                make_source(alone, SourceContext(cast(IReactorCore, reactor), lambda: 0.0, AIRY_DESTINATIONS))
            except ConfigurationError as error:
                self.assertRegex(str(error), "there is no such file|may not read it")  # as on a machine with airyd

    def test_options(self) -> None:
        found = [words for _, commands in consoles() for each in commands for words in airyd_options(each.line)]
        inline = re.findall(
            r"``make run ARGS='([^']*)'``", "".join((ROOT / s.document).read_text() for s in snippets())
        )
        self.assertNotEqual([], found)
        for words in [*found, *(shlex.split(each) for each in inline)]:
            self.check(words)

    def test_options_of_the_service(self) -> None:
        for snippet in snippets():
            if snippet.text.startswith("AIRYD_OPTIONS="):
                (words,) = option_sets(snippet.text)
                self.check(words)

    def test_configuration_file(self) -> None:
        """The file is valid, and has one of each kind of table."""
        (snippet,) = [each for each in snippets() if each.text.startswith("log-level = ")]
        path = Path(self.mktemp())
        path.write_text(snippet.text)
        self.check([f"--config={path}"])
        self.assertEqual(
            re.findall(r"(?m)^\[+([\w-]+)", snippet.text), ["limits", "source", "source", "auth", "user-destinations"]
        )

    def test_scenarios(self) -> None:
        """Each scenario that a command names exists, or the name is the beginning of an existing one."""
        names = [scenario.name for scenario in scenarios(SIZES["full"])]
        for document in DOCUMENTS:
            for shown in re.findall(r"--scenario ([\w-]+)", (ROOT / document).read_text()):
                self.assertTrue(any(name.startswith(shown) for name in names), f"{document}: {shown}")

    def test_file_of_destinations(self) -> None:
        (snippet,) = [each for each in snippets() if each.text.startswith("# for the team")]
        path = Path(self.mktemp())
        path.write_text(snippet.text)
        options = Options()
        options.parseOptions(["--destinations-file", str(path)])
        self.assertEqual([*AIRY_DESTINATIONS, "/queue/tags", "/queue/tag-counts"], list(options.settings.destinations))


@cache
def templates() -> tuple[re.Pattern[str], ...]:
    """Return patterns for all texts in airyd that have fields: f-strings and formats of log lines."""
    found = set()
    for path in ROOT.glob("airyd/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = re.sub(r"\{\w[^{}]*\}", "\0", node.value)
            else:
                continue
            if sum(letter.isalpha() for letter in text) >= _FEWEST_LETTERS and "\n" not in text:
                found.add(text)
    return tuple(re.compile(".+".join(map(re.escape, text.split("\0")))) for text in found)


class LogTests(SynchronousTestCase):
    """Lines of the log and of ``airyd tail`` in the documents."""

    def lines(self) -> Iterator[tuple[Snippet, str]]:
        """Yield the lines that the documents show."""
        for snippet in snippets():
            if snippet.language == "text" and re.match(
                r"airyd |admin page: |nothing was reloaded|rolling restart of |login of |tcp4:", snippet.text
            ):
                yield from ((snippet, line.removeprefix("airyd tail: ")) for line in snippet.text.splitlines())

    def test_airyd_can_write_them(self) -> None:
        for snippet, line in self.lines():
            fits = any(template.fullmatch(line) for template in templates())
            self.assertTrue(fits, f"{snippet.document}: {line}")

    def test_it_cannot_write_others(self) -> None:
        for line in ("airyd has arrived at its event source", "connected to redis://127.0.0.1 as reader"):
            self.assertFalse(any(template.fullmatch(line) for template in templates()), line)
