"""Reads the configuration file, the environment and the command line into ``Settings``, at the start and for a reload.

A later way wins: the file, then the environment, then the command line. The values of an option that may be repeated
replace all values of an earlier way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from airyd.admin.access import check_admin_endpoint
from airyd.config.catalogue import check_name, read_catalogue
from airyd.config.config_file import CONFIG, read_config
from airyd.config.given import DEFAULT, Given, by_default, in_environment, on_command_line
from airyd.config.options import ADMIN_TOKENS, ANONYMOUS, NO_ADMIN, ON, OPTIONS
from airyd.config.settings import DestinationsFile, Settings
from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS
from airyd.limits import LIMITS, LONGEST_DRAIN, Limits

#: The option with which an error of another room begins.
_NAMED: Final = re.compile(r"--([a-z-]+)(?=[ :])")


class Configuration:
    """All ways in which options can be given.

    :param arguments: the options of the command line, as pairs of name and value
    :param environ: the environment
    """

    def __init__(self, arguments: Sequence[tuple[str, str]], environ: Mapping[str, str]) -> None:
        self._arguments = tuple(on_command_line(OPTIONS[name], value) for name, value in arguments)
        self._environ = dict(environ)
        named = [each for each in (*self._of_environment(), *self._arguments) if each.option.name == CONFIG]
        self._file = named[-1] if named else None
        self._where = str(Path(named[-1].read()).absolute()) if named else ""
        self._values: dict[str, list[Given]] = {}

    def read(self) -> Settings:
        """Read the file again and return the settings; the environment and the command line are those of the start.

        Raises ``ConfigurationError`` with one line that says which value is wrong, and where it is.
        """
        of_file = [] if self._file is None else read_config(self._file.label, self._file.text, self._where)
        self._values = _merge(of_file, self._of_environment(), self._arguments)
        try:
            return _settings(self._values)
        except ConfigurationError as error:
            raise self.located(error) from None

    @property
    def values(self) -> Mapping[str, Sequence[Given]]:
        """The values of all options that were given or have a default, as :meth:`read` found them last."""
        return self._values

    @property
    def path(self) -> str | None:
        """The absolute path of the configuration file; None if there is none."""
        return self._where or None

    def located(self, error: ConfigurationError) -> ConfigurationError:
        """Return an error about an option with the place of the option's value, if that is not the command line."""
        named = _NAMED.match(str(error))
        if named is None:
            return error
        rest = str(error)[named.end() :]
        given = [each for each in self._values.get(named[1], ()) if each.label != f"--{named[1]}"]
        if not given:
            return error
        meant = [each for each in given if each.text and each.text == error.value]
        meant = meant or [each for each in given if each.text and rest.startswith(f" {each.text}:")] or given
        label = meant[0].keys.get(error.parameter, meant[0].label)
        hint = ""
        if error.parameter in OPTIONS and error.parameter in meant[0].keys and "unknown parameter" in rest:
            hint = f" The option {error.parameter} belongs above the first table of the file."
        return ConfigurationError(f"{label}{rest}{hint}")

    def _of_environment(self) -> list[Given]:
        """Return the values of the environment; an empty variable counts as missing."""
        found = []
        for option in OPTIONS.values():
            text = self._environ.get(option.variable, "").strip()
            for each in text.split() if option.repeatable else [text] * bool(text):
                found.append(in_environment(option, each))
        return found


def _merge(*ways: Sequence[Given]) -> dict[str, list[Given]]:
    """Return the values of each option from the last way that has any; from the defaults if none has."""
    merged = {name: [by_default(option)] for name, option in OPTIONS.items() if option.default}
    for way in ways:
        merged.update({given.option.name: [] for given in way})
        for given in way:
            merged[given.option.name].append(given)
    return merged


