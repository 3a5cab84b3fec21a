"""Levels by namespace."""

from __future__ import annotations

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from airyd.runtime.log_levels import LogLevels, connections_level

#: ``(--log-level, {namespace: its level})``
CASES = (
    ("info", {"airyd.hub.hub.Hub": "info", "other": "info", "twisted.web.client": "warn", "log_legacy": "warn"}),
    ("debug", {"airyd.x": "debug", "twisted.web.client": "debug"}),
    ("error", {"twisted.web": "error", "": "error"}),
    (
        "warn,airyd.sources=info,airyd.sources.redis=debug,twisted=info",
        {
            "airyd": "warn",
            "airyd.hub": "warn",
            "airyd.sources": "info",
            "airyd.sources.memory": "info",
            "airyd.sources.redis.connection.Connection": "debug",
            "airyd.sourcess": "warn",
            "twisted.internet.protocol.Factory": "info",
            "twisted.web.client": "info",
            "log_legacy": "warn",
        },
    ),
    ("info,twisted.web.client=error", {"twisted.web.client.X": "error", "twisted.web.server": "warn"}),
)


class LevelTests(SynchronousTestCase):
    """The longest name counts; Twisted's lines about ports are hidden unless asked for."""

    def test_levels(self) -> None:
        for text, namespaces in CASES:
            levels = LogLevels(text)
            for namespace, level in namespaces.items():
                self.assertEqual(levels.level_of(namespace), LogLevel.levelWithName(level), (text, namespace))

    def test_namespaces_of_airyd(self) -> None:
        """Modules, folders, classes, and the lines about connections."""
        for name in ("airyd", "airyd.hub", "airyd.hub.hub", "airyd.hub.hub.Hub", "airyd.service", "airyd.connections"):
            LogLevels(f"info,{name}=debug")

    def test_connections(self) -> None:
        for text, is_given, level in (
            ("info", False, None),
            ("info", True, LogLevel.info),
            ("warn", True, LogLevel.info),
            ("debug", False, LogLevel.debug),
            ("debug", True, LogLevel.info),
            ("warn,airyd.connections=debug", False, LogLevel.debug),
        ):
            self.assertEqual(connections_level(text, is_given), level, (text, is_given))
