"""Runs promtool, of Prometheus, over the alerts with pages of metrics that daemons wrote."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families as parse_text

RULES: Final = Path(__file__).parents[2] / "etc/prometheus/airyd.rules.yml"
#: The labels that Prometheus adds to what it scrapes.
TARGET: Final[Mapping[str, str]] = {"job": "airyd", "instance": "127.0.0.1:8081"}
#: Alerts that a busy machine may cause in any test.
_OF_LOAD: Final = frozenset(("AirydReactorSlow", "AirydRedisSlow", "AirydEventsLate", "AirydFeedLags"))
#: Texts of an alert; they hold values, and promtool would compare them.
_ANNOTATIONS: Final = re.compile(r"^        annotations:\n(?:          .*\n)+", re.MULTILINE)

#: The value of each series of a page, by its name with its labels as in PromQL.
Page = dict[str, float]


class Alert(NamedTuple):
    """An alert of the file of rules.

    :ivar wait: for how many minutes its expression must be true
    """

    name: str
    expression: str
    wait: int
    severity: str


def alerts() -> list[Alert]:
    """Return the alerts of the file of rules, in their order."""
    rule = re.compile(
        r"      - alert: (\w+)\n        expr: (?:\|\n((?:          .*\n)+)|(.*)\n)"
        r"(?:        for: (\d+)m\n)?        labels: \{severity: (\w+)\}\n"
    )
    found = rule.findall(RULES.read_text())
    return [
        Alert(name, (block or line).strip(), int(wait or 0), severity) for name, block, line, wait, severity in found
    ]


def check(rules: str) -> str:
    """Let promtool check a file of rules; return "" if it is right, else what it says."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "rules.yml")
        path.write_text(rules)
        done = _promtool("check", "rules", str(path))
        return "" if done.returncode == 0 else done.stdout


def read_page(text: str) -> Page:
    """Return the series of a page of metrics as Prometheus stores them."""
    samples = [sample for family in parse_text(text) for sample in family.samples]
    return {_series(each.name, {**each.labels, **TARGET}): each.value for each in samples} | {_series("up", TARGET): 1}


def no_page() -> Page:
    """Return what Prometheus stores when it can't scrape."""
    return {_series("up", TARGET): 0}


def _series(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}"


def assert_firing(expected: set[str], pages: Sequence[tuple[int, Page]], interval: int = 60) -> None:
    """Let promtool check which alerts fire at the end of a history of scrapes, but for those of a busy machine.

    :param pages: each with the number of scrapes that found it
    :param interval: seconds between two scrapes

    Raises ``AssertionError`` with promtool's words.
    """
    names = dict.fromkeys(name for _, page in pages for name in page)
    series = [{"series": name, "values": " ".join(_values(name, pages))} for name in names]
    end = (sum(count for count, _ in pages) - 1) * interval
    ignored = "|".join(_OF_LOAD - expected)
    firing = f'ALERTS{{alertstate="firing", alertname!~"{ignored}"}}'
    test = {
        "interval": f"{interval}s",
        "input_series": series,
        "promql_expr_test": [
            {
                "expr": f"group by (alertname) ({firing})",
                "eval_time": f"{end}s",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)],
            }
        ],
    }
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "rules.yml").write_text(_ANNOTATIONS.sub("", RULES.read_text()))
        path = Path(directory, "test.yml")
        path.write_text(  # JSON is YAML, too
            json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": f"{interval}s", "tests": [test]})
        )
        done = _promtool("test", "rules", str(path))
        if done.returncode:
            raise AssertionError(done.stdout)


def _values(name: str, pages: Sequence[tuple[int, Page]]) -> list[str]:
    return [value for count, page in pages for value in [f"{page[name]:f}" if name in page else "_"] * count]


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
