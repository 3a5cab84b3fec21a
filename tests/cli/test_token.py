"""Tokens on the command line: how they are made, and how they are read."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any, cast

import jwt
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.auth import make_authenticator
from airyd.auth.jwt.keys import SECRET_ALGORITHMS
from airyd.cli.main import main
from airyd.cli.options import TokenOptions, parse
from airyd.cli.parser import UsageError
from airyd.cli.token import TokenUnreadable, claim, mint, token_source
from airyd.interfaces import AuthenticatorContext, IPrincipal
from tests.auth.case import bearer, log_in

SECRET = b"a-secret-that-is-as-long-as-it-must-be"


class MintTests(SynchronousTestCase):
    """A server with the same secret accepts the token."""

    def bearer_of(self, token: str, words: str = "", now: float = 1000.0, secret: bytes = SECRET) -> IPrincipal:
        """Return the name of the principal that a server takes from the token."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(secret)
        context = AuthenticatorContext(cast(IReactorCore, Clock()), lambda: now)
        door = make_authenticator(f"jwt:secret-file={path}{words}", context)
        principal: IPrincipal = self.successResultOf(log_in(door, bearer(token)))
        return principal

    def test_minted(self) -> None:
        principal = self.bearer_of(mint(SECRET, False, "ann", 1000.5, 60, {}))
        self.assertEqual((principal.name, principal.expires), ("ann", 1060))

    def test_claims(self) -> None:
        token = mint(SECRET, False, "ann", 1000, 60, {"subscribe": ["/a"], "aud": "x", "exp": 1001})
        principal = self.bearer_of(token, ":audience=x:subject-claim=user_id")
        self.assertEqual((principal.name, principal.expires, principal.may_subscribe("/b")), ("ann", 1001, False))

    def test_claim(self) -> None:
        for text, expected in (
            ("a=1", ("a", 1)),
            ('a=["/queue/*"]', ("a", ["/queue/*"])),
            ("iss=https://idp.example/?x=y", ("iss", "https://idp.example/?x=y")),
            ("a=", ("a", "")),
        ):
            self.assertEqual(claim(text), expected)
        for text in ("a", "on/off", "5 apples", "[broken", '{"x":', '"'):
            if text.startswith(("[", "{", '"')):
                self.assertIn("subscribe", str(self.assertRaises(ValueError, claim, f"subscribe={text}")))
            else:
                self.assertEqual(claim(f"subscribe={text}"), ("subscribe", text))
        for wrong in ("", "a", "=1", "a=[NaN]", 'a={"x":1', f"a={'[' * 5000}"):
            self.assertRaises(ValueError, claim, wrong)

    def test_what_no_server_takes(self) -> None:
        """It is refused with the reason."""
        for more, said in (
            ({"subscribe": "/queue/*"}, "'subscribe'"),
            ({"send": [1]}, "'send'"),
            ({"subscribe": ["queue"]}, "'subscribe'"),
            ({"only": ["a"]}, "'only'"),
            ({"exp": "tomorrow"}, "exp"),
            ({"nbf": True}, "nbf"),
            ({"jti": 7}, "'jti'"),
            ({"sub": ""}, "'sub'"),
            ({"iss": 5}, "'iss'"),
            ({"x": float("inf")}, "JSON"),
            ({"x": "x" * 100_000}, "131072"),
        ):
            self.assertIn(said, str(self.assertRaises(ValueError, mint, SECRET, False, "ann", 1000, 60, more)))
        self.assertRaises(ValueError, mint, SECRET, False, "ann\n", 1000, 60, {})

    def test_several_secrets(self) -> None:
        """The first one signs."""
        both = b"another-secret-which-is-as-long-as-it-must-be\r\n" + SECRET
        self.assertRaises(AssertionError, self.bearer_of, mint(both, False, "ann", 1000, 60, {}))
        self.bearer_of(mint(SECRET + b"\n" + both, False, "ann", 1000, 60, {}))

    def test_algorithms(self) -> None:
        long = SECRET * 2
        for algorithm in SECRET_ALGORITHMS:
            token = mint(long, False, "ann", 1000, 60, {}, algorithm)
            self.assertEqual(self.bearer_of(token, f":alg={algorithm}", secret=long).name, "ann")
        self.assertRaises(ValueError, mint, SECRET, False, "ann", 1000, 60, {}, "HS512")


