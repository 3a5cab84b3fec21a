"""The documents agree with the code: their tables, examples and links."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from io import StringIO
from itertools import chain, islice
from pathlib import Path
from textwrap import indent
from typing import cast
from xml.etree import ElementTree

import pytest
from docutils import nodes
from docutils.core import publish_string
from docutils.parsers.rst import Directive, directives
from docutils.writers.docutils_xml import Writer
from twisted.internet.interfaces import IReactorCore
from twisted.trial.unittest import SynchronousTestCase

from airyd import limits
from airyd.admin.api import MOST_EVENTS
from airyd.admin.event_stream import BEAT_SECONDS, MOST_HELD, MOST_STREAMS
from airyd.admin.login import SESSION_SECONDS
from airyd.admin.server import MOST_BATCH
from airyd.auth.jwt import fetch, keys
from airyd.auth.jwt import jwks as keysets
from airyd.cli.options import COMMANDS
from airyd.cli.parser import CommandOptions
from airyd.config.command_line import Options
from airyd.config.options import OPTIONS, SHOWING
from airyd.errors import CloseCode, ConfigurationError, Fault, PayloadFault
from airyd.events import AIRY_DESTINATIONS, CHANNEL_CONNECTED, EVENTS, MESSAGE, UNREAD_COUNT
from airyd.hub.replay import ReplayState
from airyd.interfaces import SourceContext
from airyd.metrics import LogMetrics, Metrics, ReloadMetrics, WorkersMetrics
from airyd.payloads import check
from airyd.revocation import MOST_LEEWAY, TOKEN_MAX_AGE, retention
from airyd.sources import make_source
from airyd.sources.redis import dead_letters as deadletters
from airyd.sources.redis import revocation_stream as revocations
from airyd.sources.redis.address import DEFAULT_MAXLEN, DEFAULT_PREFIX
from airyd.sources.sample.conversations import Conversations
from airyd.stomp.state import render
from airyd.websocket import revocation_sweep as sweep
from airyd.websocket.deflate import FEWEST_RECEIVERS
from bench import instructions
from bench.page import RUN, filled, sections
from bench.pictures import PICTURES
from bench.results import read
from docs import endpoint_table, manual_pages, option_tables, pictures
from tests import console_pictures
from tests.auth.case import authenticator
from tests.test_architecture import FLOORS

ROOT = Path(__file__).parent.parent
#: All pages for readers; docs/changelog.rst only includes CHANGELOG.rst.
DOCUMENTS = (
    "README.rst",
    "CHANGELOG.rst",
    "CONTRIBUTING.rst",
    "SECURITY.rst",
    *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.rst") if path.stem != "changelog"),
)
#: The most lines that a document may have.
MOST_LINES = {"README.rst": 250, "docs/architecture.rst": 500}

#: All files of the tests.
TESTS = tuple(ROOT.glob("tests/**/*.py"))


def _options_of(name: str, command: type[CommandOptions]) -> list[str]:
    """Return the options of a command of ``airyd``."""
    return [option for action in command.parser(name).added for option in action.option_strings]


#: Options of other programs that the documents name, and of the other commands of airyd.
OTHER_OPTIONS = {
    *("--nodaemon", "--logfile", "--logger", "--pidfile", "--syslog", "--uid"),  # twistd
    *(text for name, each in COMMANDS.items() for text in _options_of(name, each)),
    *("--native", "--quick", "--scenario"),  # py-spy and bench
}

#: A row of a table: the text of each cell.
Row = tuple[str, ...]

#: The headers of tables that the tests compare.
ROOMS = ("Floor", "Rooms, in their order", "What lives there")


class Ignored(Directive):  # type: ignore[misc]  # docutils has no types
    """A directive that only Sphinx knows; ``make docs`` checks it."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {"hidden": directives.flag, "members": directives.unchanged, "undoc-members": directives.flag}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return nothing (docutils' interface)."""
        return []


for name in ("toctree", "interface", "autoclass", "autoexception", "autofunction"):
    directives.register_directive(name, Ignored)


