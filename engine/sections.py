"""Sections of files that people write: keys that have to be there, and keys that are none."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from .tabulation import shown


def section_of(document: Mapping, key: str, where: str = "") -> dict:
    """The section of a name; ValueError if it is missing, or none."""
    require_key(where, document, key)
    section = document[key]
    if not isinstance(section, dict):
        raise ValueError(f"{where}{key}: found {shown(section)}, expected a section of keys and values")
    return section


def require_key(where: str, section: Mapping, key: str) -> None:
    """ValueError unless a section has a key; `where` goes before its name."""
    if key not in section:
        raise ValueError(f"{where}{key}: missing{suggestion(key, section, ', found {}')}")


def check_keys(where: str, section: Mapping, required: Collection[str], optional: Collection[str]) -> None:
    """ValueError unless a section has all keys that are required, and no others than these and the optional ones."""
    known = [*required, *optional]
    for key in section:
        if key not in known:
            raise ValueError(f"{where}{key}: unknown key, expected {', '.join(known)}{suggestion(key, known)}")
    for key in required:
        require_key(where, section, key)


def suggestion(found: str, known: Collection[str], text: str = "; did you mean {}?") -> str:
    """The text with the known name that is nearest to what was found; empty if none is near."""
    nearest = difflib.get_close_matches(found, known, n=1, cutoff=0.6)
    return text.format(nearest[0]) if nearest else ""
