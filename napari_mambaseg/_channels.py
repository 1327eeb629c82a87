"""Which MRI channel a layer is, guessed from its name, and what people call the channels."""

from __future__ import annotations

import re

_WORDS = {"flair": "FLAIR", "t1": "T1", "t1c": "T1c", "t2": "T2", "pd": "PD", "dwi": "DWI", "adc": "ADC", "swi": "SWI"}
_CONTRAST = r"(?:c|ce|gd|gad|post|contrast|km)"
_PATTERNS = {
    "flair": r"flair|dark ?fluid",
    # BraTS writes t1ce and t1gd, BIDS ce-GADOLINIUM_T1w, hospitals "T1 post" and "T1 KM".
    "t1c": rf"t1w? ?{_CONTRAST}\b|\b{_CONTRAST} ?t1w?\b|ce gad\w* t1w|t1w? .*\b(?:gad\w*|contrast|post|ce)\b",
    "t1": r"t1w?\b|mp ?rage|\bspgr\b",
    "t2": r"\bt2w?\b",
    "dwi": r"\bdwi\b",
    "adc": r"\badc\b",
    "swi": r"\bswi\b",
    "pd": r"\bpdw?\b",
}


def guess_channel(name: str) -> str | None:
    """Return the channel that a file's or layer's name speaks of, None if it speaks of none.

    Examples
    --------
    >>> guess_channel("sub-01_ce-gadolinium_T1w"), guess_channel("case7_FLAIR_0001"), guess_channel("scan")
    ('t1c', 'flair', None)
    """
    words = re.sub(r"[^a-z0-9]+", " ", name.lower())
    return next((channel for channel, pattern in _PATTERNS.items() if re.search(pattern, words)), None)


def spoken(channel: str) -> str:
    """Return the channel as people write it: "FLAIR" for flair."""
    return _WORDS.get(channel, channel)


def without_channel(name: str) -> str:
    """Return a name without the part that speaks of a channel: the same for all volumes of one case."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower())
    for pattern in _PATTERNS.values():
        words = re.sub(pattern, " ", words)
    return " ".join(words.split())