@cache
def parsed(document: str) -> tuple[ElementTree.Element, str]:
    """Return a document as docutils parses it, and docutils' messages about it."""
    said = StringIO()
    settings = {
        "report_level": 1,
        "halt_level": 5,
        "syntax_highlight": "none",
        "warning_stream": said,
        "output_encoding": "unicode",
        "_disable_config": True,
    }
    read: str = publish_string(
        (ROOT / document).read_text(), str(ROOT / document), writer=Writer(), settings_overrides=settings
    )
    # The XML declaration is cut off: a string must not name an encoding. The text is our own.
    return ElementTree.fromstring(read.partition("?>")[2]), said.getvalue()  # noqa: S314


def text(element: ElementTree.Element) -> str:
    """Return the text of an element, with single spaces."""
    return " ".join("".join(element.itertext()).split())


def titles(document: str) -> set[str]:
    """Return the titles of a document's sections."""
    return {text(title) for title in parsed(document)[0].iter("title")}


def table(document: str, *header: str) -> list[Row]:
    """Return the rows, without the header, of the only table of a document that has this header."""
    found = []
    for element in parsed(document)[0].iter("tgroup"):
        head, *rows = [tuple(text(cell) for cell in row.iter("entry")) for row in element.iter("row")]
        if head == header:
            found.append(rows)
    (rows,) = found
    return rows


def between(document: str, marker: str) -> str:
    """Return the text between the comments ``.. begin <marker>`` and ``.. end <marker>``."""
    whole = (ROOT / document).read_text()
    return whole.partition(f".. begin {marker}\n")[2].partition(f".. end {marker}\n")[0]


def example(document: str, name: str) -> tuple[str, str]:
    """Return the text of an example's file, and the text that a document shows."""
    shown = between(document, name).strip().partition("\n")[2]
    return indent((ROOT / "docs/examples" / name).read_text(), "    ").strip(), shown.strip()


def members(value: object) -> object:
    """Return the names of an object's members, and of theirs; None for any other value."""
    return {name: members(each) for name, each in value.items()} if isinstance(value, dict) else None


class FormTests(SynchronousTestCase):
    """The form and the links of each document."""

    maxDiff = None

    def test_docutils_is_silent(self) -> None:
        """docutils reports neither a warning nor a broken reference."""
        for document in DOCUMENTS:
            self.assertEqual("", parsed(document)[1], document)

    def test_links_resolve(self) -> None:
        """Each file of the tree that a document links exists, and so does the linked section."""
        for document in DOCUMENTS:
            targets = {ref.get("refuri", "") for ref in parsed(document)[0].iter("reference")}
            for target in targets:
                if not target or target.startswith("https://"):
                    continue
                name, _, section = target.partition("#")
                path = (ROOT / document).parent.joinpath(name).resolve()
                self.assertTrue(path.exists(), f"{document} links to {target}")
                if section:
                    sections = parsed(str(path.relative_to(ROOT)))[0].iter("section")
                    ids = {each for element in sections for each in element.get("ids", "").split()}
                    self.assertIn(section, ids, document)

    def test_length(self) -> None:
        for document, most in MOST_LINES.items():
            self.assertLessEqual(len((ROOT / document).read_text().splitlines()), most, document)

    def test_pictures(self) -> None:
        """``python -m docs.pictures`` draws the same pictures, and a document shows each."""
        for name, draw in pictures.PICTURES.items():
            self.assertEqual(draw(), (pictures.FOLDER / name).read_text(), name)
            for document, folder in (("README.rst", "docs/pictures"), ("docs/index.rst", "pictures")):
                images = [image.get("uri") for image in parsed(document)[0].iter("image")]
                self.assertIn(f"{folder}/{name}", images)

    def test_pictures_of_the_console(self) -> None:
        """docs/operating.rst shows each, and none is large."""
        shown = {image.get("uri") for image in parsed("docs/operating.rst")[0].iter("image")}
        self.assertEqual(shown, {f"pictures/{name}" for name in console_pictures.PICTURES})
        for name in console_pictures.PICTURES:
            self.assertLessEqual((pictures.FOLDER / name).stat().st_size, console_pictures.LARGEST, name)

    def test_nothing_of_this_machine(self) -> None:
        """No document contains a path of the machine on which it was written."""
        for document in DOCUMENTS:
            self.assertNotRegex((ROOT / document).read_text(), rf"{re.escape(str(ROOT))}/|/tmp/|/home/|/root/")

    def test_make_targets_exist(self) -> None:
        """Each ``make`` target that a document shows exists."""
        known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
        for document in DOCUMENTS:
            shown = set(re.findall(r"``make ([\w-]+)", (ROOT / document).read_text()))
            self.assertEqual(set(), shown - known, document)

    def test_paths_exist(self) -> None:
        """Each file of the tree that a document names exists."""
        for document in DOCUMENTS:
            text = (ROOT / document).read_text()
            for path in re.findall(r"``((?:airyd|bench|docs|etc|tests|twisted)/[\w./-]+\.\w+)``", text):
                self.assertTrue((ROOT / path).exists(), f"{document}: {path}")

    def test_modules_exist(self) -> None:
        """Each ``python -m module`` that a document shows can be run."""
        for document in DOCUMENTS:
            for module in re.findall(r"python -m ((?:airyd|bench|docs|tests)[\w.]*)", (ROOT / document).read_text()):
                path = ROOT / module.replace(".", "/")
                self.assertTrue(path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module)

    def test_code_points_to_sections_that_exist(self) -> None:
        """Code comments such as ``docs/protocol.rst, "Payloads"`` name existing sections."""
        pointers = []
        for path in ROOT.glob("airyd/**/*.py"):
            pointers += re.findall(r'(docs/\w+\.rst)(?:,\s+"([^"]+)")?', path.read_text())
        self.assertNotEqual([], pointers)
        for document, section in pointers:
            self.assertTrue((ROOT / document).exists(), document)
            if section:
                self.assertIn(section, titles(document))


