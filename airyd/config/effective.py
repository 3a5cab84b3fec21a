"""Shows the effective values of all options, each with its origin and without secrets, as a configuration file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from airyd.config.config_file import LIMITS_TABLE
from airyd.config.configuration import Configuration
from airyd.config.given import Given
from airyd.config.options import LIMIT, OPTIONS
from airyd.config.settings import Settings
from airyd.spelling import closest

MASK: Final = "***"
#: The user and the password in a URL, up to the last @ that there is.
_LOGIN: Final = re.compile(r"//([^:@/?#]*):.*@", re.DOTALL)
#: The scheme of a URL, and what stands in front of its path.
_AUTHORITY: Final = re.compile(r"([^:/?#]*:(?://)?)([^/?#]*)")
#: A host, with or without a port.
_HOST: Final = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]{0,5})?")
#: A parameter of a URL, or what stands in its place.
_PARAMETER: Final = re.compile(r"(?<=[?&])[^&]+")
#: Parameters of sources that are shown, beside those that end with -file. All others, also those of other packages, may
#: be secrets.
_SHOWN_OF_SOURCES: Final = frozenset(
    (
        *("mode", "prefix", "maxlen", "linger", "history", "history-bytes", "destinations", "db"),
        *("rate", "seed", "file", "loop"),
    )
)
#: Parameters of authenticators that are shown. All others, also those of other packages, may be secrets.
_SHOWN: Final = frozenset(
    (
        *("secret-file", "secret-env", "key-file", "jwks", "base64", "alg", "ca-file", "issuer", "audience", "leeway"),
        *("subject-claim", "allow-eternal", "cookie", "subscribe-claim", "send-claim", "only-claim", "missing-claim"),
        *("public", "send"),
    )
)
#: Variables of airyd that are not options.
_OTHERS: Final = frozenset(
    ("AIRYD_OPTIONS", "AIRYD_TOKEN", "AIRYD_ADMIN_TOKEN", "AIRYD_REDIS_PASSWORD", "AIRYD_REDIS_SENTINEL_PASSWORD")
)
#: The ends of variables that Kubernetes sets for a service.
_OF_KUBERNETES: Final = ("_PORT", "_SERVICE_HOST", "_TCP", "_PROTO", "_ADDR")
_COLON: Final = re.compile(r"(?<!\\):(?![/0-9])")


def show_effective(configuration: Configuration, environ: Mapping[str, str]) -> str:
    """Return the text.

    :param configuration: has been read before
    """
    return "\n".join([*_lines(configuration.values), *_misspelt(environ), ""])


def _lines(values: Mapping[str, Sequence[Given]]) -> Iterator[str]:
    for option in OPTIONS.values():
        if option.subject != LIMIT:
            yield from _assignment(option.name, values.get(option.name, ()))
    yield ""
    yield f"[{LIMITS_TABLE}]"
    for option in OPTIONS.values():
        if option.subject == LIMIT:
            yield from _assignment(option.name, values[option.name])


def _assignment(name: str, given: Sequence[Given]) -> Iterator[str]:
    option = OPTIONS[name]
    if not given:
        without = f", which means {option.without}" if option.without else ""
        yield f"# {name} is not given{without}"
    elif name == "config":  # a file can't name another one
        yield f"# {name} = {_literal(given[0])}  # {given[0].origin}"
    elif len(given) == 1:
        value = f"[{_literal(given[0])}]" if option.repeatable else _literal(given[0])
        yield f"{name} = {value}  # {given[0].origin}"
    else:
        yield f"{name} = ["
        for each in given:
            yield f"    {_literal(each)},  # {each.origin}"
        yield "]"


def _literal(given: Given) -> str:
    """Return the value in TOML."""
    value = given.read()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(masked(given.option.name, given.text)).replace("\x7f", "\\u007f")


def masked(name: str, text: str) -> str:
    """Return the value of an option without secrets."""
    if name == "source":
        # The text before an @ may be a password, even in a URL that no source accepts.
        if "@" not in text:
            text = _without_password(text)
        text = _LOGIN.sub(rf"//\1:{MASK}@", text) if "//" in text else re.sub(".*@", f"{MASK}@", text)
        return _PARAMETER.sub(_masked_parameter, text)
    if name == "auth":
        kind, *words = _COLON.split(text)
        return ":".join([kind, *map(_masked_word, words)])
    return text


def _without_password(url: str) -> str:
    """Return a URL without an ``@``; what follows a colon may be a password unless it is a port."""
    found = _AUTHORITY.match(url)
    if found is None or all(map(_HOST.fullmatch, found[2].split(","))):
        return url
    return f"{found[1]}{found[2].partition(':')[0]}:{MASK}"


def _masked_parameter(found: re.Match[str]) -> str:
    name, equals, _ = found[0].partition("=")
    if not equals:
        return MASK
    is_shown = name in _SHOWN_OF_SOURCES or name.endswith("-file")
    return found[0] if is_shown else f"{name}={MASK}"


def _masked_word(word: str) -> str:
    name, equals, value = word.partition("=")
    if name not in _SHOWN:
        return MASK
    if name == "jwks" and "@" not in value:
        plain = value.replace("\\:", ":")
        value = value if _without_password(plain) == plain else _without_password(plain)
    # A URL of keys may have a password or a token.
    return f"{name}{equals}{re.sub('[?].*', f'?{MASK}', _LOGIN.sub(f'//{MASK}@', value))}"


def _misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a remark for each variable that is nearly that of an option."""
    known = {option.variable for option in OPTIONS.values()}
    for name in sorted(set(environ) - known - _OTHERS):
        if name.startswith("AIRYD_") and not name.endswith(_OF_KUBERNETES):
            meant = closest(name, known, 0.85)
            if meant is not None:
                yield f"# {name} is set, but is not an option; did you mean {meant}?"


def config_labels(settings: Settings) -> dict[str, str]:
    """Return the configuration as labels of a metric: short words, without secrets and addresses."""
    return {
        "sources": _words(url.partition(":")[0].lower() for url in settings.sources),
        "auth": _words(spec.partition(":")[0] for spec in settings.auth),
        "workers": str(settings.workers),
        "compression": "on" if settings.compression else "off",
        "log_level": settings.log_level,
    }


def _words(words: Iterable[str]) -> str:
    return ",".join(sorted(set(words)))
