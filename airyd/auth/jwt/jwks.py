"""Sources of verification keys: a few configured keys, or a JWK Set that is fetched repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.auth.jwt.fetch import FetchFailed
from airyd.auth.jwt.keys import MOST_BYTES, MOST_KEYS, USUAL_PUBLIC_ALGORITHMS, VerificationKey, read_key_set
from airyd.errors import ConfigurationError
from airyd.files import read_file
from airyd.interfaces import Reload

#: Seconds after which a set is fetched again: for so long a key that was removed from it may still be accepted.
FRESH: Final = 300.0
#: Seconds between two fetches for an unknown ``kid``.
FETCH_EVERY: Final = 5.0
#: Seconds until the next try: after the first failure, and at most.
_RETRY_FIRST: Final = 1.0
_RETRY_LAST: Final = 60.0
#: The trouble of a set before its first fetch has ended.
NOT_FETCHED: Final = "not fetched yet"


class KeySource(Protocol):
    """Provides the keys that verify tokens."""

    @property
    def algorithms(self) -> Sequence[str]:
        """All algorithms for which it may have a key."""
        ...

    def start(self) -> None:
        """Start keeping the keys up to date."""
        ...

    def stop(self) -> None:
        """Stop."""
        ...

    def prepare_reload(self, fresh: Any) -> Reload:
        """Prepare to take over the keys of another source of the same kind and place; see ``IReloadable``."""
        ...

    def find(self, algorithm: str, key_id: str | None) -> Sequence[VerificationKey]:
        """Return the known keys that may have signed a token with this algorithm and ``kid``."""
        ...

    def refresh(self) -> Deferred[None] | None:
        """Fetch newer keys; fires when that succeeds or fails. None: it is too early for another fetch."""
        ...

    @property
    def is_current(self) -> bool:
        """Whether the last fetch succeeded; then an unknown key cannot be a new one."""
        ...

    def health(self) -> Sequence[str]:
        """Return why there are no keys; see ``IAuthenticator``."""
        ...

    def warnings(self) -> Sequence[str]:
        """Return why the keys may be out of date; see ``IAuthenticator``."""
        ...


class StaticKeys:
    """Fixed keys of one issuer. They have no ``kid``, so that of the token is ignored.

    :param name: their place, for logs
    """

    is_current: Final = True

    def __init__(self, name: str, keys: Sequence[VerificationKey]) -> None:
        self._name = name
        self._keys = keys

    @property
    def algorithms(self) -> Sequence[str]:
        """See ``KeySource``."""
        return tuple(dict.fromkeys(name for key in self._keys for name in key.algorithms))

    def prepare_reload(self, fresh: StaticKeys) -> Reload:
        """See ``KeySource``."""

        def apply() -> None:
            self._keys = fresh._keys

        return Reload([f"keys of {self._name}"] * (self._keys != fresh._keys), apply)

    def start(self) -> None:
        """See ``KeySource``."""

    def stop(self) -> None:
        """See ``KeySource``."""

    def find(self, algorithm: str, key_id: str | None) -> Sequence[VerificationKey]:
        """See ``KeySource``."""
        return [key for key in self._keys if algorithm in key.algorithms]

    def refresh(self) -> Deferred[None] | None:
        """See ``KeySource``."""
        return None

    def health(self) -> Sequence[str]:
        """See ``KeySource``."""
        return ()

    def warnings(self) -> Sequence[str]:
        """See ``KeySource``."""
        return ()


class JwkSet:
    """A JWK Set (RFC 7517), fetched at the start, every five minutes, and when a token has an unknown ``kid``.

    While a fetch fails, the known keys stay in use.

    :param name: its file or URL, for logs
    :param read: fetches the document; fails with ``FetchFailed``
    :param algorithms: the algorithms that the keys may be for
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        read: Callable[[], Deferred[bytes]],
        clock: IReactorTime,
        algorithms: Sequence[str] = USUAL_PUBLIC_ALGORITHMS,
    ) -> None:
        self.algorithms = algorithms
        self._name = name
        self._read = read
        self._clock = clock
        self._keys: Sequence[VerificationKey] = ()
        self._trouble: str | None = NOT_FETCHED
        self._logged: str | None = None  # the last trouble in the log
        self._is_stopped = False
        self._failures = 0
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._fetching: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None

    def prepare_reload(self, fresh: JwkSet) -> Reload:
        """See ``KeySource``. The set is fetched when the reload is applied; until then the known keys stay in use."""

        def apply() -> None:
            self._read = fresh._read
            if self._fetching is None:
                self._fetch()

        return Reload((), apply)

    @property
    def is_current(self) -> bool:
        """See ``KeySource``."""
        return self._trouble is None

    def start(self) -> None:
        """See ``KeySource``."""
        self._is_stopped = False
        self._fetch()

    def stop(self) -> None:
        """See ``KeySource``."""
        self._is_stopped = True
        self._cancel_timer()
        if self._fetching is not None:
            self._fetching.cancel()

    def find(self, algorithm: str, key_id: str | None) -> Sequence[VerificationKey]:
        """See ``KeySource``. A token without ``kid`` matches a key only if that is the only one for its algorithm."""
        suitable = [key for key in self._keys if algorithm in key.algorithms]
        if key_id is None:
            return suitable if len(suitable) == 1 else ()
        return [key for key in suitable if key.id == key_id][-MOST_KEYS:]

    def refresh(self) -> Deferred[None] | None:
        """See ``KeySource``. Concurrent callers share one fetch; a new one starts at most every five seconds."""
        if self._fetching is None:
            if self._clock.seconds() - self._tried_at < FETCH_EVERY:
                return None
            self._fetch()
        renewed: Deferred[None] = Deferred()
        if self._fetching is None:
            renewed.callback(None)
        else:
            self._waiting.append(renewed)
        return renewed

    def health(self) -> Sequence[str]:
        """See ``KeySource``."""
        return () if self._keys else [f"there are no keys for tokens: {self._name}: {self._trouble}"]

    def warnings(self) -> Sequence[str]:
        """See ``KeySource``."""
        if not self._keys or self._trouble is None:
            return ()
        age = self._clock.seconds() - self._fetched_at
        return [f"the keys for tokens are {age:.0f} s old: {self._name}: {self._trouble}"]

    def _fetch(self) -> None:
        self._cancel_timer()
        self._tried_at = self._clock.seconds()
        self._fetching = fetching = self._read().addCallback(self._store)
        fetching.addErrback(self._failed).addCallback(self._done)
        if fetching.called:
            self._fetching = None

    def _store(self, document: bytes) -> None:
        try:
            keys = read_key_set(document, self.algorithms)
        except ValueError as error:
            raise FetchFailed(str(error)) from None
        if self._trouble is not None:
            self._log.info("got the keys for tokens from {name}: {count}", name=self._name, count=len(keys))
        self._keep(keys)

    def _keep(self, keys: Sequence[VerificationKey]) -> None:
        self._keys = keys
        self._trouble = self._logged = None
        self._failures = 0
        self._fetched_at = self._clock.seconds()
        self._timer = self._clock.callLater(FRESH, self._fetch)

    def _failed(self, failure: Failure) -> None:
        if self._is_stopped:  # a cancelled fetch fails
            return
        trouble = str(failure.value) if failure.check(FetchFailed) else "internal error"
        if trouble != self._logged:  # log each trouble once
            self._logged = trouble
            if failure.check(FetchFailed):
                self._log.warn("cannot get keys for tokens from {name}: {reason}", name=self._name, reason=trouble)
            else:
                self._log.failure("the keys for tokens cannot be read", failure)
        self._trouble = trouble
        delay = min(_RETRY_FIRST * 2**self._failures, _RETRY_LAST)
        self._failures = min(self._failures + 1, 10)
        self._timer = self._clock.callLater(delay, self._fetch)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _done(self, _: None) -> None:
        self._fetching = None
        waiting, self._waiting = self._waiting, []
        for renewed in waiting:
            renewed.callback(None)


class JwkSetFile(JwkSet):
    """A JWK Set in a file."""

    def __init__(self, path: str, clock: IReactorTime, algorithms: Sequence[str]) -> None:
        super().__init__(path, lambda: execute(self._read_now), clock, algorithms)

    def _read_now(self) -> bytes:
        try:
            return read_file(self._name, MOST_BYTES)
        except ValueError as error:
            raise FetchFailed(str(error)) from None

    def prepare_reload(self, fresh: JwkSet) -> Reload:
        """See ``KeySource``."""
        try:
            keys = read_key_set(self._read_now(), self.algorithms)
        except (FetchFailed, ValueError) as error:
            raise ConfigurationError(f"--auth jwt: jwks {self._name}: {error}") from None

        def apply() -> None:
            self._cancel_timer()
            self._keep(keys)

        return Reload([f"keys of {self._name}"] * (keys != self._keys), apply)