class OptionsTests(SynchronousTestCase):
    """docs/options.rst."""

    maxDiff = None

    def test_tables(self) -> None:
        """The tables of options are as ``python -m docs.option_tables`` writes them."""
        page = option_tables.PAGE.read_text()
        self.assertEqual(option_tables.filled(page, option_tables.tables()), page)

    def test_all_are_there(self) -> None:
        page = option_tables.PAGE.read_text()
        for name in (*OPTIONS, *SHOWING):
            self.assertIn(f"``--{name}``\n", page)

    def test_numbers(self) -> None:
        """The help texts have the numbers of the code."""
        texts = {name: option.text for name, option in OPTIONS.items()}
        self.assertIn(f"{FEWEST_RECEIVERS} or more clients", texts["compression"])
        self.assertIn(f"at least {FEWEST_RECEIVERS} of them", option_tables.PAGE.read_text())
        self.assertEqual(retention(0), 600)
        self.assertIn("ten minutes more", texts["token-max-age"])

    def test_parameters_of_redis(self) -> None:
        """The table has the parameters that the source's error for an unknown one lists."""
        from twisted.internet import reactor

        context = SourceContext(cast(IReactorCore, reactor), lambda: 0.0, AIRY_DESTINATIONS)
        known: set[str] = set()
        for address in (
            "redis://host?",
            "rediss://host?",
            "redis+unix:///socket?",
            "redis://host?mode=pubsub&",
            "redis+sentinel://host/name?",
        ):
            error = self.assertRaises(ConfigurationError, make_source, f"{address}no-such=1", context)
            known.update(str(error).partition("known here: ")[2].split(", "))
        documented = ", ".join(name for name, _, _ in table("docs/options.rst", "Parameter", "Default", "Meaning"))
        self.assertEqual(known, set(documented.split(", ")))

    def test_options_in_other_documents(self) -> None:
        """Each option in a document is airyd's or another program's; the changelog may also name removed ones."""
        known = {f"--{name.rstrip('=')}" for name in Options().longOpt} | OTHER_OPTIONS
        for document in DOCUMENTS:
            page = re.sub(r"\nRemoved\n~+\n.*?\n\n(?=\w+\n[~-])", "\n", (ROOT / document).read_text(), flags=re.DOTALL)
            found = set(re.findall(r"``(--[a-z][\w-]*)", page))
            self.assertEqual(set(), found - known, document)


