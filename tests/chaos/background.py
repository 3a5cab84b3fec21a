"""What goes on beside the faults: a thread that runs until it is stopped, and whose failure is not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """A thread.

    :param what: what runs, for the error
    :param run: is to return when :attr:`ends` is set
    :ivar ends: set when it is to end
    :ivar has_failed: whether it ended by an exception
    """

    def __init__(self, what: str, run: Callable[[], None]) -> None:
        self.ends = threading.Event()
        self._what = what
        self._goes_on = run
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def has_failed(self) -> bool:
        """See the class."""
        return self._failure is not None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """Have it end, and wait for that, at most so many seconds; harmless when repeated.

        Raises ``AssertionError`` if it failed.
        """
        self.ends.set()
        if self._thread.is_alive():
            self._thread.join(patience)
        if self._failure is not None:
            raise AssertionError(f"{self._what} failed") from self._failure

    def _run(self) -> None:
        try:
            self._goes_on()
        except BaseException as failure:  # noqa: BLE001  # raised again by stop()
            self._failure = failure
