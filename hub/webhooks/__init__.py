"""Webhooks: a subscription is a position on its grant's feed; batches are cut, signed and sent from there, in order.

What is said comes from ``hub.changes``. ``sign``, ``schedule`` and ``address`` are pure; ``egress`` is the only place
that opens connections; ``deliver`` makes one attempt and ``dispatcher`` finds work. PostgreSQL remembers everything: a
process may end at any point, and whatever was sent but not noted is sent again with the same id and the same bytes.
"""
