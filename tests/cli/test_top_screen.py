"""The screen of ``airyd top``, without a terminal."""

from __future__ import annotations

import curses
from collections.abc import Callable, Mapping
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.tables import width_of
from airyd.cli.top import NodeSample
from airyd.cli.top_screen import SORTS, Look, ScreenLine, TopScreen, has_screen, screen_lines
from airyd.management.queries import ConnectionState, SortKey
from tests.cli.fakes import Screen
from tests.cli.node_case import NOW, UNREACHABLE, NodesCase, answer, overview, page, row
from tests.snippets import snippets

A, B = "http://a:1", "http://b:2"


class LineTests(SynchronousTestCase):
    """What stands on it."""

    def lines(
        self, samples: Mapping[str, NodeSample], sort: SortKey = SortKey.BUFFERED, width: int = 200, height: int = 30
    ) -> list[ScreenLine]:
        """Return the lines for two nodes."""
        return screen_lines((A, B), samples, sort, width, height, NOW)

    def words(self, lines: list[ScreenLine], start: str) -> list[str]:
        """Return the words of the only line that begins like this."""
        (line,) = (each.text for each in lines if each.text.startswith(start))
        return line.split()

    def test_nodes(self) -> None:
        """Each has a line, and there is one with the sums; all read the same feed."""
        lines = self.lines(
            {
                A: NodeSample(A, overview(lag_seconds=None), 10.0, 20.0),
                B: NodeSample(B, overview(ready=False, connections=7), 5.0, 6000.0),
            }
        )
        self.assertEqual(self.words(lines, "a:1"), ["a:1", "ready", "5", "2", "1", "10.0", "20.0", "-", "2.0", "KiB"])
        self.assertEqual(
            self.words(lines, "b:2"), ["b:2", "not", "ready", "7", "2", "1", "5.0", "6,000", "1.5", "s", "2.0", "KiB"]
        )
        self.assertEqual(self.words(lines, "all"), ["all", "12", "4", "2", "10.0", "6,020", "1.5", "s", "4.0", "KiB"])

    def test_nodes_without_an_answer(self) -> None:
        lines = self.lines({A: NodeSample(A, None, failure="cannot reach http://a:1: \x1b")})
        self.assertEqual(self.words(lines, "a:1")[:3], ["a:1", "no", "answer"])
        self.assertEqual(self.words(lines, "b:2")[:2], ["b:2", "waiting"])
        self.assertIn(ScreenLine("cannot reach http://a:1: \\x1b", Look.BAD), lines)

    def test_warnings(self) -> None:
        lines = self.lines({A: NodeSample(A, overview(warnings=["Redis is slow"]))})
        self.assertIn(ScreenLine("a:1: Redis is slow", Look.WARNING), lines)

    def test_connections(self) -> None:
        """Those of all nodes are sorted together, slow ones are marked."""
        samples = {
            A: NodeSample(A, overview(), connections=[row(1, buffered=10, state=ConnectionState.SLOW)]),
            B: NodeSample(B, overview(), connections=[row(2, buffered=20), row(3, buffered=5)]),
        }
        ids = [(each.text.split()[1], each.look) for each in self.lines(samples)[-3:]]
        self.assertEqual(ids, [("c-2", Look.PLAIN), ("c-1", Look.BAD), ("c-3", Look.PLAIN)])
        self.assertEqual(
            [each.text.split()[1] for each in self.lines(samples, SortKey.AGE)[-3:]], ["c-3", "c-2", "c-1"]
        )

    def test_any_size(self) -> None:
        """Nothing is wider or higher than the screen."""
        rows = [row(each, agent="你" * 30, subject="x\n") for each in range(50)]
        samples = {A: NodeSample(A, overview(warnings=["w" * 300]), connections=rows)}
        for width in (0, 1, 5, 40, 79, 300):
            for height in (0, 1, 2, 5, 10, 24, 70):
                lines = self.lines(samples, width=width, height=height)
                self.assertLessEqual(len(lines), height)
                self.assertTrue(all(width_of(each.text) <= width and each.text.isprintable() for each in lines))
        self.assertEqual(len(self.lines(samples, height=24)), 24)


class DocumentTests(SynchronousTestCase):
    """docs/operating.rst shows a screen."""

    def test_screen(self) -> None:
        """It is what nodes with these figures and connections look like, below the title."""
        urls = ("https://node-1.example.org:8081", "https://node-2.example.org:8081")
        slow = row(
            724,
            id="5f0c2a11-812",
            state=ConnectionState.SLOW,
            address="192.0.2.7:50412",
            buffered=12_058_624,
            events=9312,
            subscriptions=4,
        )
        live = row(
            61, id="b7e19c04-3", subject="bea", address="192.0.2.9:41100", buffered=2048, events=400, subscriptions=4
        )
        samples = {
            urls[0]: NodeSample(
                urls[0], overview(connections=2517, slow=1, catching_up=0, buffered=12_060_672), 12.0, 30204.0, [slow]
            ),
            urls[1]: NodeSample(urls[1], overview(connections=2483, slow=0, lag_seconds=0.0), 12.0, 29796.0, [live]),
        }
        shown = [line.text for line in screen_lines(urls, samples, SortKey.BUFFERED, 200, 30, NOW)[1:]]
        (snippet,) = (each.text for each in snippets() if "connections by buffered" in each.text)
        self.assertEqual(snippet.splitlines(), shown)


