"""The command ``airyd health``: asks an admin page whether the node is ready, or whether the process answers."""

from __future__ import annotations

from contextlib import closing
from http import HTTPStatus
from typing import Final

from airyd.cli.admin_client import AdminClient, Reply, RequestFailed
from airyd.cli.http_errors import LONGEST_ERROR
from airyd.cli.nodes import in_thread
from airyd.cli.terminal import Console, visible

#: Seconds for everything: the name of the host, the connection and the answer. Health checks have longer time-outs.
PATIENCE: Final = 4.0
#: How many reasons and warnings are printed: engines keep what a health check prints.
_MOST_TEXTS: Final = 20


def health(url: str, client: AdminClient, is_live: bool, console: Console) -> int:
    """Ask for ``/healthz`` or ``/readyz`` and print the result; return the exit status.

    Errors: ``OutputClosed``.

    :param url: the admin page, for messages
    :param is_live: whether to ask for ``/healthz``
    """

    def ask() -> Reply:
        with closing(client):
            return client.get("healthz" if is_live else "readyz")

    asked = in_thread(ask)
    try:
        reply = asked.result(PATIENCE)
        problem = _problem(reply, is_live)
    except TimeoutError:
        problem = f"no answer within {PATIENCE:.0f} s"
    except RequestFailed as error:
        problem = str(error)
    if problem:
        console.say(problem if url in problem else f"{url}: {problem}")
        return 1
    for warning in _texts(reply, "warnings"):
        console.say(f"warning: {warning}")
    console.show(visible(f"{url} is {'alive' if is_live else 'ready'}"))
    return 0


def _problem(reply: Reply, is_live: bool) -> str:
    """Return why the node is not healthy; empty if it is."""
    if not is_live and isinstance(reply.value, dict) and reply.value.get("ready") is False:
        return f"not ready: {'; '.join(_texts(reply, 'reasons'))}"
    if reply.status != HTTPStatus.OK:
        return reply.reason
    if not is_live and not (isinstance(reply.value, dict) and reply.value.get("ready") is True):
        return "the answer is not understood: is this airyd's admin page?"
    return ""


def _texts(reply: Reply, name: str) -> list[str]:
    """Return the first texts of a list of the answer, each shortened."""
    listed = reply.value.get(name) if isinstance(reply.value, dict) else None
    return [str(each)[:LONGEST_ERROR] for each in listed[:_MOST_TEXTS]] if isinstance(listed, list) else []
