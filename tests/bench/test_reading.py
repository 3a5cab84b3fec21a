"""What the benchmark programs read, and what they write: reports, tables, pages, pictures, and their exit status."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest
from twisted.trial.unittest import SynchronousTestCase

from bench import check, headline, instructions, intake, page, run
from bench.check import Promise
from bench.counted import FLOOR
from bench.headline import HEADLINES, Headline
from bench.machine import description
from bench.measure import LoadFailed, Measurement, judge, parse
from bench.pictures import PICTURES, draw
from bench.profile import shares
from bench.report import table, verdicts
from bench.results import Results, read
from bench.scenarios import CPU, CROWDS, FULL, LATENCIES, MEMORY, RATE, Bound, Figure, Scenario, contenders

COST = Figure("cpu", "server CPU per delivery, µs")
BOUND = Bound("cpu", 0.4, "autobahn")
SCENARIO = Scenario("one", "a load", "wsload", (COST,), contenders("airyd", "autobahn"), bounds=(BOUND,))
FOUND = {
    "airyd": [Measurement({"cpu": cpu}) for cpu in (6.0, 5.0, 7.0)],
    "autobahn": [Measurement({"cpu": 12.0}, doubts=("others had it",)), Measurement({}, faults=("it did not start",))],
}


class InputTests(SynchronousTestCase):
    """What other programs and the system say."""

    def test_load_generator(self) -> None:
        report = b'{"rounds":[{"failed":2},{"failed":1}],"rc":1,"rss":null,"first_error":"HTTP/1.1 404"}\n'
        self.assertEqual(parse(report), ({"rc": 1.0, "connect_failed": 3.0}, "HTTP/1.1 404"))
        self.assertRaises(LoadFailed, parse, b"Segmentation fault")
        verdict = judge({"rc": 3.0, "missing_total": 12.0, "machine_steal_pct": 7.25}, "closed", saturates=False)
        self.assertEqual(verdict.faults, ("12 deliveries missing", "closed"))
        self.assertEqual(verdict.doubts, ("7.2 % of the machine went elsewhere: repeat the run",))

    def test_callgrind(self) -> None:
        dump = "version: 1\nevents: Ir\nsummary: 28177150\n\nfn=(1) main\n"
        self.assertEqual(instructions.instructions(dump), 28177150)
        self.assertRaises(instructions.CannotCount, instructions.instructions, "version: 1\n")

    def test_profiler(self) -> None:
        raw = "run (a.py:1);send (libc.so.6) 70\nrun (a.py:1);f (b.py:148) 20\nrun (a.py:1);f (b.py:152) 10\n"
        self.assertEqual(shares(raw), {"self: send (libc.so.6)": 70.0, "self: f (b.py)": 30.0})

    @pytest.mark.integration  # platform asks uname
    def test_the_machine_has_no_name_and_no_paths(self) -> None:
        said = " ".join(description().values())
        self.assertNotIn(socket.gethostname(), said.split())
        self.assertNotIn(str(Path.cwd()), said)
        self.assertNotEqual(description()["processor"], "")


class OutputTests(SynchronousTestCase):
    """What people read."""

    def test_table(self) -> None:
        _, head, airyd, autobahn, *remarks = table(SCENARIO, FOUND).splitlines()
        self.assertEqual(head.split(), ["min", "median", "max", "x", "autobahn"])
        self.assertEqual(airyd.split()[-5:], ["airyd", "5.00", "6.00", "7.00", "0.50"])
        self.assertEqual(autobahn.split(), ["autobahn", "12.00", "12.00", "12.00"])
        self.assertIn("  ! autobahn, round 2: left out: it did not start", remarks)

    def test_verdict(self) -> None:
        said = [str(verdict) for verdict in verdicts(SCENARIO, {"one": FOUND})]
        self.assertEqual(
            said, ["bound NOT KEPT: one: airyd: server CPU per delivery, µs: 0.50x of autobahn, at most 0.4x"]
        )

    def test_page(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        text, kept, source = directory / "page.rst", directory / "kept", directory / "source.json"
        names = ("machine", "targets", "figures", "profile", "instructions")
        text.write_text("".join(f".. begin {name}\nold\n.. end {name}\n\n" for name in names))
        found = {"own-ids": {"airyd": [Measurement({CPU: 8.0, "unseen": 1.0})], "C each": [Measurement({CPU: 3.0})]}}
        Results("2026-01-01T00:00:00+00:00", "full", {"processor": "Z80"}, found).write(source)
        for name, path in (("PAGE", text), ("KEPT", kept), ("RUN", kept / "run.json")):
            self.patch(page, name, path)
        page.write(source)
        self.assertIn("   * - processor\n     - Z80\n", text.read_text())
        self.assertIn("**not kept**", text.read_text())
        self.assertNotIn("old", text.read_text())
        self.assertNotIn("unseen", (kept / "run.json").read_text())

    def test_pictures(self) -> None:
        values = {figure.key: 1000.0 * number for number, figure in enumerate(LATENCIES, 1)} | {RATE: 1e6, MEMORY: 2.5}
        runs = {"airyd": [Measurement(values)], "autobahn": [Measurement(values)]}
        names = ("light", *(f"saturated-{crowd}" for crowd in CROWDS), *(f"idle-{number}" for number in FULL.idle))
        found = Results("", "full", {}, dict.fromkeys(names, runs))
        drawn, again = ({path.name: path.read_text() for path in draw(found, Path(self.mktemp()))} for _ in range(2))
        self.assertEqual(drawn, again)
        self.assertEqual(set(drawn), {f"{name}.svg" for name in PICTURES})
        for picture in drawn.values():
            words = {"".join(element.itertext()).strip() for element in ElementTree.fromstring(picture).iter()}  # noqa: S314
            self.assertLessEqual({"airyd", "autobahn"}, words)


class StatusTests(SynchronousTestCase):
    """Exit statuses: 0, 1 where something is worse than it may be, 2 where it can't be measured."""

    def setUp(self) -> None:
        """Keep what the programs print."""
        self.said = io.StringIO()
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
            silenced = redirect(self.said)
            silenced.__enter__()
            self.addCleanup(silenced.__exit__, None, None, None)

    def run_intake(self, *found: Measurement) -> int:
        """Run the benchmarks where the intake is measured like this."""
        measurements = iter(found)

        class Driver:
            """Measures nothing."""

            def measure(self, *_: object) -> Measurement:
                """Return the next."""
                return next(measurements)

        self.out = Path(self.mktemp()).resolve()
        self.patch(run, "OUT", self.out)
        self.patch(run, "ROOT", self.out.parent)
        self.patch(run, "description", lambda: {"processor": "this"})
        self.patch(run, "DRIVERS", {"intake": lambda *_: Driver()})
        arguments = ["--quick", "--scenario", "intake", "--contender", "airyd", "--repeat", str(len(found))]
        return run.main(arguments, {})

    def test_bench(self) -> None:
        kept = Measurement({"events_per_s": 150_000.0, "cpu_us_per_event": 5.0})
        self.assertEqual(self.run_intake(kept, kept), 0)
        (path,) = self.out.iterdir()
        self.assertEqual(read(path).scenarios, {"intake": {"airyd": [kept, kept]}})
        self.assertEqual(self.run_intake(Measurement({"events_per_s": 50_000.0, "cpu_us_per_event": 5.0})), 1)
        self.assertEqual(self.run_intake(Measurement({}, faults=("it did not start",))), 1)

    def test_what_is_missing(self) -> None:
        self.patch(intake, "missing", lambda: "the program redis-server is missing")
        self.patch(shutil, "which", lambda *_, **__: None)
        for found, line in (
            (run.main(["--scenario", "one-in-flight"], {}), "AIRYD_WSLOAD_DIR is not set"),
            (run.main(["--scenario", "one-in-flight"], {"AIRYD_WSLOAD_DIR": "/"}), "without the program wsload"),
            (run.main(["--scenario", "intake"], {}), "left out: intake: the program redis-server is missing\n"),
            (run.main(["--scenario", "nothing"], {}), "no scenario's name begins so"),
            (headline.main([], {}), "AIRYD_WSLOAD_DIR is not set"),
            (instructions.main([]), "bench.instructions: the program valgrind is missing\n"),
        ):
            self.assertEqual(found, 2)
            self.assertIn(line, self.said.getvalue())

    def test_instructions(self) -> None:
        self.patch(instructions, "kept", lambda: {"delivery": 2.0})
        for count, status in ((3000.0, 0), (3150.0, 1)):
            self.patch(instructions, "count", lambda count=count: {"delivery": count, FLOOR: 1500.0})
            self.assertEqual(instructions.main([]), status)
        self.assertIn("MORE THAN ALLOWED: delivery: 2.100 bare sends", self.said.getvalue())

    def test_headline(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        kept = directory / "kept.json"
        kept.write_text(json.dumps({"processor": "this", "ratios": {"cost": 0.45}}))
        for name, value in (("KEPT", kept), ("OUT", directory), ("SCENARIOS", (SCENARIO,))):
            self.patch(headline, name, value)
        self.patch(headline, "HEADLINES", (Headline("cost", SCENARIO, "cpu", "autobahn"),))
        self.patch(headline, "description", lambda: {"processor": "this"})
        self.patch(headline, "measure", lambda _: {"one": FOUND})
        self.assertEqual(headline.main([], {}), 1)
        self.assertIn("+11.1 %  WORSE", self.said.getvalue())
        self.assertEqual(headline.main(["--renew"], {}), 0)
        self.assertEqual(headline.main([], {}), 0)

    def test_check(self) -> None:
        def fail() -> float:
            raise AssertionError("closed with 1002")

        self.patch(instructions, "main", lambda _: 0)
        for measure, status in ((lambda: 2.0, 0), (lambda: 2.01, 1), (fail, 2)):
            self.patch(check, "PROMISES", (Promise("memory", "MiB", 2, measure),))
            self.assertEqual(check.main([]), status)
        self.assertIn("MORE THAN ALLOWED: memory: 2.01 MiB", self.said.getvalue())


class HeadlineTests(SynchronousTestCase):
    """The headlines fit their scenarios, and what is kept is of these."""

    def test_data(self) -> None:
        for each in HEADLINES:
            self.assertIn(each.scenario, headline.SCENARIOS)
            self.assertIn(each.key, [figure.key for figure in each.scenario.figures])
            self.assertIn(each.to, [None, *(contender.name for contender in each.scenario.contenders)])
        kept, _ = headline.kept(headline.KEPT)
        self.assertLessEqual(set(kept), {each.title for each in HEADLINES})