class Window:
    """A window of curses with keys that a test presses.

    :ivar size: its height and width
    :ivar lines: what stands on it
    """

    def __init__(self, next_key: Callable[[Window], int]) -> None:
        self.size = (24, 80)
        self.lines: list[str] = []
        self.drawn = 0
        self._next_key = next_key

    def getmaxyx(self) -> tuple[int, int]:
        return self.size

    def erase(self) -> None:
        self.lines = []

    def addstr(self, y: int, x: int, text: str, attributes: int) -> None:
        assert (y, x) == (len(self.lines), 0)
        assert len(text) < self.size[1]
        self.lines.append(text)

    def refresh(self) -> None:
        self.drawn += 1

    def timeout(self, milliseconds: int) -> None:
        """Don't wait: the test's keys come at once."""

    def getch(self) -> int:
        return self._next_key(self)

    def title(self) -> str:
        """Return what the connections are sorted by."""
        return next((each for each in self.lines if each.startswith("connections by ")), "")


class ScreenTests(NodesCase):
    """Keys, sizes and nodes that come and go."""

    def run_screen(self, *urls: str, steps: list[Callable[[Window], int | None]]) -> Window:
        """Run a screen until ``q``. Each step is tried until it returns a key, then the next one."""

        def next_key(window: Window) -> int:
            key = steps[0](window)
            if key is not None:
                steps.pop(0)
            return -1 if key is None else key

        window = Window(next_key)
        screen = TopScreen([self.at(url) for url in urls], 0.001, lambda: NOW, "ascii")
        screen.run(window, dict.fromkeys(Look, 0))
        self.assertEqual(steps, [])
        return window

    def test_nodes_and_connections(self) -> None:
        _, web = self.node({"GET overview": answer(overview()), "GET connections": page(row(1, subject="né"))})

        def is_there(window: Window) -> int | None:
            return ord("q") if any(each.startswith("c-1  n\\xe9 ") for each in window.lines) else None

        window = self.run_screen(web.url, steps=[is_there])
        self.assertIn("connections by buffered", window.lines)
        self.assertIn("GET /api/v1/connections?sort=buffered&limit=24", web.requests)

    def test_sort(self) -> None:
        """``s`` changes the order, which the nodes are asked for."""
        _, web = self.node({"GET overview": answer(overview()), "GET connections": page(row(1))})

        def asked(sort: SortKey, key: str) -> Callable[[Window], int | None]:
            def step(window: Window) -> int | None:
                is_asked = any(f"?sort={sort.value}&" in each for each in tuple(web.requests))
                return ord(key) if is_asked and window.title().endswith(sort.value) else None

            return step

        keys = [*("s" for _ in SORTS[1:]), "q"]
        self.run_screen(web.url, steps=[asked(sort, key) for sort, key in zip(SORTS, keys, strict=True)])

    def test_resize(self) -> None:
        _, web = self.node({"GET overview": answer(overview()), "GET connections": page(*map(row, range(60)))})

        def full(height: int, key: int) -> Callable[[Window], int | None]:
            def step(window: Window) -> int | None:
                if len(window.lines) != height:
                    return None
                window.size = (50, 40)
                return key

            return step

        self.run_screen(web.url, steps=[full(24, curses.KEY_RESIZE), full(50, ord("q"))])

    def test_one_is_down(self) -> None:
        _, web = self.node({"GET overview": answer(overview()), "GET connections": page()})

        def both(window: Window) -> int | None:
            text = "\n".join(window.lines)
            return ord("Q") if "no answer" in text and " ready " in text else None

        window = self.run_screen(UNREACHABLE, web.url, steps=[both])
        self.assertIn(f"cannot reach {UNREACHABLE}: connection refused", window.lines)

    def test_where_there_is_no_screen(self) -> None:
        """A pipe, a dumb terminal, an unknown one, and a keyboard that is none."""

        class Keyboard(StringIO):
            def __init__(self, is_terminal: bool) -> None:
                super().__init__()
                self._is_terminal = is_terminal

            def isatty(self) -> bool:
                return self._is_terminal

        for terminal, keyboard, term in (
            (False, True, "xterm"),
            (True, False, "xterm"),
            (True, True, "dumb"),
            (True, True, ""),
        ):
            console = Screen(terminal=terminal).console
            self.assertFalse(has_screen(console, Keyboard(keyboard), {"TERM": term}))
        self.assertFalse(has_screen(Screen(terminal=True).console, None, {"TERM": "xterm"}))
