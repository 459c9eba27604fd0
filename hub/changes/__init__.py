"""What an app is told of its view: a stretch of its grant's feed as changes, for webhooks and for who asks alike.

``window``, ``types`` and ``message`` are pure; ``reading`` and ``records`` look things up in the transaction of whoever
asks.
"""
