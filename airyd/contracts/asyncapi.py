"""The AsyncAPI 3 document of the WebSocket, made from the tables of the code.

airyd is the application that it describes: airyd *sends* what clients get, and *receives* what they send. Each
destination is a channel. One more channel, without an address, is the connection itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from airyd import __version__
from airyd.contracts.frames import FRAMES, headers_schema, message_id_pattern
from airyd.contracts.schemas import reference, struct_schemas
from airyd.events import REFRESH, STATUS, plain_destination, user_destination
from airyd.limits import Limits
from airyd.notices import NOTICES
from airyd.payloads import PAYLOADS, JsonObject
from airyd.stomp.spec import Command, Header

_DESCRIPTION: Final = """\
Events over STOMP on WebSocket. The headers are those of STOMP 1.2; docs/protocol.rst has those of 1.1 and 1.0, and
says everything that a schema cannot say.

Each event reaches every subscription that may see it. To resume, send the last message-id as last-message-id."""
_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_CONNECTION: Final = "connection"
#: The operations of the connection: the frames that airyd receives, and those that answer them.
_DIALOGUES: Final[Mapping[str, tuple[str, Sequence[str], Sequence[str]]]] = {
    "logIn": ("Log in.", (Command.CONNECT, Command.STOMP), (Command.CONNECTED, Command.ERROR)),
    "subscribe": ("Begin a subscription.", (Command.SUBSCRIBE,), (Command.RECEIPT, Command.ERROR)),
    "unsubscribe": ("End a subscription.", (Command.UNSUBSCRIBE,), (Command.RECEIPT, Command.ERROR)),
    "acknowledge": ("Acknowledge events.", (Command.ACK, Command.NACK), (Command.RECEIPT, Command.ERROR)),
    "transact": (
        "Begin a transaction, carry it out or drop it.",
        (Command.BEGIN, Command.COMMIT, Command.ABORT),
        (Command.RECEIPT, Command.ERROR),
    ),
    "disconnect": ("End the connection.", (Command.DISCONNECT,), (Command.RECEIPT, Command.ERROR)),
}


class ContractScope(NamedTuple):
    """What the document describes.

    :ivar destinations: the catalogue
    :ivar urls: the URLs of the WebSocket, such as ``ws://127.0.0.1:8080/ws.communication``
    :ivar needs_token: whether every client must log in with a token
    """

    destinations: Sequence[str]
    has_user_destinations: bool
    urls: Sequence[str]
    needs_token: bool
    limits: Limits


def asyncapi_document(scope: ContractScope) -> dict[str, Any]:
    """Return the document."""
    channels: dict[str, dict[str, Any]] = {_CONNECTION: _connection_channel()}
    operations = dict(_connection_operations())
    _add_status(channels, operations)
    _add_refresh(channels, operations, scope.limits)
    for destination in scope.destinations:
        _add_destination(channels, operations, destination, destination)
        if scope.has_user_destinations:
            _add_destination(channels, operations, destination, user_destination(destination))
    document: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "airyd",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": _JSON,
        "servers": dict(_servers(scope)),
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": {**struct_schemas((*PAYLOADS.values(), JsonObject, *NOTICES)), **_header_schemas()},
            "messages": {command: _frame_message(command) for command in FRAMES},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    if not document["servers"]:
        del document["servers"]
    return document


def schema_name(command: str) -> str:
    """Return the name of the schema of a frame's headers, such as ``SubscribeHeaders``."""
    return f"{command.capitalize()}Headers"


def _header_schemas() -> dict[str, Any]:
    return {schema_name(command): headers_schema(rule.headers) for command, rule in FRAMES.items()}


def _servers(scope: ContractScope) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, url in enumerate(scope.urls, 1):
        parts = urlsplit(url)
        server: dict[str, Any] = {
            "host": parts.netloc,
            "pathname": parts.path,
            "protocol": parts.scheme,
            "description": "STOMP on WebSocket, with the subprotocols v12.stomp, v11.stomp and v10.stomp.",
        }
        if _is_unspecified(parts.hostname or ""):
            server["host"] = "{host}" if parts.port is None else f"{{host}}:{parts.port}"
            server["variables"] = {"host": {"default": "localhost", "description": "A name of the machine."}}
        if scope.needs_token:
            server["security"] = [{"$ref": "#/components/securitySchemes/token"}]
        yield f"websocket{number}", server


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _frame_message(command: str) -> dict[str, Any]:
    """Return the message of a frame without a destination of its own."""
    message: dict[str, Any] = {
        "name": command,
        "title": command,
        "summary": FRAMES[command].text,
        "headers": {"$ref": f"#/components/schemas/{schema_name(command)}"},
    }
    if command == Command.ERROR:
        message.update(contentType=_TEXT, payload={"type": "string"})
    return message


