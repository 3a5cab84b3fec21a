"""Wrong values for each word of ``--auth``: airyd ends with status 1 and one line that names the word."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.interfaces import IAuthenticatorParser
from tests.auth.case import authenticator
from tests.integration.forking import CommandLine, run_forked
from tests.leaks import MARK, leaks

#: The files and environment variables in the wrong values.
FILES: Final = {"empty": "", "short": MARK, "text": f"{MARK} is not a key, but it is as long as one must be"}
VARIABLES: Final = {"AIRYD_TEST_EMPTY": "", "AIRYD_TEST_SECRET": MARK * 10}
_GOOD: Final = "jwt:secret-env=AIRYD_TEST_SECRET"
#: By authenticator and word: ``(spec, what the line must contain)``; ``FILE/`` is the folder of :data:`FILES`.
WRONG: Final[dict[str, dict[str, tuple[tuple[str, str], ...]]]] = {
    "anonymous": {
        "public": (("anonymous:public=1", "'public'"), ("anonymous:pubic", "did you mean public?")),
        "send": (("anonymous:sendd", "did you mean send?"), ("anonymous:send:send", "'send' is given twice")),
    },
    "jwt": {
        "secret-file=": (
            ("jwt:secret-file=FILE/nowhere", "FILE/nowhere: there is no such file"),
            ("jwt:secret-file=FILE/empty", "FILE/empty: there is no secret"),
            ("jwt:secret-file=FILE/short", "FILE/short: the secret has 7 bytes"),
            ("jwt:secret-file=", "needs a value: secret-file="),
        ),
        "secret-env=": (
            ("jwt:secret-env=NOPE_NOWHERE", "NOPE_NOWHERE: the environment variable is not set"),
            ("jwt:secret-env=AIRYD_TEST_EMPTY", "AIRYD_TEST_EMPTY: there is no secret"),
            (f"jwt:secret-env={MARK}+{MARK}", "the name of an environment variable"),
        ),
        "key-file=": (
            ("jwt:key-file=FILE/nowhere", "FILE/nowhere: there is no such file"),
            ("jwt:key-file=FILE/", "this is a folder"),
            ("jwt:key-file=FILE/text", "no public key in PEM"),
        ),
        "jwks=": (
            (f"jwt:jwks=https://my..idp/keys?{MARK}", "my..idp is not a host name"),
            (f"jwt:jwks=https://idp:123456/{MARK}", "jwks is a file, or a URL"),
            ("jwt:jwks=http://idp.example/keys", "use https:"),
        ),
        "base64": (("jwt:secret-file=FILE/text:base64", "is not base64"), (f"{_GOOD}:base65", "did you mean base64?")),
        "alg=": ((f"{_GOOD}:alg=RS256", "alg=RS256"), (f"{_GOOD}:alg=none", "HS256, HS384, HS512")),
        "ca-file=": (
            (
                f"jwt:jwks=https://idp.example/{MARK}:ca-file=FILE/nowhere",
                "ca-file FILE/nowhere: there is no such file",
            ),
            ("jwt:jwks=https://idp.example/:ca-file=FILE/text", "ca-file FILE/text: the file has no certificate"),
            (f"{_GOOD}:ca-file=FILE/text", "ca-file is for a jwks"),
        ),
        "issuer=": ((f"{_GOOD}:issuer=", "needs a value: issuer="), (f"{_GOOD}:isuer=x", "did you mean issuer?")),
        "audience=": ((f"{_GOOD}:audience", "needs a value: audience="),),
        "leeway=": ((f"{_GOOD}:leeway=soon", "'leeway' must be"), (f"{_GOOD}:leeway=1e9", "from 0 to 600")),
        "subject-claim=": ((f"{_GOOD}:subject-claim=", "needs a value: subject-claim="),),
        "allow-eternal": ((f"{_GOOD}:allow-eternal=yes", "'allow-eternal' takes no value"),),
        "subscribe-claim=": ((f"{_GOOD}:subscribe-claim=", "needs a value: subscribe-claim="),),
        "send-claim=": ((f"{_GOOD}:send-claim", "needs a value: send-claim="),),
        "only-claim=": ((f"{_GOOD}:only-claim=a:only-claim=b", "'only-claim' is given twice"),),
        "missing-claim=": ((f"{_GOOD}:missing-claims=x", "did you mean missing-claim?"),),
        "cookie=": ((f"{_GOOD}:cookie=two words", "'cookie' takes the name of a cookie"),),
    },
}
#: Wrong specs where the fault is not in a known word.
OTHERS: Final = (
    ("jwtt:secret-env=AIRYD_TEST_SECRET", "did you mean jwt?"),
    ("nobody", "There are: anonymous, jwt"),
    ("", "There are: anonymous, jwt"),
    ("jwt", "give one of secret-file="),
    (f"{_GOOD}:", "parameter 2 is empty"),
    (f"{_GOOD}:{MARK}", "parameter 2 is unknown"),
    (f"jwt:jwks=https://ann:{MARK}@idp.example/keys", "parameter 2 is unknown"),
)


def words_of(name: str) -> set[str]:
    """Return the words that an authenticator lists in its error for an unknown word."""
    try:
        authenticator(f"{name}:no-such-word-anywhere=1")
    except ConfigurationError as error:
        return set(str(error).partition("known here: ")[2].split(", "))
    raise AssertionError(f"{name} accepts every word")


class AuthWordsTests(SynchronousTestCase):
    """The specs in the tables above are refused."""

    def setUp(self) -> None:
        """Write the files."""
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        for name, content in FILES.items():
            (self.directory / name).write_text(content)

    def filled(self, text: str) -> str:
        """Replace ``FILE/`` by the folder's path."""
        return text.replace("FILE/", f"{self.directory}/")

    def test_no_word_is_forgotten(self) -> None:
        known = {str(parser.name): words_of(str(parser.name)) for parser in getPlugins(IAuthenticatorParser)}
        self.assertEqual(known, {name: set(words) for name, words in WRONG.items()})

    def test_each(self) -> None:
        """Each spec, with the authenticator alone."""
        for spec, hint in (*(case for words in WRONG.values() for found in words.values() for case in found), *OTHERS):
            error = self.assertRaises(ConfigurationError, authenticator, self.filled(spec), **VARIABLES)
            self.assertIn(self.filled(hint), str(error), spec)
            self.assertEqual((len(str(error).splitlines()), leaks(str(error))), (1, []), spec)

    def test_the_program_ends(self) -> None:
        """The first spec of each word, and the first of the others, with the real ``twistd``."""
        cases = [found[0] for words in WRONG.values() for found in words.values()] + [OTHERS[0]]
        ports = ("--listen=tcp:0:interface=127.0.0.1", "--admin=tcp:0:interface=127.0.0.1")
        results = run_forked(
            [
                CommandLine(("-n", "--pidfile=", "airyd", *ports, f"--auth={self.filled(spec)}"), environ=VARIABLES)
                for spec, _ in cases
            ],
            self.directory,
        )
        failures = []
        for (spec, hint), (status, said) in zip(cases, results, strict=True):
            lines = said.splitlines()
            as_wanted = len(lines) == 1 and lines[0].startswith("airyd: ") and self.filled(hint) in lines[0]
            if status != 1 or not as_wanted or leaks(said):
                failures.append(f"{spec}: status {status}, wanted one line with {hint!r}: {lines[-3:]}")
        self.assertEqual([], failures, "\n".join(failures))
