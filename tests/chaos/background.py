"""A thread that runs beside the faults until it is stopped, and keeps its exception."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """A background thread.

    :param what: its name in the error
    :param run: its function, which must return when :attr:`ends` is set
    :ivar ends: set when the thread is asked to end
    :ivar has_failed: whether the thread ended with an exception
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
        """Start the thread."""
        self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """Ask the thread to end, and wait at most ``patience`` seconds; harmless when repeated.

        Raises ``AssertionError`` if the thread failed.
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