def _refer(channel: str, *messages: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/{channel}/messages/{message}"} for message in messages]


def _connection_channel() -> dict[str, Any]:
    commands = {command: None for _, asked, answers in _DIALOGUES.values() for command in (*asked, *answers)}
    return {
        "address": None,
        "title": "The connection",
        "description": "All frames but MESSAGE and SEND, which belong to a destination.",
        "messages": {command: {"$ref": f"#/components/messages/{command}"} for command in commands},
    }


def _connection_operations() -> Iterator[tuple[str, dict[str, Any]]]:
    channel = {"$ref": f"#/channels/{_CONNECTION}"}
    for name, (summary, asked, answers) in _DIALOGUES.items():
        yield (
            name,
            {
                "action": "receive",
                "summary": summary,
                "channel": channel,
                "messages": _refer(_CONNECTION, *asked),
                "reply": {"channel": channel, "messages": _refer(_CONNECTION, *answers)},
            },
        )
    yield (
        "reportError",
        {
            "action": "send",
            "summary": "End the connection with an ERROR.",
            "channel": channel,
            "messages": _refer(_CONNECTION, Command.ERROR),
        },
    )


def _add_destination(
    channels: dict[str, dict[str, Any]], operations: dict[str, Any], destination: str, name: str
) -> None:
    """Add the channel of a destination, under its own name or that of its user destination."""
    payload = reference(PAYLOADS.get(destination, JsonObject))
    key = channel_key(name, channels)
    is_plain = name == destination
    messages = {"event": _event_message(name, destination, payload)}
    if is_plain:
        messages["publication"] = _send_message(name, payload)
    channels[key] = {
        "address": name,
        "title": name,
        "description": "Events." if is_plain else f"The client's own events of {plain_destination(name)}.",
        "messages": messages,
    }
    title = key[:1].upper() + key[1:]
    operations[f"deliver{title}"] = _operation("send", f"Deliver the events of {name}.", key, "event")
    if is_plain:
        operations[f"publish{title}"] = _operation(
            "receive", f"Publish an event to {name}, if the client may.", key, "publication"
        )


def _add_status(channels: dict[str, dict[str, Any]], operations: dict[str, Any]) -> None:
    key = channel_key(STATUS, channels)
    names = {notice: notice.__name__[:1].lower() + notice.__name__[1:] for notice in NOTICES}
    messages = {names[notice]: _event_message(STATUS, STATUS, reference(notice)) for notice in NOTICES}
    channels[key] = {
        "address": STATUS,
        "title": STATUS,
        "description": "What the server says about itself. Ignore types and members that you do not know.",
        "messages": messages,
    }
    operations["deliverAirydStatus"] = _operation("send", "Notify the client of the server's state.", key, *messages)


def _add_refresh(channels: dict[str, dict[str, Any]], operations: dict[str, Any], limits: Limits) -> None:
    key = channel_key(REFRESH, channels)
    token = {"type": "string", "maxLength": limits.token_body, "description": "The token, with or without Bearer."}
    channels[key] = {
        "address": REFRESH,
        "title": REFRESH,
        "description": "Where a client sends its next token before the present one expires.",
        "messages": {"token": {**_send_message(REFRESH, token), "contentType": _TEXT}},
    }
    operations["refreshToken"] = _operation("receive", "Replace the token of the connection.", key, "token")


def _operation(action: str, summary: str, channel: str, *messages: str) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": _refer(channel, *messages),
    }


def _event_message(name: str, destination: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a MESSAGE, whose headers name the destination as the client does, but have its own message-id."""
    ids = {"pattern": message_id_pattern(destination)}
    return _destination_message(Command.MESSAGE, name, payload, {Header.MESSAGE_ID: ids})


def _send_message(name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    return _destination_message(Command.SEND, name, payload, {})


def _destination_message(
    command: str, name: str, payload: Mapping[str, Any], headers: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": f"{command} {name}",
        "title": f"{command} {name}",
        "headers": {
            "allOf": [
                {"$ref": f"#/components/schemas/{schema_name(command)}"},
                {"type": "object", "properties": {Header.DESTINATION: {"const": name}, **headers}},
            ]
        },
        "contentType": _JSON,
        "payload": payload,
    }


def channel_key(name: str, taken: Mapping[str, object]) -> str:
    """Return the key of a destination's channel: its words as one, such as ``queueUnreadCount``, not yet taken.

    The first letter is small, so that the names of operations, where it is large, differ as the keys do.
    """
    words: Sequence[str] = re.findall("[0-9A-Za-z]+", name) or ["destination"]
    key = free = words[0][0].lower() + words[0][1:] + "".join(word[0].upper() + word[1:] for word in words[1:])
    number = 1
    while free in taken:
        number += 1
        free = f"{key}_{number}"
    return free
