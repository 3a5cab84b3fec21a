"""The order of airyd's modules: every import goes down a floor, or to the left on the same floor."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

#: All modules of airyd, floor by floor. A module imports only from lower floors and from its left. Enter new ones here.
FLOORS = (
    # 0 used by all: facts, interfaces, small helpers
    (
        "airyd",
        "airyd.errors",
        "airyd.limits",
        "airyd.events",
        "airyd.patterns",
        "airyd.revocation",
        "airyd.spelling",
        "airyd.parameters",
        "airyd.files",
        "airyd.standard_output",
        "airyd.addresses",
        "airyd.trusted_proxies",
        "airyd.request_head",
        "airyd.openssl",
        "airyd.tls",
        "airyd.hostnames",
        "airyd.deferreds",
        "airyd.notices",
        "airyd.interfaces",
    ),
    # 1 the protocol, without Twisted
    (
        "airyd.stomp",
        "airyd.stomp.spec",
        "airyd.stomp.frames",
        "airyd.stomp.fast_path",
        "airyd.stomp.message",
        "airyd.stomp.parser",
        "airyd.stomp.recent",
        "airyd.stomp.requests",
        "airyd.stomp.state",
        "airyd.stomp.subscription_ids",
        "airyd.stomp.transactions",
        "airyd.stomp.usual_requests",
        "airyd.stomp.session",
        "airyd.stomp.watched_session",
    ),
    # 2 where events and logins come from
    (
        "airyd.histogram",
        "airyd.metrics",
        "airyd.payloads",
        "airyd.auth",
        "airyd.auth.credentials",
        "airyd.auth.spec",
        "airyd.auth.anonymous",
        "airyd.auth.jwt.claims",
        "airyd.auth.revocation_registry",
        "airyd.auth.chain",
        "airyd.auth.jwt",
        "airyd.auth.jwt.keys",
        "airyd.auth.jwt.fetch",
        "airyd.auth.jwt.jwks",
        "airyd.auth.jwt.row_claims",
        "airyd.auth.jwt.permissions",
        "airyd.auth.jwt.signature",
        "airyd.auth.jwt.authenticator",
        "airyd.sources",
        "airyd.sources.routing",
        "airyd.sources.url_query",
        "airyd.sources.history",
        "airyd.sources.memory",
        "airyd.sources.redis",
        "airyd.sources.redis.tls",
        "airyd.sources.redis.address",
        "airyd.sources.redis.batch_size",
        "airyd.sources.redis.linger",
        "airyd.sources.redis.trouble",
        "airyd.sources.redis.protocol",
        "airyd.sources.redis.server_info",
        "airyd.sources.redis.connection",
        "airyd.sources.redis.client",
        "airyd.sources.redis.entries",
        "airyd.sources.redis.dead_letters",
        "airyd.sources.redis.revocation_stream",
        "airyd.sources.redis.pubsub",
        "airyd.sources.redis.stream_position",
        "airyd.sources.redis.stream_counters",
        "airyd.sources.redis.reader",
        "airyd.sources.redis.requirements",
        "airyd.sources.redis.sentinel",
        "airyd.sources.redis.streams",
        "airyd.sources.redis.url",
        "airyd.sources.sample",
        "airyd.sources.sample.conversations",
        "airyd.sources.sample.playback",
        "airyd.sources.sample.source",
        "airyd.sources.status",
    ),
    # 3 from sources to subscriptions
    (
        "airyd.hub",
        "airyd.hub.row_filter",
        "airyd.hub.pacing",
        "airyd.hub.filter_index",
        "airyd.hub.recipients",
        "airyd.hub.batches",
        "airyd.hub.shared_pages",
        "airyd.hub.fanout",
        "airyd.hub.solo",
        "airyd.hub.interfaces",
        "airyd.hub.replay",
        "airyd.hub.batch_timer",
        "airyd.hub.destination",
        "airyd.hub.subscription",
        "airyd.hub.hub",
    ),
    # 4 one client
    (
        "airyd.client",
        "airyd.client.timer_wheel",
        "airyd.client.connection_log",
        "airyd.client.context",
        "airyd.client.pings",
        "airyd.client.request_queue",
        "airyd.client.wildcard",
        "airyd.client.token_refresh",
        "airyd.client.client",
    ),
    # 5 connected to the outside: sockets, processes, the admin page
    (
        "airyd.runtime",
        "airyd.runtime.first_steps",
        "airyd.runtime.garbage_collection",
        "airyd.runtime.log_writer",
        "airyd.runtime.log_format",
        "airyd.runtime.log_levels",
        "airyd.runtime.log_limits",
        "airyd.runtime.logs",
        "airyd.runtime.early_signals",
        "airyd.runtime.process",
        "airyd.runtime.service_manager",
        "airyd.runtime.reactor_lag",
        "airyd.runtime.twistd_files",
        "airyd.websocket",
        "airyd.websocket.frames",
        "airyd.websocket.deflate",
        "airyd.websocket.origin",
        "airyd.websocket.handshake",
        "airyd.websocket.usual_heads",
        "airyd.websocket.utf8_validator",
        "airyd.websocket.transport",
        "airyd.websocket.tls_transport",
        "airyd.websocket.poller",
        "airyd.websocket.accepting",
        "airyd.websocket.connection",
        "airyd.websocket.output_buffer",
        "airyd.websocket.protocol",
        "airyd.websocket.tracing",
        "airyd.websocket.revocation_sweep",
        "airyd.listening",
        "airyd.listening.endpoint_strings",
        "airyd.listening.proxy_protocol",
        "airyd.listening.endpoints",
        "airyd.contracts",
        "airyd.contracts.schemas",
        "airyd.contracts.frames",
        "airyd.contracts.asyncapi",
        "airyd.management",
        "airyd.management.queries",
        "airyd.management.filters",
        "airyd.management.history",
        "airyd.management.explain",
        "airyd.management.trace_lines",
        "airyd.management.trace",
        "airyd.management.connection_trace",
        "airyd.management.destination_trace",
        "airyd.management.tracing",
        "airyd.management.cursor",
        "airyd.management.merging",
        "airyd.management.turns",
        "airyd.management.rates",
        "airyd.management.processes",
        "airyd.management.destinations",
        "airyd.management.overview",
        "airyd.management.draining",
        "airyd.management.connections",
        "airyd.management.listing",
        "airyd.management.manager",
        "airyd.admin",
        "airyd.admin.responses",
        "airyd.admin.access",
        "airyd.admin.login",
        "airyd.admin.query_parameters",
        "airyd.admin.event_stream",
        "airyd.admin.console_files",
        "airyd.admin.route",
        "airyd.admin.pages",
        "airyd.admin.api",
        "airyd.admin.routes",
        "airyd.admin.dispatcher",
        "airyd.admin.openapi",
        "airyd.admin.server",
    ),
    # 6 composed from the operator's options
    (
        "airyd.config",
        "airyd.config.settings",
        "airyd.config.catalogue",
        "airyd.config.option_values",
        "airyd.config.options",
        "airyd.config.demo",
        "airyd.config.help",
        "airyd.config.given",
        "airyd.config.config_file",
        "airyd.config.configuration",
        "airyd.config.contract",
        "airyd.config.reload",
        "airyd.config.effective",
        "airyd.config.command_line",
        "airyd.service",
    ),
    # 7 the programs
    (
        "airyd.workers",
        "airyd.workers.messages",
        "airyd.workers.sockets",
        "airyd.workers.metrics",
        "airyd.workers.worker_traces",
        "airyd.workers.worker",
        "airyd.workers.__main__",
        "airyd.workers.process",
        "airyd.workers.supervisor",
        "airyd.workers.node",
        "airyd.workers.traces",
        "airyd.workers.parent",
        "airyd.tap",
        "airyd.serve",
        "airyd.__main__",
        "airyd.doctor",
        "airyd.doctor.findings",
        "airyd.doctor.redis_probe",
        "airyd.doctor.redis_server",
        "airyd.doctor.redis_rights",
        "airyd.doctor.redis_streams",
        "airyd.doctor.write_check",
        "airyd.doctor.tokens",
        "airyd.doctor.certificates",
        "airyd.doctor.port_owner",
        "airyd.doctor.running",
        "airyd.doctor.machine",
        "airyd.doctor.examination",
        "airyd.cli",
        "airyd.cli.urls",
        "airyd.cli.http_errors",
        "airyd.cli.tls",
        "airyd.cli.admin_client",
        "airyd.cli.stomp_client",
        "airyd.cli.connection",
        "airyd.cli.token",
        "airyd.cli.completion",
        "airyd.cli.parser",
        "airyd.cli.daemon_options",
        "airyd.cli.values",
        "airyd.cli.node_options",
        "airyd.cli.options",
        "airyd.cli.config",
        "airyd.cli.terminal",
        "airyd.cli.tables",
        "airyd.cli.nodes",
        "airyd.cli.connections",
        "airyd.cli.kick",
        "airyd.cli.drain",
        "airyd.cli.explain",
        "airyd.cli.health",
        "airyd.cli.trace",
        "airyd.cli.top",
        "airyd.cli.top_screen",
        "airyd.cli.publish",
        "airyd.cli.render",
        "airyd.cli.revoke",
        "airyd.cli.doctor",
        "airyd.cli.tail",
        "airyd.cli.main",
        "airyd.cli.__main__",
        "twisted.plugins.airyd_authenticators",
        "twisted.plugins.airyd_plugin",
        "twisted.plugins.airyd_sources",
    ),
)

#: These modules must not import anything of the WORLD, directly or indirectly: no I/O, no clock, no framework.
SANS_IO = (
    *FLOORS[1],
    "airyd.request_head",
    "airyd.websocket.frames",
    "airyd.websocket.deflate",
    "airyd.config.settings",
)
WORLD = frozenset(
    ("asyncio", "autobahn", "select", "selectors", "socket", "ssl", "threading", "time", "twisted", "txaio", "zope")
)

#: The global reactor and the machine's clocks, and the modules that may name them: what twistd runs, what a worker's
#: process runs, and the program ``airyd``. All other modules get them as arguments.
REACTOR = "twisted.internet.reactor"
GLOBALS = (REACTOR, "time")
GLOBALS_ALLOWED = frozenset(("airyd.tap", "airyd.runtime.process", "airyd.workers.__main__", "airyd.cli.main"))

MOST_LINES = 500


class Import(NamedTuple):
    """A name that a module imports, and the line of the import."""

    name: str
    line: int


def imports(source: str) -> Iterator[Import]:
    """Yield all imports of a module, also those in functions, under ``TYPE_CHECKING`` and in branches.

    ``from a import b`` gives ``a.b``, which is a module or something in the module ``a``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (Import(f"{start}.{alias.name}", node.lineno) for alias in node.names)


