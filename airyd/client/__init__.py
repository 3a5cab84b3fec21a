"""One connected client: it answers the frames of its STOMP session, and keeps its time, login and subscriptions."""
