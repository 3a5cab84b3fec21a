"""The hub, from an event source to subscriptions: fan-out of live events, replay of history, row filters, gaps."""