def module_of(name: str, modules: Mapping[str, object]) -> str | None:
    """Return airyd's module that an imported name is or belongs to; None if it is not airyd's."""
    while name not in modules:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def faults(floors: tuple[tuple[str, ...], ...], sources: Mapping[str, str]) -> list[str]:
    """Return one line for each import that breaks the order of the floors.

    The order is total, so imports that obey it have no cycles.

    :param floors: the names of the modules, in order
    :param sources: the text of each module
    """
    order = [(name, floor) for floor, names in enumerate(floors) for name in names]
    place = {name: index for index, (name, _) in enumerate(order)}
    floor_of = dict(order)
    found = [f"{name} has no floor" for name in sorted(sources.keys() - place.keys())]
    found += [f"{name} is on floor {floor}, but isn't there" for name, floor in order if name not in sources]
    for module, source in sources.items():
        for name, line in imports(source):
            target = module_of(name, sources)
            if name.startswith("."):
                found.append(f"{module}:{line} imports {name}, which isn't its whole name")
            elif target is None or module not in place or target not in place or place[target] < place[module]:
                continue
            elif floor_of[target] > floor_of[module]:
                found.append(f"{module}:{line} imports upwards: {target}")
            else:
                found.append(f"{module}:{line} imports what is not left of it: {target}")
    return found


