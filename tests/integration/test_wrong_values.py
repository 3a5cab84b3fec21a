"""Wrong values of every option and source parameter: airyd ends with status 1 and one line that names it.

The code's lists of options and parameters are compared with these tables, so that each has wrong values here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from airyd.config.command_line import Options
from airyd.config.options import OPTIONS as KNOWN
from airyd.errors import ConfigurationError
from airyd.interfaces import IEventSourceParser
from airyd.limits import LIMITS
from airyd.sources import make_source
from airyd.sources.routing import PARAMETER
from tests.integration.forking import CommandLine, run_forked
from tests.leaks import MARK, leaks
from tests.sources.support import make_context

#: Files with a content that no option accepts, by their names in the folder of the test.
FILES: Final = {"empty": b"", "binary": b"\xff\xfe\x00", "lines": MARK.encode() + b"1234567890\n" + MARK.encode()}
MISSING: Final = ("", "{folder}/missing", "{folder}", "{folder}/empty/below")
NUMBERS: Final = ("", "-1", "1e9", "abc", " 1", "1.5", "9" * 30, "9" * 5000)
#: Wrong values of each option.
OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "listen": ("", "nonsense:1", "tcp:x:interface=127.0.0.1", "tcp:8080"),
    "config": ("", "/nothing/there.toml", "{folder}"),
    "path": ("", "ws", "/a b", "/a?b"),
    "admin": ("", "tcp:8081", "None", "pigeon:"),
    "source": (
        "",
        "//",
        f"{MARK}@host",
        "pigeon:",
        "redis",
        "redis:127.0.0.1",
        f"redis://u:{MARK}@a,b:6379/0",
        f"redis://u:{MARK}@h:0",
        f"redis://u:{MARK}@h:65536",
        f"redis://u:{MARK}@h:x",
        f"redis://u:{MARK}@h/x",
        f"redis://u:{MARK}/x@h/0",
        f"redis://u:{MARK}#x@h/0",
        f"redis://u:{MARK}?x@h/0",
        "redis://h/1/2",
        "redis://h/-1",
        "redis://h..x",
        "redis://[::1/0",
        "redis://::1",
        f"redis+tls://u:{MARK}@h",
        "redis+unix:",
        "redis+unix://h/x",
        "redis+sentinel:",
        "redis+sentinel://h",
        "redis+sentinel:///m",
        "redis+sentinel://h,/m",
        "redis+sentinel://h:0/m",
        "redis+sentinel://h/m/x",
        "memory://h",
        "memory:?x",
        "memory:?=1",
        "memory:?history=1&history=2",
        "sample:x",
    ),
    "auth": ("", "nobody", "anonymous:fly", "jwt:", "jwt:secret-file=/nothing/there"),
    "destination": ("", "queue", "/a b", "/queue/message", "/airyd/x"),
    "user-destinations": ("", "user", "=sub", "user=", "user=exp", "user=sub"),  # the last without --auth jwt
    "destinations-file": (*MISSING, "{folder}/binary", "/dev/zero"),
    "admin-token-file": (*MISSING, "{folder}/binary", "{folder}/empty", "{folder}/lines", "/dev/zero"),
    "admin-read-token-file": (*MISSING, "{folder}/binary", "{folder}/empty", "{folder}/lines", "/dev/zero"),
    "origin": ("", "app", "no origin"),
    "token-max-age": (*NUMBERS, "0"),
    "heart-beat": (*NUMBERS, "1", "1,", "-1,0", "a,b", "1,2,3"),
    "heart-beat-grace": ("", "-1", "abc", "nan", "inf", "1e99", "9" * 30),
    "ping-interval": ("", "-1", "abc", "nan", "inf", "1e99", "9" * 30, "0.05"),
    "drain-notice": ("", "-1", "abc", "nan", "inf", "1e99", "9" * 30, "301"),
    "drain-seconds": ("", "-1", "abc", "nan", "inf", "1e99", "9" * 30, "301"),
    "workers": (*NUMBERS, "0", "65", "many"),
    "compression": ("", "1", "yes"),
    "log-level": ("", "loud", "INFO", "critical", "info,", "info,airyd.nothing=info", "info,a=loud", "debug,=info"),
    "log-format": ("", "JSON", "yaml"),
    "trust-proxy": ("", "10.0.0.1/8", "10.0.0.0/33", "proxy.example.org", "UNIX"),
    "proxy-header": ("", "X-Forwarded-For", "x-real-ip"),
    **dict.fromkeys((name.replace("_", "-") for name, _, _ in LIMITS), (*NUMBERS, "0")),
    "token-size": (*NUMBERS, "0", "1023", "131073"),
}
_SECRET_FILES: Final = (*MISSING, "{folder}/binary", "{folder}/empty", "{folder}/lines", "/dev/zero")
_PEM_FILES: Final = (*MISSING, "{folder}/binary", "{folder}/empty", "/dev/zero")
#: Wrong values of each parameter of a source; files that belong together are in one value.
PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "history": NUMBERS,
    "history-bytes": NUMBERS,
    "rate": ("", "0", "-1", "fast", "nan", "1e9"),
    "seed": ("", "x", "1.5", "9" * 30),
    "file": (*MISSING, "{folder}/binary", "{folder}/empty", "{folder}/lines", "/dev/zero"),
    "loop": ("", "yes", "2"),
    "mode": ("", "list", "STREAM"),
    "prefix": ("%ff",),
    "maxlen": (*NUMBERS, "0"),
    "linger": (*NUMBERS, "1001"),
    "password-file": _SECRET_FILES,
    "sentinel-password-file": _SECRET_FILES,
    "ca-file": _PEM_FILES,
    "cert-file": tuple(f"{each}&key-file={{folder}}/binary" for each in _PEM_FILES),
    "key-file": ("{folder}/binary", ""),
    "db": (*NUMBERS,),
    PARAMETER: ("", "queue", "/queue/nothing", "/**/x", "/a b"),
}
#: URLs of sources, up to the parameters; each has different ones.
URLS: Final = (
    "memory:?",
    "sample:?",
    "sample:?file={folder}/lines&",
    "redis://h?",
    "redis://h?mode=pubsub&",
    "rediss://localhost?",
    "redis+unix:///s?",
    "redis+sentinel://h/m?",
)


#: More wrong values, and options that can't be combined: ``(options, what the one line must contain)``.
EXAMPLES: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("--nonsense",), "nonsense"),
    (("stray",), "stray"),
    (("--listen=nonsense:1",), "nonsense"),
    (("--listen=tcp:port",), "listen"),
    (("--listen=tcp:0",), "anonymous:public"),
    (("--listen=tcp:0:interface=0.0.0.0",), "anonymous:public"),
    (("--path=ws",), "path"),
    (("--source=pigeon:",), "pigeon"),
    (("--source=memory:?history=many",), "history"),
    (("--source=memory:?history=-1",), "history"),
    (("--source=memory:?colour=blue",), "colour"),
    (("--source=sample:?rate=fast",), "rate"),
    (("--source=sample:?file=/nothing/there.jsonl",), "/nothing/there.jsonl"),
    (("--source=memory:", "--source=memory:"), "destinations="),
    (("--source=memory:?destinations=/queue/message",), "/queue/unread-count"),
    (("--source=memory:?destinations=/**", "--source=memory:?destinations=/queue/*"), "/queue/message"),
    (("--destination=queue",), "queue"),
    (("--destination=/a b",), "/a b"),
    (("--auth=nobody",), "nobody"),
    (("--auth=anonymous:fly",), "public, send"),
    (("--admin=tcp:0:interface=0.0.0.0",), "admin"),
    (("--admin=tcp:0",), "admin"),
    (("--heart-beat=30000",), "heart-beat"),
    (("--heart-beat=a,b",), "heart-beat"),
    (("--heart-beat=-1,0",), "heart-beat"),
    (("--heart-beat-grace=never",), "heart-beat-grace"),
    (("--buffered=lots",), "buffered"),
    (("--buffered=-1",), "buffered"),
    (("--connect-timeout=0",), "connect-timeout"),
    (("--origin=no origin",), "origin"),
    (("--workers=0",), "workers"),
    (("--workers=many",), "workers"),
    (("--workers=2",), "memory:"),
    (("--workers=2", "--source=sample:"), "sample:"),
    (("--workers=2", "--source=redis://127.0.0.1:1/0", "--listen=unix:/nowhere/socket"), "unix:"),
    (("--workers=2", "--source=redis://127.0.0.1:1/0?password-file=/nowhere/secret"), "password-file"),
)


class Case(NamedTuple):
    """A command line that must be refused.

    :ivar names: what the line must contain
    """

    command: list[str]
    names: str


def known_parameters(url: str) -> list[str]:
    """Return the parameters that a source lists in its error for an unknown one."""
    try:
        make_source(f"{url}no-such=1", make_context())
    except ConfigurationError as error:
        return str(error).partition("known here: ")[2].split(", ")
    raise AssertionError(f"{url} accepts every parameter")


def takes_value() -> list[str]:
    """Return the options that have a value."""
    return [option.rstrip("=") for option in Options().longOpt if option.endswith("=")]


class WrongValuesTests(SynchronousTestCase):
    """The command lines of the tables above are refused."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="airyd-test-")
        self.addCleanup(directory.cleanup)
        self.folder = Path(directory.name)
        for name, content in FILES.items():
            (self.folder / name).write_bytes(content)

    def test_no_option_is_left_out(self) -> None:
        self.assertEqual(set(OPTIONS), set(takes_value()))

    def test_no_parameter_is_left_out(self) -> None:
        self.assertEqual(
            {url.partition(":")[0] for url in URLS}, {str(parser.scheme) for parser in getPlugins(IEventSourceParser)}
        )
        known = {name for url in URLS for name in known_parameters(self.filled(url))}
        self.assertEqual(set(PARAMETERS), known | {PARAMETER})

    def test_repeatable(self) -> None:
        """The help of a repeatable option says that it is."""
        for name, option in KNOWN.items():
            self.assertEqual("repeatable" in option.text, option.repeatable, name)

    def test_options(self) -> None:
        self.refuse(
            self.airyd(f"--{option}={value}", names="" if option == "auth" else f"--{option}")
            for option, values in OPTIONS.items()
            for value in values
        )

    def test_examples(self) -> None:
        self.refuse(self.airyd(*options, names=names) for options, names in EXAMPLES)

    def test_parameters(self) -> None:
        def cases() -> Iterator[Case]:
            for url in URLS:
                scheme = url.partition(":")[0]
                for name in [*known_parameters(self.filled(url)), PARAMETER]:
                    if f"{name}=" not in url:
                        for value in PARAMETERS[name]:
                            yield self.airyd(f"--source={url}{name}={value}", names=name)
                        yield self.airyd(f"--source={url}{name}=1&{name}=1", names=name)
                        yield self.airyd(f"--source={url}x{name}=1", names=f"did you mean {name}?")
                yield self.airyd(f"--source={url}no-such=1", names=f"--source {scheme}")

        self.refuse(cases())

    def test_forms(self) -> None:
        """Misspelt, without a value, given twice, unknown, in the wrong place."""

        def cases() -> Iterator[Case]:
            for name in takes_value():
                yield self.airyd(f"--{name}", names=f"--{name} needs a value")
                yield self.airyd(f"--x{name}=1", names=f"did you mean --{name}?")
                if not KNOWN[name].repeatable:
                    value = Options().defaults.get(name) or "x"
                    yield self.airyd(f"--{name}={value}", f"--{name}={value}", names=f"--{name} is given twice")
            yield self.airyd("--soucre", "memory:", names="did you mean --source?")
            yield self.airyd(f"--no-such={MARK}", names="--no-such")
            yield self.airyd("-x", names="-x")
            yield self.airyd("--help=x", names="--help takes no value")
            yield self.airyd("--dest=/x", names="--destination or --destinations-file")
            yield self.airyd("stray", names="stray")
            yield self.airyd("--pidfile=x", names="in front of the word airyd")
            yield self.airyd("-n", names="in front of the word airyd")

        self.refuse(cases())

    def test_what_twistd_opens(self) -> None:
        listen = ["airyd", "--listen=tcp:0:interface=127.0.0.1", "--admin=none"]
        self.refuse(
            Case([self.filled(each) for each in (*options, *listen)], option)
            for option in ("--pidfile", "--logfile")
            for where in ("{folder}/missing/file", "{folder}/empty/file", "{folder}")
            for options in (("-n", "--pidfile=", f"{option}={where}"), ("--pidfile=", f"{option}={where}"))
        )
        self.refuse(
            Case([self.filled(each) for each in ("-n", *options, *listen)], names)
            for options, names in (
                (("--pidfile={folder}/binary",), "--pidfile"),
                (("--pidfile=", "--rundir={folder}/missing"), "--rundir"),
            )
        )

    def airyd(self, *options: str, names: str) -> Case:
        """Return the command line with these options."""
        return Case(["-n", "--pidfile=", "airyd", *(self.filled(option) for option in options)], names)

    def filled(self, text: str) -> str:
        """Return the text with the path of the test's folder."""
        return text.replace("{folder}", str(self.folder))

    def refuse(self, cases: Iterator[Case]) -> None:
        """Run twistd with each command line; check that it refuses it with one line and status 1."""
        all_cases = list(cases)
        results = run_forked([CommandLine(case.command) for case in all_cases], self.folder)
        failures = []
        for case, (status, said) in zip(all_cases, results, strict=True):
            shown = [word[:100] for word in case.command]
            lines = said.splitlines()
            if status != 1 or len(lines) != 1 or not said.startswith("airyd: ") or len(said) > 1000:
                failures.append(f"{shown}: status {status}: {lines[:1]} ... {lines[-3:]}")
            elif case.names not in said or leaks(said):
                failures.append(f"{shown}: wanted {case.names!r}: {said}")
        self.assertEqual([], failures, "\n".join(failures))
