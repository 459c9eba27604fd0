"""The places of ids in the objects of a page: read and written for all of them at once, as columns of bytes.

For ids that are as long as those they stand in for, so that nothing else moves: pseudonyms. What of documents is relied
on is said in hub.scope.identifiers, and looked at again here: a page of any other form is left to that module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hub.scope.pseudonyms import Blocks, digits_of, packed
from transforms.references import BASES

Places = npt.NDArray[np.intp]

_HEAD = '{"sourcedId":"'
_ID = 36  # characters
_AGAIN = b'","sourcedId":"'  # between an id in an address and the same one behind it
_TO_AGAIN = _ID + len(_AGAIN)
_BETWEEN = b"\0"
_FIRST_PRINTABLE, _QUOTE, _SLASH = 0x20, ord('"'), ord("/")
_MARKS = np.zeros(256, np.bool_)
_MARKS[[ord(base) for base in BASES.values()]] = True


def renamed(objects: Sequence[str], of: Callable[[Blocks], Blocks]) -> list[str] | None:
    """Objects with other ids in the places of all ids: their own, and those that references have twice.

    ``of``: from ids to those in their places, in their order. None for objects without their id, or of another form.
    Raises ValueError for what is no id of the hub. Some milliseconds for some thousand objects.
    """
    if not objects or not all(text.startswith(_HEAD) for text in objects):
        return None
    texts = [text.encode() for text in objects]
    data = bytearray(_BETWEEN.join(texts))
    return data.decode().split(_BETWEEN.decode()) if rename(data, starts(texts, len(_BETWEEN)), of) else None


def starts(objects: Sequence[bytes], between: int) -> Places:
    """Where objects begin in a text that has so many bytes between them."""
    lengths = np.fromiter(map(len, objects), np.intp, len(objects))
    return np.cumsum(lengths + between) - lengths - between


def rename(data: bytearray, objects: Places, of: Callable[[Blocks], Blocks]) -> bool:
    """Like ``renamed`` in the text itself, in which objects that begin with their ids stand at these places.

    False, with nothing written, for objects of another form.
    """
    chars = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero(chars < _FIRST_PRINTABLE)  # JSON text has none of them: they are ours
    first, own = _referred(data, marks[chars[marks] != _BETWEEN[0]]), objects + len(_HEAD)
    if first is None or own[-1] + _ID >= len(data) or (chars[own + _ID] != _QUOTE).any():
        return False
    texts = _at_each(data, _ID)
    places = np.concatenate((own, first))
    names = digits_of(of(packed(texts[places].view(np.uint8).reshape(-1, _ID)))).view(texts.dtype)[:, 0]
    texts[places] = names
    texts[first + _TO_AGAIN] = names[len(own) :]
    return True


def _referred(data: bytearray, marks: Places) -> Places | None:
    """Where the ids in the addresses of references begin, behind ``marks``; None where any has another form."""
    chars = np.frombuffer(data, np.uint8)
    slashes = np.flatnonzero(chars == _SLASH)
    at = np.searchsorted(slashes, marks)
    if not len(marks):
        return marks
    if at[-1] + 1 >= len(slashes) or not _MARKS[chars[marks]].all():
        return None
    first = slashes[at + 1] + 1  # behind the base and the name of the collection
    again = first + _TO_AGAIN
    if again[-1] + _ID >= len(data):
        return None
    texts = _at_each(data, _ID)
    alike = (
        (slashes[at] == marks + 1).all()
        and (_at_each(data, len(_AGAIN))[first + _ID] == np.void(_AGAIN)).all()
        and (texts[first] == texts[again]).all()
        and (chars[again + _ID] == _QUOTE).all()
    )
    return first if alike else None


def _at_each(data: bytearray, length: int) -> npt.NDArray[np.void]:
    """The ``length`` bytes from each place on, over ``data`` itself."""
    return np.ndarray(len(data) - length + 1, np.dtype((np.void, length)), data, strides=(1,))