class ManualPagesTests(SynchronousTestCase):
    """docs/man."""

    def test_are_current(self) -> None:
        """The pages are as ``python -m docs.manual_pages`` writes them."""
        for name, page in manual_pages.pages().items():
            self.assertEqual((manual_pages.FOLDER / name).read_text(), page)

    def test_have_every_option(self) -> None:
        page = manual_pages.pages()["twistd-airyd.8"].replace("\\", "")
        for signal in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"):
            self.assertIn(f"\n.TP\nfB{signal}fR\n", page)
        self.assertIn("Another one, at least one second after the first,", page)
        for name, option in OPTIONS.items():
            value = f"={option.value}" if option.value else ""
            self.assertIn(f"\nfB--{name}{value}fR\n", page)
            self.assertIn(f"Variable: {option.variable}.", page)
        page = manual_pages.pages()["airyd.1"].replace("\\", "")
        for name in COMMANDS:
            self.assertIn(f"\n.SS airyd {name} ", page)

    @pytest.mark.integration
    def test_man_shows_them(self) -> None:
        """``man`` has no complaints, and a reader sees what can be typed."""
        for name, words in (("airyd.1", "airyd config"), ("twistd-airyd.8", "--log-level=LEVEL")):
            command = ["man", "--warnings", "--encoding=UTF-8", "--local-file", str(manual_pages.FOLDER / name)]
            environ = {**os.environ, "MANPAGER": "cat", "MANWIDTH": "100"}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
            self.assertEqual(done.stderr, "")
            self.assertIn(words, done.stdout)


class OperatingTests(SynchronousTestCase):
    """docs/operating.rst."""

    def test_exposure(self) -> None:
        """The page has the exposure that the unit states; tests/test_systemd.py checks the unit."""
        unit = re.search(r"exposure (\d+\.\d)", (ROOT / "etc/systemd/airyd.service").read_text())
        assert unit is not None
        self.assertIn(f"as {unit[1]} on a scale", " ".join((ROOT / "docs/installing.rst").read_text().split()))

    def test_endpoints(self) -> None:
        """The table of endpoints is as ``python -m docs.endpoint_table`` writes it."""
        page = endpoint_table.PAGE.read_text()
        self.assertEqual(option_tables.filled(page, endpoint_table.tables()), page)

    def test_bounds_of_the_api(self) -> None:
        whole = " ".join((ROOT / "docs/operating.rst").read_text().split())
        self.assertEqual((SESSION_SECONDS, MOST_BATCH, MOST_HELD), (12 * 3600, limits.MIB, limits.MIB))
        self.assertIn("at most 1 MiB and 10,000 lines", whole)
        self.assertEqual(MOST_EVENTS, 10_000)
        self.assertIn(f"{MOST_STREAMS} traces", whole)
        self.assertIn(f"every {BEAT_SECONDS:.0f} seconds", whole)

    def test_metrics_exist(self) -> None:
        families = [
            *Metrics(AIRY_DESTINATIONS, config={}).collect(),
            *WorkersMetrics().collect(),
            *ReloadMetrics().collect(),
            *LogMetrics().collect(),
        ]
        known = {sample.name for family in families for sample in family.samples} | {
            f"{family.name}_total" for family in families if family.type == "counter"
        }
        known |= {
            each.metadata["name"] for each in fields(Metrics) if each.metadata
        }  # histograms, and what is asked for
        for document in DOCUMENTS:
            self.assertEqual(set(), set(re.findall(r"``(airyd_\w+)``", (ROOT / document).read_text())) - known)

    def test_close_codes(self) -> None:
        """Both documents explain each close code."""
        codes = {str(int(code)) for code in CloseCode}
        self.assertEqual(codes, {code for code, _, _ in table("docs/protocol.rst", "Code", "Meaning", "A client")})
        self.assertEqual(codes, {code for code, _ in table("docs/operating.rst", "Close code", "Cause")})

    def test_example(self) -> None:
        """The page shows the nginx configuration that the tests use (tests/integration/fronts.py)."""
        self.assertEqual(*example("docs/operating.rst", "nginx.conf"))

    def test_installation(self) -> None:
        """Both documents have the installation steps of the unit's comment."""
        unit = (ROOT / "etc/systemd/airyd.service").read_text()
        comment = re.findall(r"^#   (\S.*?)(?:  +#.*)?$", unit, re.MULTILINE)
        for document in ("README.rst", "docs/installing.rst"):
            blocks = ["".join(block.itertext()) for block in parsed(document)[0].iter("literal_block")]
            (steps,) = [block.splitlines() for block in blocks if "python3 -m venv" in block]
            self.assertEqual([f"$ {step}" for step in comment], steps, document)


