"""One connected client: answers its STOMP frames; heart-beats, pings, login, token refresh, wildcard subscriptions."""
