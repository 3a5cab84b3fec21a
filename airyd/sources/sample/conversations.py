"""The generator of made-up Airy events: messages of contacts, answers, unread counts and channels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from airyd.events import CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, EVENTS, MESSAGE, UNREAD_COUNT

#: Each channel's name, source, ``source_channel_id`` and ``image_url``.
_CHANNELS: Final = (
    ("Harbour Books", "facebook", "104729001", "https://example.org/harbour-books.png"),
    ("Website chat", "chat_plugin", "website", None),
    ("Harbour Books (maps)", "google", "agents/harbour-books", "https://example.org/harbour-books-map.png"),
    ("SMS desk", "twilio.sms", "+15005550006", None),
    ("WhatsApp-Läden \U0001f4da", "twilio.whatsapp", "whatsapp:+15005550009", None),
)
#: How many channels are connected at the start, and always at least.
_FEWEST_CHANNELS: Final = 2
_CONVERSATIONS: Final = 50


class Phrases(NamedTuple):
    """The sentences of one language, with the placeholders ``{order}`` and ``{name}``.

    :ivar names: the names of contacts
    :ivar questions: the messages of contacts
    :ivar answers: the answers of the company
    """

    names: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


#: One has accents and emoji, one no ASCII letters: they reveal clients that count characters as bytes.
_LANGUAGES: Final = (
    Phrases(
        ("Emma", "Liam O'Neill", "Zoë"),
        (
            "Hi, this is {name}. Where is my order {order}?",
            "The jacket is lovely, but too small. Can I swap it?",
            "Do you open on Sunday?",
            'It says "payment pending" since Tuesday \U0001f615',
            "Thanks a lot! \U0001f64f",
        ),
        (
            "Hello {name}, order {order} is on its way and should be with you tomorrow.",
            "Of course. A label for the return is in your inbox.",
            "We're open from 10 to 6, on Sundays too.",
            "You're welcome \U0001f60a",
        ),
    ),
    Phrases(
        ("さくら", "健太"),
        ("注文番号{order}はいつ届きますか。", "サイズを交換したいです。"),
        ("{name}様、{order}は明日お届けします。", "かしこまりました。"),
    ),
)

_Payload = Mapping[str, object]
_Made = tuple[str, _Payload]


@dataclass(slots=True)
class _AiryChannel:
    payload: _Payload
    connected: bool = False

    @property
    def id(self) -> object:
        return self.payload["id"]


@dataclass(slots=True)
class _Conversation:
    id: str
    channel: _AiryChannel
    phrases: Phrases
    name: str
    unread: int = 0


class Conversations:
    """An endless iterator of ``(destination, body)`` over the four destinations, in the format that Airy documents.

    The same seed and the same times give the same bytes.

    :param wall: returns wall-clock seconds since 1970, for the dates in the payloads
    """

    def __init__(self, seed: int, wall: Callable[[], float]) -> None:
        self._random = Random(seed)  # noqa: S311  # repeatable sample data; nothing is secret
        self._wall = wall
        self._stamped = 0
        self._channels = [self._channel(*each) for each in _CHANNELS]
        self._conversations: list[_Conversation] = []
        self._pending: deque[tuple[_Conversation, dict[str, object]]] = deque()
        self._events = self._scenes()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return self

    def __next__(self) -> tuple[str, bytes]:
        destination, payload = next(self._events)
        return destination, msgspec.json.encode(payload)

    def both_forms(self) -> Iterator[tuple[str, bytes]]:
        """Return the next event on its destination, and again on ``/events`` in the format of Airy 0.41 and later."""
        destination, payload = next(self._events)
        yield destination, msgspec.json.encode(payload)
        yield EVENTS, msgspec.json.encode(self._typed(destination, payload))

    def _scenes(self) -> Iterator[_Made]:
        for channel in self._channels[:_FEWEST_CHANNELS]:
            yield from self._channel_connects(channel)
        while True:
            chance = self._random.random()
            if chance < 0.04:
                yield from self._channel_changes()
            elif self._pending and chance < 0.5:
                yield from self._answer_arrives()
            elif (waiting := self._waiting()) and chance < 0.75:
                yield from self._company_answers(self._random.choice(waiting))
            else:
                yield from self._contact_writes(self._conversation())

    def _channel_changes(self) -> Iterator[_Made]:
        channel = self._random.choice(self._channels)
        if not channel.connected:
            yield from self._channel_connects(channel)
        elif sum(each.connected for each in self._channels) > _FEWEST_CHANNELS:
            channel.connected = False
            yield CHANNEL_DISCONNECTED, channel.payload

    def _channel_connects(self, channel: _AiryChannel) -> Iterator[_Made]:
        channel.connected = True
        yield CHANNEL_CONNECTED, channel.payload

    def _contact_writes(self, conversation: _Conversation) -> Iterator[_Made]:
        text = self._fill_in(conversation, conversation.phrases.questions)
        yield MESSAGE, _message_event(conversation, self._message(text, "DELIVERED", "SOURCE_CONTACT"))
        conversation.unread += 1
        yield UNREAD_COUNT, self._unread_count(conversation)

    def _company_answers(self, conversation: _Conversation) -> Iterator[_Made]:
        """Reset the unread count, and send an answer that is PENDING until ``_answer_arrives``."""
        conversation.unread = 0
        yield UNREAD_COUNT, self._unread_count(conversation)
        text = self._fill_in(conversation, conversation.phrases.answers)
        message = self._message(text, "PENDING", "APP_USER")
        self._pending.append((conversation, message))
        yield MESSAGE, _message_event(conversation, message)

    def _answer_arrives(self) -> Iterator[_Made]:
        conversation, message = self._pending.popleft()
        state = "FAILED" if self._random.random() < 0.05 else "DELIVERED"
        yield MESSAGE, _message_event(conversation, {**message, "state": state})

    def _waiting(self) -> list[_Conversation]:
        return [each for each in self._conversations if each.unread and each.channel.connected]

    def _conversation(self) -> _Conversation:
        """Return a conversation on a connected channel, existing or new."""
        known = [each for each in self._conversations if each.channel.connected]
        if known and (len(self._conversations) >= _CONVERSATIONS or self._random.random() < 0.7):
            return self._random.choice(known)
        channel = self._random.choice([each for each in self._channels if each.connected])
        phrases = self._random.choice(_LANGUAGES)
        conversation = _Conversation(self._uuid(), channel, phrases, self._random.choice(phrases.names))
        self._conversations.append(conversation)
        return conversation

    def _fill_in(self, conversation: _Conversation, phrases: tuple[str, ...]) -> str:
        order = f"#{self._random.randrange(10_000, 100_000)}"
        return self._random.choice(phrases).format(name=conversation.name, order=order)

    def _channel(self, name: str, source: str, source_channel_id: str, image_url: str | None) -> _AiryChannel:
        payload = {"id": self._uuid(), "name": name, "source": source, "source_channel_id": source_channel_id}
        return _AiryChannel(payload if image_url is None else {**payload, "image_url": image_url})

    def _message(self, text: str, state: str, sender_type: str) -> dict[str, object]:
        return {
            "id": self._uuid(),
            "content": {"text": text, "type": "text"},
            "state": state,
            "sender_type": sender_type,
            "sent_at": self._date(),
        }

    def _unread_count(self, conversation: _Conversation) -> _Payload:
        return {
            "conversation_id": conversation.id,
            "unread_message_count": conversation.unread,
            "timestamp": self._date(),
        }

    def _typed(self, destination: str, payload: _Payload) -> _Payload:
        match payload:
            case {"message": {"state": str(state), "sender_type": sender, **message}, **ids}:
                is_from_contact = sender == "SOURCE_CONTACT"
                source = next(each.payload["source"] for each in self._channels if each.id == ids["channel_id"])
                message |= {
                    "delivery_state": state.lower(),
                    "from_contact": is_from_contact,
                    "source": source,
                    "sender": {"id": ids["conversation_id"] if is_from_contact else "airy-core-anonymous"},
                }
                is_new = is_from_contact or state == "PENDING"
                return _event("message.created" if is_new else "message.updated", {**ids, "message": message})
            case {"conversation_id": conversation, "unread_message_count": count}:
                metadata = {"unread_count": count}
                return _event(
                    "metadata.updated", {"subject": "conversation", "identifier": conversation, "metadata": metadata}
                )
        metadata = {name: payload[name] for name in ("name", "image_url") if name in payload}
        channel = {name: value for name, value in payload.items() if name not in metadata}
        return _event(
            "channel.updated", {**channel, "connected": destination == CHANNEL_CONNECTED, "metadata": metadata}
        )

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _date(self) -> str:
        """Return the time in Airy's format, always later than the last: clients keep the latest unread count."""
        self._stamped = max(int(self._wall() * 1000), self._stamped + 1)
        seconds, milliseconds = divmod(self._stamped, 1000)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z"