def chains(start: str, sources: Mapping[str, str], forbidden: frozenset[str]) -> Iterator[str]:
    """Yield each chain of imports from a module to a forbidden one, directly or through other modules of airyd."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop()
        for name, line in imports(sources[way[-1]]):
            if name.partition(".")[0] in forbidden:
                yield f"{' > '.join(way)}:{line} imports {name}"
            target = module_of(name, sources)
            if target is not None and target not in seen:
                seen.add(target)
                ways.append((*way, target))


def global_users(sources: Mapping[str, str]) -> list[str]:
    """Return the modules that name the global reactor or a clock."""
    return [
        module
        for module, source in sources.items()
        if any(name == known or name.startswith(f"{known}.") for name, _ in imports(source) for known in GLOBALS)
    ]


def named_twice(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the public names of classes and types that several modules define, with those modules."""
    found: dict[str, list[str]] = {}
    for module, source in sources.items():
        for name in {name for name in names_defined(source) if name[0].isupper() and not name.isupper()}:
            found.setdefault(name, []).append(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def names_defined(source: str) -> Iterator[str]:
    """Yield the names of all classes of a module, and those assigned at its top level, since types may be aliases."""
    tree = ast.parse(source)
    yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def house() -> dict[str, str]:
    """Return the text of each of airyd's modules, by name."""
    files = [*ROOT.glob("airyd/**/*.py"), *ROOT.glob("twisted/plugins/*.py")]
    paths = {path: path.relative_to(ROOT).with_suffix("") for path in sorted(files)}
    return {".".join(name.parts).removesuffix(".__init__"): path.read_text() for path, name in paths.items()}


class HouseTests(SynchronousTestCase):
    """The present modules of airyd."""

    maxDiff = None

    def test_imports_point_down(self) -> None:
        """Every module has a floor and imports only from lower floors and from its left."""
        self.assertEqual([], faults(FLOORS, house()))

    def test_protocol_knows_no_world(self) -> None:
        """The protocol floor imports no Twisted, zope, sockets or clocks, not even indirectly."""
        sources = house()
        found = [chain for module in SANS_IO if module in sources for chain in chains(module, sources, WORLD)]
        self.assertEqual([], found)

    def test_reactor_and_time_are_passed_in(self) -> None:
        """Only the entry points name the global reactor or a clock."""
        self.assertEqual([], sorted(set(global_users(house())) - GLOBALS_ALLOWED))

    def test_reactors_have_types(self) -> None:
        """The type of a reactor parameter says which of Twisted's interfaces it needs."""
        untyped = [name for name, source in house().items() if re.search(r"\b(reactor|clock): Any\b", source)]
        self.assertEqual([], untyped)

    def test_modules_are_short(self) -> None:
        """A module holds one idea and has at most 500 lines."""
        lengths = {name: len(source.splitlines()) for name, source in house().items()}
        self.assertEqual({}, {name: length for name, length in lengths.items() if length > MOST_LINES})

    def test_a_name_means_one_class(self) -> None:
        """No public name of a class or a type is defined twice."""
        self.assertEqual({}, named_twice(house()))

    @pytest.mark.integration
    def test_plugins_cost_nothing(self) -> None:
        """``twistd --help`` imports every plugin file: they import neither a reactor nor airyd's modules."""
        plugins = [name for name in house() if name.startswith("twisted.plugins.")]
        program = f"import sys, {', '.join(plugins)}; print(*sys.modules)"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        loaded = set(done.stdout.split())
        light = {"airyd", *FLOORS[0], *plugins}
        light |= {f"airyd.runtime{name}" for name in ("", ".early_signals", ".garbage_collection")}
        self.assertEqual(set(), {name for name in loaded if name.partition(".")[0] == "airyd"} - light)
        self.assertEqual(set(), loaded & {REACTOR, "autobahn", "msgspec", "prometheus_client"})


class CheckerTests(SynchronousTestCase):
    """The checks find each kind of fault in a made-up package."""

    floors = (("h.words", "h.more"), ("h.rules",), ("h.top",))
    sound: Mapping[str, str] = {
        "h.words": "import re",
        "h.more": "from h.words import something",
        "h.rules": "import h.more\nfrom h import words",
        "h.top": "from h.rules import x",
    }

    def faults_with(self, **changed: str) -> list[str]:
        """Return the faults after these modules of the sound package were replaced."""
        return faults(self.floors, {**self.sound, **{f"h.{name}": source for name, source in changed.items()}})

    def test_sound(self) -> None:
        self.assertEqual([], self.faults_with())

    def test_upwards(self) -> None:
        self.assertEqual(["h.words:2 imports upwards: h.top"], self.faults_with(words="import re\nimport h.top"))

    def test_upwards_by_name(self) -> None:
        """``from package import module`` counts as an import of the module."""
        self.assertEqual(["h.rules:1 imports upwards: h.top"], self.faults_with(rules="from h import top"))

    def test_to_the_right(self) -> None:
        """It would make a cycle, too."""
        self.assertEqual(["h.words:1 imports what is not left of it: h.more"], self.faults_with(words="import h.more"))

    def test_inside_a_function(self) -> None:
        source = "def f():\n    from h.rules import x"
        self.assertEqual(["h.more:2 imports upwards: h.rules"], self.faults_with(more=source))

    def test_for_types_only(self) -> None:
        source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import h.top"
        self.assertEqual(["h.rules:3 imports upwards: h.top"], self.faults_with(rules=source))

    def test_relative(self) -> None:
        expected = ["h.top:1 imports .rules.x, which isn't its whole name"]
        self.assertEqual(expected, self.faults_with(top="from .rules import x"))

    def test_not_entered(self) -> None:
        self.assertEqual(["h.new has no floor"], self.faults_with(new="import h.top"))

    def test_entered_but_gone(self) -> None:
        sources = {name: source for name, source in self.sound.items() if name != "h.top"}
        self.assertEqual(["h.top is on floor 2, but isn't there"], faults(self.floors, sources))

    def test_world_directly(self) -> None:
        sources = {**self.sound, "h.rules": "def f():\n    from time import monotonic"}
        self.assertEqual(["h.rules:2 imports time.monotonic"], list(chains("h.rules", sources, WORLD)))

    def test_world_by_way_of_another(self) -> None:
        sources = {**self.sound, "h.words": "import zope.interface"}
        self.assertEqual(["h.rules > h.words:1 imports zope.interface"], list(chains("h.rules", sources, WORLD)))

    def test_globals(self) -> None:
        """All ways of importing them are found; similar names are not."""
        sources = {
            "one": "def f():\n    from twisted.internet import defer, reactor",
            "two": "import twisted.internet.reactor as r",
            "three": "from time import monotonic",
            "none": "from twisted.internet import defer, interfaces\nimport timeit",
        }
        self.assertEqual(["one", "two", "three"], global_users(sources))

    def test_named_twice(self) -> None:
        """Assigned types count; private names and constants do not."""
        sources = {
            "one": "class Ay: pass\nBy = int\nLIMIT = 1\nclass _P: pass\nCy: type = int",
            "two": "def f():\n    class Ay: pass\nclass By: pass\nLIMIT = 2\nclass _P: pass",
            "three": "class Cy: pass",
            "four": "from one import D",
        }
        self.assertEqual({"Ay": ["one", "two"], "By": ["one", "two"], "Cy": ["one", "three"]}, named_twice(sources))