class ProtocolTests(SynchronousTestCase):
    """docs/protocol.rst."""

    maxDiff = None

    def test_faults(self) -> None:
        expected = [(fault.message, str(int(fault.close_code)), fault.kind) for fault in Fault]
        self.assertEqual(expected, [row[:3] for row in table("docs/protocol.rst", "Message", "Code", "Kind", "When")])

    def test_401_is_the_login_alone(self) -> None:
        about_logins = [Fault.UNAUTHORIZED, Fault.TOKEN_EXPIRED, Fault.TOKEN_REVOKED]
        self.assertEqual(about_logins, [fault for fault in Fault if "401" in fault.message])

    def test_limits(self) -> None:
        expected = [(f"--{name.replace('_', '-')}", str(default), words) for name, default, words in limits.LIMITS]
        self.assertEqual(expected, table("docs/protocol.rst", "Option", "Default", "Limit"))

    def test_fixed_limits(self) -> None:
        expected = [
            limits.HELD_DURING_LOGIN,
            limits.MOST_UNDER_WAY,
            limits.WEBSOCKET_MESSAGE,
            limits.PREFETCH_DEFAULT,
            limits.PREFETCH_CAP,
            limits.SOURCE_PATIENCE,
            limits.DISCONNECT_PATIENCE,
            limits.CLOSE_PATIENCE,
        ]
        self.assertEqual(expected, [float(value) for _, value in table("docs/protocol.rst", "Limit", "Value")])

    def test_payload_rules(self) -> None:
        kinds = [kind for kind, _ in table("docs/protocol.rst", "Kind", "What is refused")]
        self.assertEqual([fault.value for fault in PayloadFault], kinds)

    def test_destinations(self) -> None:
        names = [name for name, _, _ in table("docs/protocol.rst", "Destination", "An event when", "A client")]
        self.assertEqual([*AIRY_DESTINATIONS, EVENTS], names)

    def test_states(self) -> None:
        """The table of states is as ``python -m airyd.stomp.state`` prints it."""
        self.assertEqual(render().strip(), between("docs/protocol.rst", "states").strip())


class ClientsTests(SynchronousTestCase):
    """docs/clients.rst."""

    maxDiff = None

    def test_examples(self) -> None:
        """The page shows the files that the tests run with the real library."""
        for name in ("resume.mjs", "status.mjs", "login.mjs"):
            self.assertEqual(*example("docs/clients.rst", name))

    def test_bodies(self) -> None:
        """They have the members of those that ``make run`` sends, and the publisher may send them."""
        page = (ROOT / "docs/clients.rst").read_text()
        shown = page.partition(".. code-block:: json\n\n")[2].partition("\n\n`")[0]
        bodies = [json.loads(each) for each in re.findall(r"^    \{$.*?^    \}$", shown, re.DOTALL | re.MULTILINE)]
        made = Conversations(0, lambda: 0.0)
        sent: dict[str, list[object]] = {}
        for destination, body in islice(made, 50):
            sent.setdefault(destination, []).append(members(json.loads(body)))
        for destination, body in zip((MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED), bodies, strict=True):
            self.assertIn(members(body), sent[destination])
            check(destination, json.dumps(body).encode(), limits.Limits().body)


class PublishingTests(SynchronousTestCase):
    """docs/publishing.rst."""

    maxDiff = None

    def test_examples(self) -> None:
        """The page shows the files that the tests run (tests/sources/redis/test_examples.py)."""
        for name in ("publish.sh", "publish.py", "publish.mjs", "publish_wait.py"):
            self.assertEqual(*example("docs/publishing.rst", name))

    def test_rights(self) -> None:
        """The tables explain each command in airyd's ACL lines (test_rights runs them)."""
        for user, head in (("airyd", "Right"), ("airyd-pubsub", "Right with Pub/Sub")):
            (line,) = re.findall(rf"ACL SETUSER {user} (.*)", between("docs/publishing.rst", "acl"))
            granted = [word.removeprefix("+") for word in line.split() if word.startswith("+")]
            explained = [right for right, _, _ in table("docs/publishing.rst", head, "What for", "Without it")]
            self.assertEqual(granted, ", ".join(explained).split(", "))
        (more,) = table("docs/publishing.rst", "Right with Sentinel", "What for", "Without it")
        self.assertEqual(more[0], "info")

    def test_numbers(self) -> None:
        """The page states the limits of the code."""
        whole = (ROOT / "docs/publishing.rst").read_text()
        self.assertIn(f"XADD {DEFAULT_PREFIX}/queue/message MAXLEN ~ {DEFAULT_MAXLEN} * payload", whole)
        self.assertIn(f"cut after {deadletters.BODY_BYTES:,} bytes", whole)
        self.assertIn(f"about the last {deadletters.DEAD_LETTERS:,} entries.", whole)
        self.assertEqual(deadletters.REMEMBERED, 60)
        self.assertIn("copied once a minute", whole)
        self.assertIn(f"one of {deadletters.MARKS:,} keys", whole)
        self.assertIn(f"then {deadletters.COPIES_PER_SECOND} per second", whole)
        mended = revocations.BLOCK + revocations.REWRITE_WITHIN
        self.assertIn(f"write them again within some {mended:g} seconds", " ".join(whole.split()))


