"""Characters that nobody sees: taken off, found, or shown as escapes. Pure.

They come with what people copy from pages and spreadsheets. In an id they make another visitor of the same one, in a
goal one that Metrika does not know, and on a terminal they change what a person reads.
"""

from __future__ import annotations

import re
from typing import Final

# Unicode's property Default_Ignorable_Code_Point, and three more without a shape of their own: the blank of Braille,
# marks of interlinear annotation, joiners of hieroglyphs.
_IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
# C0 and C1, DEL, the separators of lines and paragraphs, and halves of characters, which no encoding can write.
_CONTROLS: Final = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"

_INVISIBLE: Final = re.compile(f"[{_IGNORABLE}]")
_CONTROL: Final = re.compile(f"[{_CONTROLS}]")
# Variation selectors stay on a terminal: they only choose between two shapes, as of a heart.
_NOT_FOR_TERMINALS: Final = re.compile(f"[{_CONTROLS}{_IGNORABLE.replace(chr(0xFE00) + '-' + chr(0xFE0F), '')}]")

_BASIC_PLANE: Final = 0x10000


def without_invisible(text: str) -> str:
    """Return ``text`` without the characters that leave no mark and no space."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def control_in(text: str) -> str | None:
    """Return the first control character of ``text`` as ``U+001B``, or ``None``."""
    # Whatever is no ASCII and printable has none.
    found = None if text.isprintable() else _CONTROL.search(text)
    return None if found is None else f"U+{ord(found[0]):04X}"


def shown(text: str) -> str:
    r"""Return ``text`` for a terminal: what would steer it, or hide there, stands as ``\x1b`` or ``\u202e``."""
    return _NOT_FOR_TERMINALS.sub(_escape, text)


def shown_lines(text: str) -> str:
    """Return ``text`` as :func:`shown`, with its line ends and tabs as they are."""
    return _NOT_FOR_TERMINALS.sub(lambda one: one[0] if one[0] in "\n\t" else _escape(one), text)


def shown_json(text: str) -> str:
    """Return a JSON document without any such character outside of its escapes: equal to ``text``, and fit to read."""
    return _NOT_FOR_TERMINALS.sub(lambda one: one[0] if one[0] in "\n\t" else _escape_of_json(one), text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode()


def _escape_of_json(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < _BASIC_PLANE:
        return f"\\u{code:04x}"
    high, low = divmod(code - _BASIC_PLANE, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