class CommandTests(SynchronousTestCase):
    """``airyd token``."""

    def run_main(self, *arguments: str) -> tuple[object, str, str]:
        """Return the exit status, and what was written."""
        out, err = io.BytesIO(), io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(out, write_through=True))
        self.patch(sys, "stderr", io.TextIOWrapper(err, write_through=True))
        status = self.assertRaises(SystemExit, main, ["token", *arguments]).code
        return status, out.getvalue().decode(), err.getvalue().decode()

    def file(self, content: bytes) -> str:
        """Return the path of a new file."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_printed(self) -> None:
        status, out, err = self.run_main("--secret-file", self.file(SECRET + b"\n"), "ann", "--claim", "send=[]")
        self.assertEqual((status, err, out.count(".")), (0, "", 2))

    def test_large(self) -> None:
        """A list of thousands of values makes a token that few servers accept; the command says which."""
        only = json.dumps({"channel_id": [f"{number:036}" for number in range(2000)]})
        secret = self.file(SECRET)
        status, out, err = self.run_main("--secret-file", secret, "ann", "--claim", f"only={only}")
        self.assertEqual((status, len(err.splitlines())), (0, 1))
        size = len(out.strip())
        self.assertGreater(size, 100_000)
        self.assertIn(f"only a server with --token-size {size} or more accepts this token", err)
        status, out, err = self.run_main("--secret-file", secret, "ann", "--claim", f"x={'x' * 100_000}")
        self.assertEqual((status, out, len(err.splitlines())), (1, "", 1))
        self.assertIn("the limit is 131072", err)

    def test_wrong_claims_are_not_printed_whole(self) -> None:
        channels = json.dumps([f"{number:036}" for number in range(2000)])
        for text in (channels, f"{channels}=", f"only={channels}", f"only={channels[:-1]}", f"{channels}=["):
            _, out, err = self.run_main("--secret-file", self.file(SECRET), "ann", "--claim", text)
            self.assertEqual((out if len(out) < 1000 else "", len(err.splitlines())), ("", 1))
            self.assertLess(len(err), 1000)

    def test_wrong_secret(self) -> None:
        for content, said in ((b"hunter2", "32"), (b"-----BEGIN PUBLIC KEY-----hunter2hunter2", "PEM")):
            status, out, err = self.run_main("--secret-file", self.file(content), "ann")
            self.assertEqual((status, out), (1, ""))
            self.assertIn(said, err)
            self.assertNotIn("hunter2", err)
        self.assertIn("there is no such file", self.run_main("--secret-file=/no/such", "ann")[2])
        self.assertIn("this is a folder", self.run_main("--secret-file=/", "ann")[2])
        self.assertIn("AIRYD_NO: the environment variable is not set", self.run_main("--secret-env=AIRYD_NO", "ann")[2])

    def test_secret_of_the_environment(self) -> None:
        """It is read as the server reads it: a line end doesn't count."""
        self.patch(os, "environ", {**os.environ, "S": f"{SECRET.decode()}\r\n"})
        status, out, _ = self.run_main("--secret-env=S", "ann")
        self.assertEqual(status, 0)
        jwt.decode(out.strip(), SECRET, ["HS256"])

    def test_wrong_claims(self) -> None:
        """Only the reason is printed; the status is 2 for wrong usage, 1 for a token that no server accepts."""
        secret = self.file(SECRET)
        for text, expected in (("subscribe=[broken", 2), ("subscribe", 2), ("subscribe=/queue/*", 1), ("iss=5", 1)):
            status, out, err = self.run_main("--secret-file", secret, "--claim", text, "ann")
            self.assertEqual((status, out, len(err.splitlines())), (expected, "", 1), text)
            self.assertIn(text.partition("=")[0] if "=" in text else "NAME=VALUE", err)

    def test_usage(self) -> None:
        def parsed(*arguments: str) -> TokenOptions:
            options = parse(["token", *arguments])
            assert isinstance(options, TokenOptions)
            return options

        options = parsed("--secret-env=S", "--base64", "--for=5", "ann", "--claim", "a=1")
        found: tuple[Any, ...] = (
            options.subject,
            options.secret_env,
            options.base64,
            options.lifetime,
            options.claims,
        )
        self.assertEqual(found, ("ann", "S", True, 5, {"a": 1}))
        self.assertEqual(parsed("--secret-env=S", "--", "-ann").subject, "-ann")
        for wrong in (
            ["ann"],
            ["--secret-env=S"],
            ["--secret-env=S", "--secret-file=F", "ann"],
            ["--secret-env=S", "ann", "bea"],
            ["--secret-env=S", "--for=-1", "ann"],
            ["--secret-env=S", "--for", "-5", "ann"],
            ["--secret-env=S", f"--for={'9' * 5000}", "ann"],
            ["--secret-env=S", "--alg=RS256", "ann"],
            ["--secret-env=S", "--alg=none", "ann"],
            ["--secret-env=S", "--claim=x", "ann"],
        ):
            self.assertNotIn("\n", str(self.assertRaises(UsageError, parsed, *wrong)))


class SourceTests(SynchronousTestCase):
    """Where the token of ``tail`` and ``publish`` comes from."""

    def test_environment(self) -> None:
        self.assertIsNone(token_source(None, "T", {})())
        self.assertIsNone(token_source(None, "T", {"T": " "})())
        self.assertEqual(token_source(None, "T", {"T": "t\n"})(), "t")

    def test_file(self) -> None:
        """It is read again each time, so that a renewed token is used."""
        path = Path(self.mktemp())
        path.write_text("one\n")
        token = token_source(str(path), "T", {"T": "other"})
        self.assertEqual(token(), "one")
        path.write_text("two")
        self.assertEqual(token(), "two")

    def test_large(self) -> None:
        """The largest token that a server may accept is read; a file that can't be a token is not."""
        path = Path(self.mktemp())
        token = token_source(str(path), "T", {})
        path.write_text("t" * 131_072 + "\r\n")
        self.assertEqual(len(token() or ""), 131_072)
        path.write_text("t" * 140_000)
        self.assertIn("more than", str(self.assertRaises(TokenUnreadable, token)))

    def test_wrong(self) -> None:
        path = Path(self.mktemp())
        token = token_source(str(path), "T", {})
        self.assertIn(f"--token-file {path}: there is no such file", str(self.assertRaises(TokenUnreadable, token)))
        for content in (b"", b"\n", b"hunter2 hunter2", b"hunter2\nhunter2", b"hunter2\xff"):
            path.write_bytes(content)
            self.assertNotIn("hunter2", str(self.assertRaises(TokenUnreadable, token)))
