"""Rights of airyd's Redis user, taken away one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from airyd.doctor.findings import DoctorReport, Level
from tests.doctor.case import OwnServerCase
from tests.leaks import MARK
from tests.sources.redis.rights import documented_users


class RightsTests(OwnServerCase):
    """The documented users, each with all its rights, and then without one after the other."""

    def setUp(self) -> None:
        super().setUp()
        self.prefix = "airyd:"
        self.secret = Path(self.mktemp())
        self.secret.write_text(MARK * 8)

    def make_user(self, name: str, *changes: str) -> None:
        """Make a documented user, with these changes."""
        words = next(words for words in documented_users() if words[2] == name)
        self.redis.call(*words, *changes)
        self.redis.call("ACL", "SETUSER", name, f">{MARK}-1")

    async def rights(self, name: str, more: str = "") -> DoctorReport:
        """Examine the server as this user; clients log in with tokens."""
        url = self.url(f"{name}:{MARK}-1@", more=more)
        return await self.examine(f"--auth=jwt:secret-file={self.secret}", url=url)

    async def check_each(self, name: str, more: str, rights: Sequence[tuple[str, Level]]) -> None:
        """Take each right away; the report must name it, and how it is given back."""
        self.make_user(name)
        self.all_well(await self.rights(name, more), "rights")
        for right, level in rights:
            self.make_user(name, f"-{right}")
            report = await self.rights(name, more)
            named = [each for each in self.of_check(report, "rights") if each.level is not Level.OK]
            self.assertTrue(named, right)
            for finding in named:
                self.assertIn(right.replace("|", " ").upper(), finding.message)
                self.assertIn("NOPERM", finding.message)
                self.assertIn(f"+{right}", finding.advice)
            self.assertEqual(max(finding.level for finding in named), level, named)

    async def test_streams(self) -> None:
        await self.check_each(
            "airyd",
            "",
            [
                ("ping", Level.WARNING),
                ("client|id", Level.FAILURE),
                ("client|unblock", Level.WARNING),
                ("xinfo|stream", Level.FAILURE),
                ("eval_ro", Level.WARNING),
                ("xread", Level.FAILURE),
                ("xrange", Level.FAILURE),
                ("xrevrange", Level.WARNING),
                ("xadd", Level.WARNING),
                ("exec", Level.FAILURE),
                ("multi", Level.FAILURE),
            ],
        )

    async def test_pubsub(self) -> None:
        await self.check_each(
            "airyd-pubsub",
            "&mode=pubsub",
            [
                ("ping", Level.WARNING),
                ("subscribe", Level.FAILURE),
                ("publish", Level.WARNING),
                ("xrange", Level.FAILURE),
                ("xread", Level.WARNING),
                ("xadd", Level.WARNING),
                ("set", Level.WARNING),
            ],
        )

    async def test_keys(self) -> None:
        """Rights to keys: those of the events, of the revocations, and of the dead letters."""
        for keys, level, text in [
            (["~airyd:revocations", "%W~airyd:dead-letter*"], Level.FAILURE, "XREAD airyd:/*"),
            (["~airyd:/*", "%W~airyd:dead-letter*"], Level.FAILURE, "XRANGE airyd:revocations"),
            (["~airyd:/*", "~airyd:revocations"], Level.WARNING, "XADD airyd:dead-letter*"),
            (
                ["~airyd:/queue/message", "~airyd:revocations", "%W~airyd:dead-letter*"],
                Level.FAILURE,
                "XREAD airyd:/*",
            ),
        ]:
            self.make_user("airyd", "resetkeys", *keys)
            self.has(await self.rights("airyd"), level, "rights", text, "airyd:")

    async def test_channels(self) -> None:
        """Rights to channels: none of them, and each by its name."""
        self.make_user("airyd-pubsub", "resetchannels")
        self.has(await self.rights("airyd-pubsub", "&mode=pubsub"), Level.FAILURE, "rights", "SUBSCRIBE", "&airyd:/*")
        names = ("message", "unread-count", "channel/connected", "channel/disconnected")
        self.make_user("airyd-pubsub", "resetchannels", *(f"&airyd:/queue/{name}" for name in names))
        report = await self.rights("airyd-pubsub", "&mode=pubsub")
        self.has(report, Level.OK, "rights", "SUBSCRIBE")
        self.has(report, Level.WARNING, "rights", "PUBLISH to each channel cannot be checked", "+multi")
        self.make_user("airyd-pubsub", "resetchannels", *(f"&airyd:/queue/{name}" for name in names), "+multi")
        self.all_well(await self.rights("airyd-pubsub", "&mode=pubsub"), "rights")

    async def test_read_only(self) -> None:
        """The user that may only read can serve clients."""
        self.make_user("airyd-reader")
        report = await self.rights("airyd-reader")
        found = {finding.level for finding in self.of_check(report, "rights")}
        self.assertEqual(found, {Level.OK, Level.WARNING})
        self.has(report, Level.WARNING, "rights", "SEND and POST fail", "+xadd")

    async def test_nothing_is_changed(self) -> None:
        """The checks leave no key, no entry and no event behind."""
        self.redis.call("XADD", "airyd:/queue/message", "*", "payload", "{}")
        before = self.redis.call("XINFO", "STREAM", "airyd:/queue/message")
        listener = self.connect()
        listener.call("PSUBSCRIBE", "*")
        self.make_user("airyd")
        self.make_user("airyd-pubsub")
        await self.rights("airyd")
        await self.rights("airyd-pubsub", "&mode=pubsub")
        self.redis.call("PUBLISH", "airyd:/end", "end")
        got = [listener._reply() for _ in range(2)]
        self.assertEqual([each[2] for each in got], [b"airyd:/airyd/doctor", b"airyd:/end"])
        self.assertEqual(self.redis.call("XINFO", "STREAM", "airyd:/queue/message"), before)
        self.assertEqual(self.redis.call("KEYS", "*"), [b"airyd:/queue/message"])

    async def test_what_the_user_may_not_look_at(self) -> None:
        """With least rights some checks are not possible; each says so, and with which right it is."""
        self.make_user("airyd")
        report = await self.rights("airyd")
        for check, right in [("memory", "+info"), ("persistence", "+info"), ("output-buffer", "+config|get")]:
            self.has(report, Level.WARNING, check, "not checked, because only the doctor needs this right", right)
        self.has(report, Level.WARNING, "clock", "not checked, because only the doctor needs this right", "+time")
        for check in ("version", "rights", "lag", "round-trip"):
            self.all_well(report, check)
        self.assertIs(report.worst, Level.WARNING)

    async def test_names_that_the_user_may_look_at(self) -> None:
        """With least rights, wrong names are looked for among the keys of airyd's user."""
        self.make_user("airyd")
        self.has(await self.rights("airyd"), Level.OK, "keys", "among the keys that this user may read")
        self.redis.call("XADD", "airyd:/queue/messages", "*", "payload", "{}")
        self.has(await self.rights("airyd"), Level.WARNING, "keys", "there is a key airyd:/queue/messages", "XADD")
        self.make_user("airyd", "resetkeys", "~airyd:/queue/message")
        self.has(await self.rights("airyd"), Level.WARNING, "keys", "wrong names cannot be looked for", "~*")

    async def test_with_info(self) -> None:
        """With the right that Sentinel needs, only the limits of the output buffers can't be looked at."""
        self.make_user("airyd", "+info")
        self.redis.call("CONFIG", "SET", "appendonly", "yes")
        report = await self.rights("airyd")
        self.has(report, Level.OK, "clock", "differ by 0.0 s")
        about_redis = [each for each in report.findings if each.subject.startswith("redis:")]
        unchecked = [each.check for each in about_redis if each.level is not Level.OK]
        self.assertEqual(unchecked, ["output-buffer"], about_redis)

    async def test_documented_additions(self) -> None:
        """With the additional rights that docs/operating.rst prints, every check is possible."""
        document = Path(__file__).parents[2] / "docs" / "operating.rst"
        (line,) = re.findall(r"^ +ACL SETUSER airyd (.*)$", document.read_text(), re.MULTILINE)
        self.make_user("airyd", *line.split())
        self.configure("appendonly", "yes")
        report = await self.rights("airyd")
        for check in ("memory", "eviction", "persistence", "output-buffer", "clock", "keys", "rights"):
            self.all_well(report, check)
        url = self.url(f"airyd:{MARK}-1@")
        self.all_well(await self.examine("--write", url=url), "test-event")
