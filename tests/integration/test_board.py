"""The Grafana board and the alerts name only metrics that a daemon writes, and the runbook has all alerts."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.auth.case import jwk, private_key
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.promtool import RULES, alerts, check
from tests.integration.raw import RawClient
from tests.integration.runbook import sections
from tests.integration.test_tokens import KeyServer
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import own_prefix, shared_server

BOARD: Final = Path(__file__).parents[2] / "etc/grafana/airyd.json"
#: A name of a metric in an expression: all of airyd's and of a process's have an underscore.
_NAME: Final = re.compile(r"\b(?:airyd|process|python)_\w+")
#: What Prometheus itself writes.
_OF_PROMETHEUS: Final = frozenset(("up", "ALERTS"))
#: Grafana's variables, and what they may stand for.
_VARIABLES: Final = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*"}
QUESTIONS: Final = ["Are clients served?", "Is the feed late?", "Who is slow?", "What is full?"]


@cache
def board() -> dict[str, Any]:
    """Return the board."""
    found: dict[str, Any] = json.loads(BOARD.read_text())
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the title of each panel with each of its expressions."""
    for panel in board()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


class NamesTests(DaemonTestCase):
    """A daemon with everything that has metrics of its own: workers, Redis, TLS, keys."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def everything(self) -> Daemon:
        """Start it."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        files = Certificates(Path(directory.name))
        keys = KeyServer(jwk(private_key("ES256"), "k0"))
        self.addCleanup(keys.stop)
        return self.own_daemon(
            "--workers=2",
            f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}",
            f"--listen=ssl:0:interface=127.0.0.1:privateKey={files.server_key}:certKey={files.server}",
            f"--auth=jwt:jwks=http://127.0.0.1:{keys.port}/keys",
            "--auth=anonymous",
        )

    def test_workers_are_summed(self) -> None:
        """The page has one histogram of both workers, which share the connections."""
        daemon = self.everything()
        for _ in range(20):
            self.connect(daemon=daemon)
        page = daemon.metrics()
        for line in (
            "airyd_handshake_seconds_count 20.0",
            'airyd_handshake_seconds_bucket{le="+Inf"} 20.0',
            "airyd_login_seconds_count 20.0",
            "airyd_workers_configured 2.0",
            'airyd_limit{option="subscriptions"} 256.0',
        ):
            self.assertIn(f"\n{line}\n", page)
        self.assertEqual(1, len(re.findall(r'^airyd_config_info\{.*workers="2".*\} 1\.0$', page, re.MULTILINE)))
        self.assertEqual(1, len(re.findall("^airyd_tls_certificate_end_timestamp_seconds{", page, re.MULTILINE)))

    def test_they_exist(self) -> None:
        """Every metric of the board and the alerts is on the page, by its exact name, with the labels that it needs."""
        daemon = self.everything()
        client = self.connect(daemon=daemon)
        client.subscribe("/queue/message", "0")
        refused = RawClient(daemon.port, path="/nothing")
        self.addCleanup(refused.abort)
        self.assertEqual(404, refused.ask().status)  # the metric of refused handshakes appears with the first
        page = daemon.metrics()
        samples = {line.partition("{")[0].partition(" ")[0] for line in page.splitlines() if not line.startswith("#")}
        for title, expression in [*expressions(), *((each.name, each.expression) for each in alerts())]:
            names = set(_NAME.findall(re.sub(r'"[^"]*"|by \([^)]*\)', "", expression)))
            self.assertLessEqual(names, samples, title)
            self.assertTrue(names or _OF_PROMETHEUS & set(re.findall(r"\w+", expression)), title)
            for label in re.findall(r"\bby \(([^)]*)\)", expression):
                for each in set(re.split(r",\s*", label)) - {"instance", "job"}:
                    self.assertTrue(any(f'{each}="' in line for line in page.splitlines() if _has(line, names)), title)


def _has(line: str, names: set[str]) -> bool:
    return line.partition("{")[0] in names


class BoardTests(DaemonTestCase):
    """The form of the board."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def test_it_opens_on_the_four_questions(self) -> None:
        rows = [panel for panel in board()["panels"] if panel["type"] == "row"]
        self.assertEqual(QUESTIONS, [row["title"] for row in rows])
        self.assertFalse(any(row["collapsed"] for row in rows))

    def test_all_means_all_of_airyd(self) -> None:
        """All jobs and nodes are those with airyd, not all that Prometheus scrapes: others have ``up``, too."""
        chosen = {each["name"]: each for each in board()["templating"]["list"]}
        for name in ("job", "instance"):
            self.assertIn("airyd_build_info", chosen[name]["query"]["query"])
            self.assertNotIn("allValue", chosen[name])  # without it Grafana takes the values that it has found

    def test_expressions(self) -> None:
        """promtool can read all of them."""
        rules = []
        for number, (_, expression) in enumerate(expressions()):
            for variable, value in _VARIABLES.items():
                expression = expression.replace(variable, value)
            self.assertNotIn("$", expression)
            rules.append({"record": f"panel:{number}", "expr": expression})
        text = json.dumps({"groups": [{"name": "board", "rules": rules}]})
        self.assertEqual("", check(text))

    def test_panels(self) -> None:
        """Each has an id and a place of its own, and asks the data source that the reader has chosen."""
        panels = board()["panels"]
        self.assertEqual(len(panels), len({panel["id"] for panel in panels}))
        places: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertEqual(set(), cells & places, panel["title"])
            self.assertLess(max(x for x, _ in cells), 24, panel["title"])
            places |= cells
            if panel["type"] != "row":
                self.assertEqual("${datasource}", panel["datasource"]["uid"])

    def test_it_names_sections_of_the_runbook(self) -> None:
        named = set(re.findall(r"Runbook: (\w+)", BOARD.read_text()))
        self.assertEqual(set(), named - {each.name for each in alerts()})
        self.assertEqual({"AirydDown", "AirydWorkersRestart"}, {each.name for each in alerts()} - named)


class RulesTests(DaemonTestCase):
    """The file of alerts, and the runbook."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def test_promtool_accepts_them(self) -> None:
        self.assertEqual("", check(RULES.read_text()))

    def test_promtool_refuses_others(self) -> None:
        self.assertIn("could not parse expression", check(RULES.read_text().replace("== 0", "= = 0")))

    def test_all_are_read(self) -> None:
        """The tests read each alert of the file, and each has a test that fires it."""
        names = [each.name for each in alerts()]
        self.assertEqual(re.findall(r"- alert: (\w+)", RULES.read_text()), names)
        tests = (Path(__file__).parent / "test_alerts.py").read_text()
        for name in names:
            for pattern in (r'(assert_fires\(|assert_firing\({)\s*"%s"', r'look\(\s*"%s"'):
                self.assertTrue(re.search(pattern % name, tests), f"{name}: no {pattern}")

    def test_each_has_its_section(self) -> None:
        """What it means, what to look at, what to do; the alert links the section."""
        self.assertEqual({each.name for each in alerts()}, set(sections()))
        links = re.findall(r"runbook: docs/runbook\.rst#(\w+)", RULES.read_text())
        self.assertEqual([each.name.lower() for each in alerts()], links)
        for name, text in sections().items():
            for word in ("**Meaning.**", "**Look.**", "**Do.**"):
                self.assertEqual(1, text.count(word), f"{name}: {word}")

    def test_severities(self) -> None:
        self.assertEqual({"critical", "warning"}, {each.severity for each in alerts()})