def _settings(values: Mapping[str, Sequence[Given]]) -> Settings:
    """Check all values and return them; raises ``ConfigurationError``."""

    def many(name: str) -> list[Any]:
        return [given.read() for given in values.get(name, ())]

    def one(name: str) -> Any:
        found = many(name)
        return found[0] if found else False if OPTIONS[name].is_switch else None

    limits = Limits(**{name: one(name.replace("_", "-")) for name, _, _ in LIMITS})
    if limits.body >= limits.frame:
        meant = _meant(values, "body", "frame")
        other = f"above --body, which is {limits.body}"
        if meant.option.name == "body":
            other = f"below --frame, which is {limits.frame}"
        raise meant.error(f"it must be {other}, because a frame holds the body")
    drain = one("drain-notice") + one("drain-seconds")
    if drain > LONGEST_DRAIN:
        longest_first = sorted(("drain-notice", "drain-seconds"), key=one, reverse=True)
        raise _meant(values, *longest_first).error(
            f"--drain-notice and --drain-seconds are {drain:g} seconds together; give at most {LONGEST_DRAIN:g}"
        )
    user_destinations = _user_destinations(values.get("user-destinations", ()))
    admin = None if one("admin") == NO_ADMIN else one("admin")
    if admin is not None:
        check_admin_endpoint(admin, has_token=any(one(name) is not None for name in ADMIN_TOKENS))
    destinations = _destinations(values.get("destination", ()), bool(user_destinations))
    path = one("destinations-file")
    file = None
    if path is not None:
        file = DestinationsFile(str(Path(path).absolute()), destinations, bool(user_destinations))
    auth = many("auth")
    if user_destinations and all(spec.partition(":")[0] == ANONYMOUS for spec in auth):
        raise ConfigurationError("--user-destinations needs --auth jwt: an anonymous client has no claims")
    return Settings(
        listen=many("listen"),
        paths=_paths(values["path"]),
        sources=many("source"),
        destinations=destinations if file is None else read_catalogue(file),
        destinations_file=file,
        auth=auth,
        user_destinations=tuple(user_destinations.items()),
        admin=admin,
        admin_token_file=one("admin-token-file"),
        admin_read_token_file=one("admin-read-token-file"),
        origins=many("origin"),
        heart_beat=one("heart-beat"),
        grace=one("heart-beat-grace"),
        ping_interval=one("ping-interval"),
        compression=one("compression") == ON,
        limits=limits,
        workers=one("workers"),
        token_max_age=one("token-max-age"),
        log_level=one("log-level"),
        drain_notice=one("drain-notice"),
        drain_seconds=one("drain-seconds"),
        log_format=one("log-format"),
        log_connections=one("log-connections"),
        trust_proxy=tuple(many("trust-proxy")),
        proxy_header=one("proxy-header"),
    )


def _meant(values: Mapping[str, Sequence[Given]], *names: str) -> Given:
    """Return the value to name in an error about the values of several options: the first that is not a default."""
    found = [values[name][0] for name in names]
    return next((each for each in found if each.origin != DEFAULT), found[0])


def _paths(given: Sequence[Given]) -> list[str]:
    """Return the paths of the WebSocket, each given once."""
    paths: list[str] = []
    for each in given:
        if each.read() in paths:
            raise each.error("this path is given twice")
        paths.append(each.read())
    return paths


def _user_destinations(given: Sequence[Given]) -> dict[str, str]:
    """Return the claim of each field."""
    claims: dict[str, str] = {}
    for each in given:
        field, claim = each.read()
        if field in claims:
            raise each.error(f"the field {field} is given twice")
        claims[field] = claim
    return claims


def _destinations(given: Sequence[Given], has_user_destinations: bool) -> list[str]:
    """Return Airy's destinations and those of ``--destination``, which must not be user destinations."""
    names = dict.fromkeys(AIRY_DESTINATIONS)  # a dict finds a name at once, however many there are
    for each in given:
        try:
            check_name(each.text, names, has_user_destinations)
        except ValueError as error:
            raise each.error(str(error)) from None
        names[each.text] = None
    return list(names)