def _event(kind: str, payload: _Payload) -> _Payload:
    return {"type": kind, "payload": payload}


def _message_event(conversation: _Conversation, message: _Payload) -> _Payload:
    return {"conversation_id": conversation.id, "channel_id": conversation.channel.id, "message": message}


class ConversationPlayer:
    """Publishes made-up events at a steady rate.

    :param rate: events per second
    :param with_events: whether to publish each event on ``/events``, too
    """

    _log = Logger()

    def __init__(
        self, conversations: Conversations, rate: float, clock: IReactorTime, with_events: bool = False
    ) -> None:
        self._conversations = conversations
        self._with_events = with_events
        self._rate = rate
        self._loop = LoopingCall.withCount(self._play)
        self._loop.clock = clock
        self._publish: Callable[[str, bytes], object] | None = None

    def start(self, publish: Callable[[str, bytes], object]) -> None:
        """Start; the first event is published after one interval."""
        self._publish = publish
        self._loop.start(1 / self._rate, now=False).addErrback(
            lambda failure: self._log.failure("the sample feed has ended", failure)
        )

    def stop(self) -> None:
        """Stop."""
        self._publish = None
        if self._loop.running:
            self._loop.stop()

    def _play(self, count: int) -> None:
        """Publish the events that are due; after a delay, at most those of one second."""
        for _ in range(min(count, max(1, round(self._rate)))):
            made = self._conversations.both_forms() if self._with_events else (next(self._conversations),)
            for destination, body in made:
                if self._publish is None:  # an event caused the stop
                    return
                self._publish(destination, body)
