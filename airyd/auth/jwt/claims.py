"""What a token says, strictly read and checked against what was configured (RFC 7519, section 4.1)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from airyd.errors import LoginFault, LoginRefused
from airyd.revocation import LONGEST_NAME, is_name

Claims = Mapping[str, Any]

#: Seconds, ten years: nothing that is so far ahead is a time that an issuer means. Milliseconds are.
_FAR_AHEAD: Final = 3652.5 * 86_400
#: Digits of a whole number: Python refuses 4,300, in words of its own.
_DIGITS: Final = 1000
#: Characters of a claim that a log line repeats.
_SHOWN: Final = 100
_UNIT: Final = "times are seconds since 1970, not milliseconds"


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What a token must say to be good.

    :ivar issuer: the ``iss``; None for any
    :ivar audience: what must be in ``aud``; None: the token must be for nobody in particular
    :ivar leeway: seconds that the issuer's clock may be off for ``exp`` and ``iat``
    :ivar not_before_leeway: the same for ``nbf``, which issuers set to their own now
    :ivar subject_claim: the claim that names the user
    :ivar allow_eternal: whether a token without ``exp``, or with one that is more than ten years ahead, is good
    """

    issuer: str | None = None
    audience: str | None = None
    leeway: float = 0.0
    not_before_leeway: float = 5.0
    subject_claim: str = "sub"
    allow_eternal: bool = False


class Identity(NamedTuple):
    """Who a token is for, and which token it is. Times are wall-clock seconds since 1970.

    :ivar expires: when the login ends; None: never
    :ivar jti: the token's own name, if it has one
    :ivar issued: when it was issued, at the earliest that the issuer's clock allows; None if it doesn't say
    """

    subject: str
    expires: float | None
    jti: str | None
    issued: float | None


def read_object(text: bytes) -> dict[str, Any]:
    """Return the members of a JSON object.

    RFC 7519 leaves open which of two claims with one name counts (section 4): here neither does.

    Raises ``ValueError`` for what is no JSON object in UTF-8, repeats a name, or is nested too deep.
    """
    try:
        value = _JSON.decode(text.decode())
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it says something twice")
    return members


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError("a number in it has too many digits")
    return int(digits)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


#: Made once: ``json.loads`` would make one each time.
_JSON: Final = json.JSONDecoder(object_pairs_hook=_members, parse_int=_whole, parse_constant=_no_number)


def check_claims(claims: Claims, rules: ClaimRules, now: float) -> Identity:
    """Return who the token is for.

    The expiry comes last: a token that is called expired was good in every other way.

    Errors: ``LoginRefused``.
    """
    _check_issuer(claims, rules)
    _check_audience(claims, rules)
    identity = read_identity(claims, rules)
    not_before, expires, issued = _time(claims, "nbf"), identity.expires, identity.issued
    if not_before is not None and not_before > now + rules.not_before_leeway:
        raise LoginRefused(LoginFault.NOT_YET_VALID, f"nbf is {_seconds(not_before - now)} ahead")
    if issued is not None and issued > now + _FAR_AHEAD:
        # No revocation of the subject would ever be after it.
        raise LoginRefused(LoginFault.CLAIM, f"iat is more than ten years ahead; {_UNIT}")
    if expires is not None and expires > now + _FAR_AHEAD:
        if not rules.allow_eternal:
            text = f"exp is more than ten years ahead, as good as none (allow-eternal would let it pass); {_UNIT}"
            raise LoginRefused(LoginFault.NO_EXPIRY, text)
        return identity._replace(expires=None)
    if expires is None and not rules.allow_eternal:
        raise LoginRefused(LoginFault.NO_EXPIRY, "there is no exp (allow-eternal would let it pass)")
    if expires is not None and expires <= now:
        raise LoginRefused(LoginFault.EXPIRED, f"exp was {_seconds(now - (expires - rules.leeway))} ago")
    return identity


def read_identity(claims: Claims, rules: ClaimRules) -> Identity:
    """Return who a token is for, whether or not it is good now.

    Errors: ``LoginRefused``.
    """
    subject, jti = claims.get(rules.subject_claim), claims.get("jti")
    if not is_name(subject):
        raise _no_name(LoginFault.SUBJECT, rules.subject_claim)
    if "jti" in claims and not is_name(jti):
        raise _no_name(LoginFault.CLAIM, "jti")
    issued, expires, _ = (_time(claims, name) for name in ("iat", "exp", "nbf"))
    # Airy's jti is the subject: one text for both is kept for each connection.
    jti = subject if jti == subject else jti
    return Identity(
        subject,
        None if expires is None else expires + rules.leeway,
        jti,
        None if issued is None else issued - rules.leeway,
    )


def _no_name(fault: LoginFault, claim: str) -> LoginRefused:
    return LoginRefused(fault, f"the claim {claim!r} is no text of 1 to {LONGEST_NAME} printable characters")


def _check_issuer(claims: Claims, rules: ClaimRules) -> None:
    issuer = claims.get("iss")
    if rules.issuer is not None and issuer != rules.issuer:
        raise LoginRefused(LoginFault.ISSUER, f"iss is {printable(issuer)}, not {rules.issuer!r}")


def _check_audience(claims: Claims, rules: ClaimRules) -> None:
    audience = claims.get("aud")
    if rules.audience is None:
        if audience not in (None, []):
            # RFC 7519, section 4.1.3: who is not among the audience MUST reject the token.
            raise LoginRefused(LoginFault.AUDIENCE, f"aud is {printable(audience)}, and no audience= is configured")
        return
    meant = audience if isinstance(audience, list) else [audience]
    if rules.audience not in meant:
        raise LoginRefused(LoginFault.AUDIENCE, f"aud is {printable(audience)}, not {rules.audience!r}")


def _time(claims: Claims, name: str) -> float | None:
    """Return a NumericDate (RFC 7519, section 2), or None if there is none."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    try:
        time = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        time = math.nan
    if not math.isfinite(time):
        raise LoginRefused(LoginFault.CLAIM, f"{name} is no number of seconds")
    return time


def _seconds(number: float) -> str:
    """Return a number of seconds for a log line: never long, however large it is."""
    return f"{round(number):.12g} s"


def printable(value: object) -> str:
    """Return a claim for a log line: cut, and with nothing unprintable."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
