"""How often Python looks for garbage that reference counts do not find.

By default it looks after every 700 objects more, and now and then at everything that there is: modules, models, routes
and caches that live as long as the process. Parsing a page of JSON took twice as long for it. A page of 10,000 records
is some hundred thousand objects, which are gone before it looks.
"""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 200_000, 20, 20


def put_off() -> None:
    """Looks at nothing until ``settle``: what is imported stays. To look at it took an eighth of a start."""
    gc.disable()


def settle() -> None:
    """What a process has when it has started is looked at never again, and what comes after it less often."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
