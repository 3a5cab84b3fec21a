"""Reads and checks the claims of a token: iss, aud, exp, nbf, iat, sub and jti (RFC 7519, section 4.1)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from airyd.errors import LoginFault, LoginRefused
from airyd.revocation import LONGEST_NAME, is_name

Claims = Mapping[str, Any]

#: Ten years in seconds. No issuer intends a time so far ahead, but a time in milliseconds reads as one.
_FAR_AHEAD: Final = 3652.5 * 86_400
#: The maximum number of digits in an integer; Python itself refuses more than 4,300, with an error of its own.
_DIGITS: Final = 1000
#: The maximum number of characters of a claim in a log line.
_LOGGED: Final = 100
_UNIT: Final = "times are seconds since 1970, not milliseconds"


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What the claims of a valid token must be.

    :ivar issuer: the required ``iss``; None for any
    :ivar audience: the required member of ``aud``; None: the token must have no ``aud``
    :ivar leeway: seconds that the issuer's clock may differ, for ``exp`` and ``iat``
    :ivar not_before_leeway: the same for ``nbf``, which issuers set to their current time
    :ivar subject_claim: the claim that names the user
    :ivar allow_eternal: whether a token may have no ``exp``, or one more than ten years ahead
    """

    issuer: str | None = None
    audience: str | None = None
    leeway: float = 0.0
    not_before_leeway: float = 5.0
    subject_claim: str = "sub"
    allow_eternal: bool = False


class Identity(NamedTuple):
    """The user and the id of a token. Times are wall-clock seconds since 1970.

    :ivar expires: when the login ends, leeway included; None: never
    :ivar jti: the token's id, or None
    :ivar issued: the earliest time at which it was issued: ``iat`` less the leeway; None without ``iat``
    """

    subject: str
    expires: float | None
    jti: str | None
    issued: float | None


def read_object(text: bytes) -> dict[str, Any]:
    """Return the members of a JSON object.

    RFC 7519, section 4, lets a parser refuse a repeated name: this one does.

    Raises ``ValueError`` if it is not a JSON object in UTF-8, repeats a name, or is nested too deeply.
    """
    try:
        value = _JSON.decode(text.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it repeats a name")
    return members


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError("a number in it has too many digits")
    return int(digits)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


#: Made once, because ``json.loads`` makes a decoder on each call.
_JSON: Final = json.JSONDecoder(object_pairs_hook=_members, parse_int=_whole, parse_constant=_no_number)


def check_claims(claims: Claims, rules: ClaimRules, now: float) -> Identity:
    """Return the identity in the claims, if they follow the rules.

    The expiry is checked last, so that ``LoginFault.EXPIRED`` says that the claims are valid otherwise.

    Errors: ``LoginRefused``.
    """
    _check_issuer(claims, rules)
    _check_audience(claims, rules)
    identity = read_identity(claims, rules)
    not_before, expires, issued = _time(claims, "nbf"), identity.expires, identity.issued
    if not_before is not None and not_before > now + rules.not_before_leeway:
        raise LoginRefused(LoginFault.NOT_YET_VALID, f"nbf is {_seconds(not_before - now)} ahead")
    if issued is not None and issued > now + _FAR_AHEAD:
        # Revoking a user revokes only the tokens issued until then: it could never revoke this one.
        raise LoginRefused(LoginFault.CLAIM, f"iat is more than ten years ahead; {_UNIT}")
    if expires is not None and expires > now + _FAR_AHEAD:
        if not rules.allow_eternal:
            text = f"exp is more than ten years ahead, which counts as no exp (allow-eternal accepts it); {_UNIT}"
            raise LoginRefused(LoginFault.NO_EXPIRY, text)
        return identity._replace(expires=None)
    if expires is None and not rules.allow_eternal:
        raise LoginRefused(LoginFault.NO_EXPIRY, "there is no exp (allow-eternal accepts that)")
    if expires is not None and expires <= now:
        raise LoginRefused(LoginFault.EXPIRED, f"exp was {_seconds(now - (expires - rules.leeway))} ago")
    return identity


def read_identity(claims: Claims, rules: ClaimRules) -> Identity:
    """Return the identity in the claims, without checking whether the token is valid now.

    Errors: ``LoginRefused``.
    """
    subject, jti = claims.get(rules.subject_claim), claims.get("jti")
    if not is_name(subject):
        raise _no_name(LoginFault.SUBJECT, rules.subject_claim)
    if "jti" in claims and not is_name(jti):
        raise _no_name(LoginFault.CLAIM, "jti")
    issued, expires, _ = (_time(claims, name) for name in ("iat", "exp", "nbf"))
    # Airy's jti equals the subject: share one string, because each connection keeps both.
    jti = subject if jti == subject else jti
    return Identity(
        subject,
        None if expires is None else expires + rules.leeway,
        jti,
        None if issued is None else issued - rules.leeway,
    )


def _no_name(fault: LoginFault, claim: str) -> LoginRefused:
    return LoginRefused(fault, f"the claim {claim!r} is not text of 1 to {LONGEST_NAME} printable characters")


def _check_issuer(claims: Claims, rules: ClaimRules) -> None:
    issuer = claims.get("iss")
    if rules.issuer is not None and issuer != rules.issuer:
        raise LoginRefused(LoginFault.ISSUER, f"iss is {printable(issuer)}, not {rules.issuer!r}")


def _check_audience(claims: Claims, rules: ClaimRules) -> None:
    audience = claims.get("aud")
    if rules.audience is None:
        if audience not in (None, []):
            # RFC 7519, section 4.1.3: a server that is not in the audience MUST reject the token.
            raise LoginRefused(LoginFault.AUDIENCE, f"aud is {printable(audience)}, but no audience= is configured")
        return
    meant = audience if isinstance(audience, list) else [audience]
    if rules.audience not in meant:
        raise LoginRefused(LoginFault.AUDIENCE, f"aud is {printable(audience)}, not {rules.audience!r}")


def _time(claims: Claims, name: str) -> float | None:
    """Return a NumericDate claim (RFC 7519, section 2), or None if it is missing."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    try:
        time = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        time = math.nan
    if not math.isfinite(time):
        raise LoginRefused(LoginFault.CLAIM, f"{name} is not a number of seconds")
    return time


def _seconds(number: float) -> str:
    """Return a number of seconds for a log line, short even for huge numbers."""
    return f"{round(number):.12g} s"


def printable(value: object) -> str:
    """Return a claim for a log line, shortened and printable."""
    text = ascii(value)
    return text if len(text) <= _LOGGED else f"{text[:_LOGGED]}..."
