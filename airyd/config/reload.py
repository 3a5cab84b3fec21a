"""Reloads on SIGHUP: reads all settings and files again, checks them, applies all or nothing, and logs one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.admin.access import check_admin_endpoint
from airyd.config.configuration import Configuration
from airyd.config.options import ANONYMOUS
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError
from airyd.interfaces import Reload
from airyd.limits import Limits
from airyd.metrics import ReloadMetrics

#: The settings that only a restart can change.
RESTART: Final = ("listen", "sources", "admin", "workers", "user_destinations", "trust_proxy", "log_format")
#: Names of one kind, such as added destinations, that the line of a reload has at most.
MOST_NAMES: Final = 20
#: The options of the settings that have other names.
_OPTIONS: Final = {
    "listen": "listen",
    "paths": "path",
    "sources": "source",
    "origins": "origin",
    "grace": "heart-beat-grace",
}


class Plan(NamedTuple):
    """What a reload changes.

    :ivar settings: the new settings, without what only a restart can change
    :ivar changed: the options that change, such as ``--origin``
    :ivar added: the destinations that are added
    :ivar restart: the options that only a restart can change
    :ivar removed: the destinations that only a restart can remove
    """

    settings: Settings
    changed: Sequence[str]
    added: Sequence[str]
    restart: Sequence[str]
    removed: Sequence[str]

    def describe(self, changes: Sequence[str]) -> str:
        """Return one line with all changes.

        :param changes: the changes of files, from ``Reload``
        """
        parts = [
            f"{name} {_some(items)}"
            for name, items in (
                ("destinations added:", self.added),
                ("changed:", self.changed),
                ("new:", changes),
                ("only a restart can change", self.restart),
                ("only a restart can remove", self.removed),
            )
            if items
        ]
        return "; ".join(parts or ["nothing has changed"])


def plan_reload(present: Settings, wanted: Settings) -> Plan:
    """Compare the settings in force with the new ones; raises ``ConfigurationError`` if the result is not allowed."""
    if _accepts_anybody(wanted.auth) and not _accepts_anybody(present.auth):
        raise ConfigurationError(
            "--auth: anonymous alone would let everybody log in; a reload never does that, since a file may be cut "
            "off: restart airyd if you want it"
        )
    before, after = set(present.destinations), set(wanted.destinations)
    added = [name for name in wanted.destinations if name not in before]
    settings = wanted._replace(
        destinations=[*present.destinations, *added], **{name: getattr(present, name) for name in RESTART}
    )
    if settings.admin is not None:
        check_admin_endpoint(
            settings.admin, has_token=bool(settings.admin_token_file or settings.admin_read_token_file)
        )
    changed = [
        _option(name)
        for name in Settings._fields
        if name not in ("destinations", "limits") and getattr(settings, name) != getattr(present, name)
    ]
    changed += [
        _option(each.name)
        for each in fields(Limits)
        if getattr(settings.limits, each.name) != getattr(present.limits, each.name)
    ]
    restart = [_option(name) for name in RESTART if getattr(wanted, name) != getattr(present, name)]
    removed = [name for name in present.destinations if name not in after]
    return Plan(settings, changed, added, restart, removed)


def _accepts_anybody(auth: Sequence[str]) -> bool:
    """Return whether ``anonymous`` is the only authenticator."""
    return all(spec.partition(":")[0] == ANONYMOUS for spec in auth)


def _some(items: Sequence[str]) -> str:
    more = len(items) - MOST_NAMES
    return ", ".join(items[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _option(name: str) -> str:
    return f"--{_OPTIONS.get(name, name.replace('_', '-'))}"


class ReloadableService(Protocol):
    """A service whose settings can change while it runs.

    :ivar settings: the settings in force
    """

    @property
    def settings(self) -> Settings:
        """The settings in force."""

    async def prepare_reload(self, settings: Settings) -> Reload:
        """Check new settings and read all files again; raises ``ConfigurationError``."""


class Reloader:
    """Reloads a service, one reload after the other.

    :param check: raises ``ConfigurationError`` if a start with these settings would fail
    :param applied: called after each reload with the settings in force
    :param metrics: say how the last reload ended
    :param wall: returns the wall-clock time in seconds since 1970

    :ivar ended: called when all reloads that were asked for have ended
    """

    _log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        service: ReloadableService,
        check: Callable[[Settings], None],
        applied: Callable[[Settings], None],
        metrics: ReloadMetrics,
        wall: Callable[[], float],
    ) -> None:
        self._configuration = configuration
        self._service = service
        self._check = check
        self._applied = applied
        self._metrics = metrics
        self._wall = wall
        self.ended: Callable[[], None] = lambda: None
        self._is_running = False
        self._is_wanted = False

    def reload(self) -> None:
        """Start a reload; if one is running, start another one after it."""
        self._is_wanted = True
        if not self._is_running:
            self._is_running = True
            Deferred.fromCoroutine(self._run()).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._metrics.success = False
        self._log.failure("a reload failed", failure)

    async def _run(self) -> None:
        try:
            while self._is_wanted:
                self._is_wanted = False
                await self._reload()
        finally:
            self._is_running = False
            self.ended()

    async def _reload(self) -> None:
        try:
            wanted = self._configuration.read()
            self._check(wanted)
            plan = plan_reload(self._service.settings, wanted)
            reload = await self._service.prepare_reload(plan.settings)
        except ConfigurationError as error:
            reason = str(self._configuration.located(error))
            self._metrics.success = False
            self._log.error("nothing was reloaded: {reason}", reason=reason)
            return
        applying = reload.apply()
        if applying is not None:
            await applying
        self._metrics.success, self._metrics.applied_at = True, self._wall()
        # Log before the new log level applies, which may hide the line.
        log = self._log.warn if plan.restart or plan.removed else self._log.info
        log("settings reloaded: {changes}", changes=plan.describe(reload.changes))
        self._applied(plan.settings)
