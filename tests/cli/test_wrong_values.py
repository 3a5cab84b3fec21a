"""Every option and argument of every ``airyd`` command with wrong values: one line that says what to change."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.cli import main as command
from airyd.cli.main import main
from airyd.cli.options import COMMANDS, top_parser
from airyd.events import MESSAGE
from tests.cli.fakes import Screen
from tests.leaks import MARK, leaks

#: Values that are not whole numbers from 1 on, or are too large.
NUMBERS: Final = ("", "abc", "0", "-5", "1.5", "nan", "inf", "1e3", "٣", "9" * 30, "9" * 5000)
#: Files that can't be read; the test makes those that must exist.
FILES: Final = ("", "/nonexistent/file", "/", "x" * 300, "empty", "binary", "/dev/zero")
#: A file that holds no token.
TOKEN_FILES: Final = (*FILES, "two-lines", f"eyJ{MARK}")
FLAG: Final = ("3",)
#: No names of users, ids or addresses, and no destinations.
NAMES: Final = ("", "a\nb", "x" * 301, "\x1b[2J")
DESTINATION_NAMES: Final = ("", "queue", "/", "/a b", "/queue/*", "/" + "x" * 300)

#: What makes each command complete; the wrong value comes in addition.
COMPLETE: Final[Mapping[str, Sequence[str]]] = {
    "": (),
    "tail": (),
    "publish": (MESSAGE, "{}"),
    "top": (),
    "connections": (),
    "kick": ("c-1",),
    "trace": ("c-1",),
    "explain": ("e-1", "c-1"),
    "drain": ("on",),
    "health": (),
    "token": ("--secret-file=secret", "ann"),
    "revoke": ("--jti=j",),
    "doctor": (),
    "config": (),
    "completion": ("bash",),
    "openapi": (),
    "asyncapi": (),
}
#: Wrong values of each option, and what must stand beside it. A new option is entered here.
WRONG: Final[Mapping[tuple[str, str], tuple[Sequence[str], Sequence[str]]]] = {
    ("", "help"): (FLAG, ()),
    ("", "version"): (FLAG, ()),
    ("tail", "help"): (FLAG, ()),
    ("tail", "version"): (FLAG, ()),
    ("tail", "count"): (NUMBERS, ()),
    ("tail", "token-file"): (TOKEN_FILES, ()),
    ("tail", "ca-file"): (FILES, ("wss://127.0.0.1:1",)),
    ("publish", "help"): (FLAG, ()),
    ("publish", "version"): (FLAG, ()),
    ("publish", "token-file"): (TOKEN_FILES, COMPLETE["publish"]),
    ("publish", "ca-file"): (FILES, ("https://127.0.0.1:1", *COMPLETE["publish"])),
    ("top", "help"): (FLAG, ()),
    ("top", "version"): (FLAG, ()),
    ("top", "admin"): (("", "h:8081", "ws://h", "http://h?x=1", "http://h:0", f"http://u:{MARK}@h"), ()),
    ("top", "token-file"): (TOKEN_FILES, ()),
    ("top", "ca-file"): (FILES, ("--admin=https://127.0.0.1:1",)),
    ("connections", "help"): (FLAG, ()),
    ("connections", "version"): (FLAG, ()),
    ("connections", "admin"): (("", "h:8081", "ws://h", "http://h?x=1", "http://h:0", f"http://u:{MARK}@h"), ()),
    ("connections", "token-file"): (TOKEN_FILES, ()),
    ("connections", "ca-file"): (FILES, ("--admin=https://127.0.0.1:1",)),
    ("kick", "help"): (FLAG, ()),
    ("kick", "version"): (FLAG, ()),
    ("kick", "admin"): (("", "h:8081", "ws://h", "http://h?x=1", "http://h:0", f"http://u:{MARK}@h"), COMPLETE["kick"]),
    ("kick", "token-file"): (TOKEN_FILES, COMPLETE["kick"]),
    ("kick", "ca-file"): (FILES, ("--admin=https://127.0.0.1:1", *COMPLETE["kick"])),
    ("trace", "help"): (FLAG, ()),
    ("trace", "version"): (FLAG, ()),
    ("trace", "admin"): (
        ("", "h:8081", "ws://h", "http://h?x=1", "http://h:0", f"http://u:{MARK}@h"),
        COMPLETE["trace"],
    ),
    ("trace", "token-file"): (TOKEN_FILES, COMPLETE["trace"]),
    ("trace", "ca-file"): (FILES, ("--admin=https://127.0.0.1:1", *COMPLETE["trace"])),
    ("explain", "help"): (FLAG, ()),
    ("explain", "version"): (FLAG, ()),
    ("explain", "admin"): (
        ("", "h:8081", "ws://h", "http://h?x=1", "http://h:0", f"http://u:{MARK}@h"),
        COMPLETE["explain"],
    ),
    ("explain", "token-file"): (TOKEN_FILES, COMPLETE["explain"]),
    ("explain", "ca-file"): (FILES, ("--admin=https://127.0.0.1:1", *COMPLETE["explain"])),
    ("drain", "help"): (FLAG, ()),
    ("drain", "version"): (FLAG, ()),
    ("drain", "admin"): (
        ("", "h:8081", "ws://h", "http://h?x=1", "http://h:0", f"http://u:{MARK}@h"),
        COMPLETE["drain"],
    ),
    ("drain", "token-file"): (TOKEN_FILES, COMPLETE["drain"]),
    ("drain", "ca-file"): (FILES, ("--admin=https://127.0.0.1:1", *COMPLETE["drain"])),
    ("health", "help"): (FLAG, ()),
    ("health", "version"): (FLAG, ()),
    ("health", "live"): (FLAG, ()),
    ("health", "ca-file"): (FILES, ("https://127.0.0.1:1",)),
    ("top", "interval"): (NUMBERS, ()),
    ("top", "count"): (NUMBERS, ()),
    ("connections", "subject"): (NAMES, ()),
    ("connections", "address"): (NAMES, ()),
    ("connections", "destination"): (DESTINATION_NAMES, ()),
    ("connections", "state"): (("", "alive", "SLOW", "\x1b[2J"), ()),
    ("connections", "sort"): (("", "aeg", "AGE", "\x1b[2J"), ()),
    ("connections", "limit"): (NUMBERS, ()),
    ("kick", "subject"): (NAMES, ()),
    ("kick", "reason"): (("a\nb", "x" * 201, "\x1b[2J"), COMPLETE["kick"]),
    ("trace", "subject"): (NAMES, ()),
    ("trace", "destination"): (DESTINATION_NAMES, ()),
    ("trace", "seconds"): ((*NUMBERS, "601"), COMPLETE["trace"]),
    ("trace", "bodies"): (FLAG, COMPLETE["trace"]),
    ("trace", "filter"): (("", "name", ":value", "a:\n", "x" * 1001), ("--destination=/queue/message",)),
    ("explain", "destination"): (DESTINATION_NAMES, COMPLETE["explain"]),
    ("token", "help"): (FLAG, ()),
    ("token", "version"): (FLAG, ()),
    ("token", "secret-file"): (("/nonexistent/file", "/", "empty"), ("ann",)),
    ("token", "secret-env"): (("", "AIRYD_TEST_NONE"), ("ann",)),
    ("token", "base64"): ((*FLAG, MARK), COMPLETE["token"]),
    ("token", "for"): (("", "abc", "-5", "1.5", "nan", "inf", "1e3", "9" * 5000), COMPLETE["token"]),
    ("token", "claim"): (("", "name", "=value", "subscribe=[broken"), COMPLETE["token"]),
    ("token", "alg"): (("", "HS257", "RS256", "none", "hs256"), COMPLETE["token"]),
    ("revoke", "help"): (FLAG, ()),
    ("revoke", "version"): (FLAG, ()),
    ("revoke", "jti"): (("", "a\nb", "x" * 256, "\x1b[2J"), ()),
    ("revoke", "subject"): (("", "a\nb", "x" * 256, "\x1b[2J"), ()),
    ("revoke", "token-file"): (TOKEN_FILES, COMPLETE["revoke"]),
    ("revoke", "ca-file"): (FILES, ("https://127.0.0.1:1", *COMPLETE["revoke"])),
    ("revoke", "source"): (
        (
            "",
            "redis",
            "memory:",
            "sample:",
            "redsi://h",
            "redis://h:abc",
            "redis://h?x=1",
            "redis://h?maxlen=abc",
            "redis://h?mode=",
            f"redis://u:{MARK}@h:0x",
            f"redis://u:{MARK}@h/x",
            "redis://h?password-file=/nonexistent/file",
            "rediss://h?ca-file=/nonexistent/file",
        ),
        COMPLETE["revoke"],
    ),
    ("config", "help"): (FLAG, ()),
    ("config", "version"): (FLAG, ()),
    ("completion", "help"): (FLAG, ()),
    ("completion", "version"): (FLAG, ()),
    ("revoke", "token-max-age"): (NUMBERS, ("--source=redis://127.0.0.1:1", *COMPLETE["revoke"])),
    ("openapi", "help"): (FLAG, ()),
    ("openapi", "version"): (FLAG, ()),
    ("asyncapi", "help"): (FLAG, ()),
    ("asyncapi", "version"): (FLAG, ()),
    ("doctor", "help"): (FLAG, ()),
    ("doctor", "version"): (FLAG, ()),
    ("doctor", "json"): (FLAG, ()),
    ("doctor", "write"): (FLAG, ()),
}
_URLS: Final = (
    "{}://",
    "{}://h:0",
    "{}://h:99999",
    "{}://h:abc",
    "{}://h:-5",
    "{}://[::1",
    "{}://h/#fragment",
    "{}://h/a b",
    "{}://h/\x1b",
    "{}://häuser",
    "{}://h..h",
    "{}://" + "h" * 64,
    "{}://u:" + MARK + "@h",
    "{}://u:" + MARK + "@h:abc",
    "{}://u:" + MARK + "@h/#x",
)
_OTHER_URLS: Final = ("h:8080", "h", "ftp://h", f"ftp://u:{MARK}@h", "redis://h", "")
#: Wrong arguments of each command, all of them.
ARGUMENTS: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    "": [[], ["tial"], [""], ["--soucre"], ["-x"], ["Tail"], ["\x1b[2J"], ["x" * 5000]],
    "tail": [
        *([url.format(scheme)] for url in _URLS for scheme in ("ws", "wss")),
        *([url] for url in (*_OTHER_URLS, "http://h:8081", "https://h")),
        *([name] for name in ("/", "/a b", "/ä", "/" + "x" * 300, "/a/**/b", "/a*", "/**x", f"/{'*/' * 200}*")),
        [MESSAGE, "ws://h"],
        ["--ca-file=x", "ws://h"],
        ["--ca-file=x"],
        ["--cuont=3"],
        ["--token"],
        ["-x"],
        ["-n"],
    ],
    "publish": [
        [],
        *([url.format(scheme), MESSAGE, "{}"] for url in _URLS for scheme in ("http", "https")),
        *([url, MESSAGE, "{}"] for url in (*_OTHER_URLS, "ws://h:8081", "wss://h", "http://h?x=1")),
        *([name, "{}"] for name in ("/", "/a b", "/ä", "/queue/**", "/" + "x" * 300)),
        [MESSAGE, "{}", "{}"],
        ["--ca-file=x", MESSAGE, "{}"],
        ["--token-fiel=x", MESSAGE, "{}"],
    ],
    "token": [
        [],
        ["ann"],
        ["--secret-file=secret"],
        ["--secret-file=secret", "ann", "bea"],
        ["--secert-file=x", "ann"],
    ],
    "config": [
        [],
        ["chekc", "file"],
        ["check"],
        ["check", ""],
        ["check", "a", "b"],
        ["--", "show"],
        ["--no-such"],
    ],
    "doctor": [
        ["redis://h"],
        ["--soucre=redis://h"],
        ["--json", "--listen=tcp:0", "--workers=x"],
        ["--config=/nonexistent/file"],
        ["--destinations-file=/nonexistent/file"],
    ],
    "openapi": [["http://h"], ["--json"]],
    "asyncapi": [
        ["http://h"],
        ["--destinaton=/a"],
        ["--destination=x"],
        ["--listen=tpc:8080"],
        ["--config=/nonexistent/file"],
    ],
    "top": [["http://h"], ["-i"], ["--ca-file=x"], ["--admni=http://h"]],
    "connections": [["a", "b"], ["a", "--subject=b"], ["a", "--sort=lag"], ["a", "--limit=1"], ["--ca-file=x"], [""]],
    "kick": [[], ["a", "b"], ["a", "--subject=b"], ["--subject=a", "--ca-file=x"], [""], ["\x1b[2J"]],
    "trace": [[], ["a", "b"], ["a", "--subject=b"], ["--subject=a", "--destination=/b"], ["a", "--filter=b:c"], [""]],
    "explain": [[], ["a"], ["a", "b", "c"], ["", "b"], ["a", "\n"]],
    "health": [
        *([url.format(scheme)] for url in _URLS for scheme in ("http", "https")),
        *([url] for url in (*_OTHER_URLS, "ws://h:8081", "wss://h", "http://h?x=1")),
        *([url] for url in ("unix:", "unix:admin.sock", "unix:/\x1b[2J", "unix://h/admin.sock\n")),
        ["http://h", "http://i"],
        ["--ca-file=x"],
        ["--ca-file=x", "unix:/x"],
        ["--dead"],
    ],
    "drain": [[], ["yes"], ["on", "off"], ["ON"]],
    "completion": [[], ["fish"], ["bash", "zsh"], ["--no-such"]],
    "revoke": [
        [],
        *(["--jti=j", url.format(scheme)] for url in _URLS for scheme in ("http", "https")),
        *(["--jti=j", url] for url in (*_OTHER_URLS, "ws://h:8081", "wss://h", "http://h?x=1")),
        ["--jti=j", "http://h", "--source=redis://h"],
        ["--jti=j", "--ca-file=x"],
        ["--jti=j", "--ca-file=x", "--source=redis://h"],
        ["--jti=j", "--token-max-age=5"],
        ["--jti=j", "--subject=s"],
        ["--jit=j"],
        [f"--token={MARK}"],
    ],
}


def all_options() -> dict[tuple[str, str], bool]:
    """Return every option of every command, by the commands' own tables, and whether it takes a value.

    ``airyd serve`` has the daemon's options, which tests/integration/test_wrong_values.py has.
    """
    commands = {name: options.parser(name) for name, options in COMMANDS.items() if name != "serve"}
    parsers = {"": top_parser(), **commands}
    return {
        (name, option.removeprefix("--")): action.nargs is None
        for name, parser in parsers.items()
        for action in parser.added
        for option in action.option_strings
        if option.startswith("--")
    }


class WrongValueTests(SynchronousTestCase):
    """Wrong values are reported before anything is connected to."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        for name, content in [
            ("empty", b""),
            ("binary", bytes(range(256))),
            ("two-lines", f"{MARK}\n{MARK}\n".encode()),
            ("secret", b"a secret that is as long as it must be"),
        ]:
            (directory / name).write_bytes(content)
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(directory)

    def run_main(self, *arguments: str) -> tuple[object, str, str]:
        """Run ``airyd`` on a reactor that connects to nothing; return the exit status and what was written."""
        screens: list[Screen] = []

        def console(name: str) -> object:
            screens.append(Screen(name))
            return screens[-1].console

        def react(run: Any, argv: Sequence[Any]) -> NoReturn:
            result = run(MemoryReactorClock(), *argv)
            raise self.failureResultOf(result, SystemExit).value

        self.patch(task, "react", react)
        self.patch(command, "interruptible_by_reactor", lambda reactor, work: Deferred.fromCoroutine(work))
        self.patch(command, "_console", console)
        out, err = Screen(), Screen()
        self.patch(sys, "stdout", _Text(out))
        self.patch(sys, "stderr", _Text(err))
        status = self.assertRaises(SystemExit, main, arguments).code
        said = "".join(screen.err.text for screen in screens)
        return status, out.out.text + "".join(screen.out.text for screen in screens), err.out.text + said

    def check(self, name: str, *arguments: str, statuses: Sequence[int] = (1, 2)) -> str:
        """Run a command that must fail; return the one line that it says."""
        given = [name, *arguments] if name else arguments
        try:
            status, out, err = self.run_main(*given)
        except BaseException as error:
            raise AssertionError(f"airyd {given}: {Failure().getTraceback()}") from error
        self.assertIn(status, statuses, (given, err))
        self.assertEqual(out, "", given)
        program = f"airyd {name}" if name else "airyd"
        self.assertRegex(err, rf"\A{program}: [^\n]{{10,}}\n\Z", given)
        self.assertTrue(err[:-1].isprintable(), err)
        self.assertLess(len(err), 1000, given)
        self.assertEqual(leaks(err), [], given)
        for noise in ("Traceback", "Error:", "Exception", "invalid literal", "None"):
            self.assertNotIn(noise, err)
        if status == 2:
            self.assertTrue(err.endswith(f"(see {program} --help)\n"), err)
        return err

    def test_every_option_is_here(self) -> None:
        self.assertEqual(set(all_options()), set(WRONG))

    def test_options(self) -> None:
        """The line names the option, or the file that is wrong."""
        for (name, option), (values, beside) in WRONG.items():
            for value in values:
                said = self.check(name, f"--{option}={value}", *beside)
                self.assertTrue(f"--{option}" in said or (value and value in said) or "secret" in said, said)

    def test_without_a_value(self) -> None:
        for (name, option), takes_value in all_options().items():
            if takes_value:
                self.assertIn(f"--{option}", self.check(name, *COMPLETE[name], f"--{option}", statuses=(2,)))

    def test_value_as_its_own_word(self) -> None:
        """``--count -5``: a value that looks like an option."""
        self.assertIn("'-5'", self.check("tail", "--count", "-5", statuses=(2,)))
        self.assertIn("'-5'", self.check("tail", "-n", "-5", statuses=(2,)))
        self.assertIn("'-5'", self.check("token", "--for", "-5", *COMPLETE["token"], statuses=(2,)))

    def test_arguments(self) -> None:
        for name, wrong in ARGUMENTS.items():
            for arguments in wrong:
                self.check(name, *arguments, statuses=(2,))

    def test_did_you_mean(self) -> None:
        for arguments, meant in [
            (["tial"], "tail"),
            (["publsih", MESSAGE], "publish"),
            (["tail", "--cuont=3"], "--count"),
            (["revoke", "--subjet=x"], "--subject"),
            (["config", "chekc", "x"], "check"),
            (["publish", "--token_file=x", MESSAGE], "--token-file"),
            (["tail", "http://h:8080/x"], "ws://h:8080/x"),
            (["connections", "--sort=buffer"], "buffered"),
            (["connections", "--state=alive"], "live"),
            (["tail", f"https://u:{MARK}@h"], "wss://h"),
        ]:
            name = arguments[0] if arguments[0] in COMPLETE else ""
            said = self.check(name, *arguments[bool(name) :], statuses=(2,))
            self.assertIn(f"did you mean {meant}?", said)

    def test_environment(self) -> None:
        """A token with line ends or spaces, which could break out of its header, is refused."""
        for variable, name in (
            ("AIRYD_TOKEN", "tail"),
            ("AIRYD_ADMIN_TOKEN", "publish"),
            ("AIRYD_ADMIN_TOKEN", "revoke"),
            ("AIRYD_ADMIN_TOKEN", "top"),
        ):
            for value in (f"{MARK}\nx:y", f"{MARK} {MARK}", f"{MARK}ä"):
                os.environ[variable] = value
                self.addCleanup(os.environ.pop, variable, None)
                self.assertIn(variable, self.check(name, *COMPLETE[name], statuses=(1,)))
                del os.environ[variable]


class _Text:
    """A standard stream of text that ends up in a screen."""

    def __init__(self, screen: Screen) -> None:
        self.buffer = screen.out

    def write(self, text: str) -> None:
        self.buffer.write(text.encode())
