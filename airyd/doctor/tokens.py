"""Checks of the authenticators: their keys can be read, and a JWK Set can be fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from airyd.auth import make_authenticator
from airyd.auth.jwt.fetch import PATIENCE
from airyd.auth.jwt.jwks import NOT_FETCHED
from airyd.doctor.findings import DoctorReport
from airyd.errors import ConfigurationError
from airyd.interfaces import AuthenticatorContext, IAuthenticator

_CHECK_EVERY: Final = 0.02


async def check_authenticators(
    specs: Sequence[str],
    context: AuthenticatorContext,
    report: DoctorReport,
    located: Callable[[ConfigurationError], ConfigurationError],
) -> bool:
    """Check each ``--auth``; return whether any of them takes tokens that can be revoked.

    :param located: adds the place to an error about an option
    """
    has_tokens = False
    for number, spec in enumerate(specs, 1):
        name = spec.partition(":")[0]
        subject = f"--auth {name}" if len(specs) == 1 else f"--auth {name} ({number})"
        try:
            authenticator = make_authenticator(spec, context)
        except ConfigurationError as error:
            has_tokens = has_tokens or name == "jwt"
            text = str(located(error)).removeprefix(f"--auth {name}: ")
            report.fail("token-keys", subject, text, "correct it; twistd airyd --help-auth describes the words")
            continue
        has_tokens = has_tokens or authenticator.revocable
        reasons = await _reasons(authenticator, IReactorTime(context.reactor))
        if reasons:
            report.fail(
                "token-keys",
                subject,
                "; ".join(reasons),
                "until there are keys, nobody can log in with a token: correct the file or URL, or repair its server",
            )
        elif authenticator.revocable:
            report.ok("token-keys", subject, "its keys can be used")
        else:
            report.ok("token-keys", subject, "needs no keys")
    return has_tokens


async def _reasons(authenticator: IAuthenticator, clock: IReactorTime) -> Sequence[str]:
    """Return why nobody can log in, after the first attempt to fetch the keys."""
    authenticator.start()
    waited = 0.0
    try:
        while waited < PATIENCE and any(each.endswith(NOT_FETCHED) for each in authenticator.health()):
            await deferLater(clock, _CHECK_EVERY)
            waited += _CHECK_EVERY
        return list(authenticator.health())
    finally:
        authenticator.stop()