class PerformanceTests(SynchronousTestCase):
    """docs/performance.rst."""

    maxDiff = None

    def test_figures(self) -> None:
        """The figures are those of the stored run; ``python -m bench.page`` writes them."""
        page = (ROOT / "docs/performance.rst").read_text()
        self.assertEqual(filled(page, sections(read(RUN), instructions.kept())), page)

    def test_pictures(self) -> None:
        """Each picture exists."""
        images = [image.get("uri", "") for image in parsed("docs/performance.rst")[0].iter("image")]
        self.assertEqual([f"performance/{name}.svg" for name in PICTURES], images)
        for image in images:
            self.assertTrue((ROOT / "docs" / image).exists(), image)


class SecurityTests(SynchronousTestCase):
    """docs/security.rst."""

    def test_words(self) -> None:
        """The table has the words that the error of ``jwt`` for an unknown one lists, in the same order."""
        error = self.assertRaises(ConfigurationError, authenticator, "jwt:secret-env=SECRET:no-such=1")
        known = str(error).partition("known here: ")[2].split(", ")
        self.assertEqual(known, [name for name, _, _ in table("docs/security.rst", "Parameter", "Default", "Meaning")])

    def test_each_threat_has_its_tests(self) -> None:
        known = set(chain.from_iterable(re.findall(r"def (test_\w+)", each.read_text()) for each in TESTS))
        for threat, answer, tests in table("docs/security.rst", "Threat", "Answer", "Test"):
            self.assertTrue(answer, threat)
            self.assertEqual(set(), set(tests.split(", ")) - known, threat)

    def test_bounds(self) -> None:
        whole = " ".join((ROOT / "docs/security.rst").read_text().split())
        self.assertIn(f"{limits.Limits().token_size} characters, before", whole)
        self.assertIn(f"{keys.MOST_BYTES // 1024} KiB, {fetch.PATIENCE:.0f} seconds", whole)
        self.assertEqual(whole.count(f"up to {keys.MOST_KEYS} of them"), 2)
        self.assertIn(f"Seconds, up to {MOST_LEEWAY}, that", whole)
        self.assertEqual((keysets.FRESH, keysets.FETCH_EVERY), (300, 5))
        self.assertIn("stays valid for at most five minutes", whole)
        self.assertIn("at most once in five seconds", whole)
        self.assertIn(f"{sweep.CHECKS_PER_TURN:,} connections are checked or {sweep.ENDS_PER_TURN} ended", whole)
        self.assertEqual((TOKEN_MAX_AGE, retention(0)), (86_400, 600))
        self.assertIn("(a day by default) and ten minutes more", whole)


def rooms_of(modules: Sequence[str]) -> list[str]:
    """Return the rooms of these modules: folders of airyd, or modules at its top level."""
    names = [name.removeprefix("airyd.") for name in modules if name.startswith("airyd.")]
    is_folder = {name: (ROOT / "airyd" / name.partition(".")[0]).is_dir() for name in names}
    return list(dict.fromkeys(f"{name.partition('.')[0]}/" if is_folder[name] else name for name in names))


class ArchitectureTests(SynchronousTestCase):
    """docs/architecture.rst."""

    maxDiff = None

    def test_floors(self) -> None:
        """Its table has the rooms of tests/test_architecture.py, in the same order, floor by floor."""
        cells = [row[1] for row in table("docs/architecture.rst", *ROOMS)]
        self.assertEqual([", ".join(rooms_of(floor)) for floor in FLOORS], cells)

    def test_states_of_a_replay(self) -> None:
        rows = table("docs/architecture.rst", "State", "What it means", "What ends it")
        self.assertEqual([state.name for state in ReplayState], [name for name, _, _ in rows])
