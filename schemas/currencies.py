"""Currencies: the codes of ISO 4217, what people write in their place, and codes that are no more. Pure.

The list of codes is the maintenance agency's own, as the package iso4217 carries it; a newer one comes with a newer
package. A currency that was replaced is no other name of its successor: the amounts differ by factors up to 10 000.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import iso4217

# Bullion, funds and codes for tests have no minor unit; nobody is paid in them.
_NO_MONEY: Final = "N.A."

CODES: Final[frozenset[str]] = frozenset(
    str(code) for code, entry in iso4217.raw_table.items() if code and entry.get("CcyMnrUnts") != _NO_MONEY
)
# What accounting programs write (1C among them): 643 is the rouble.
_BY_NUMBER: Final[Mapping[str, str]] = {f"{iso4217.raw_table[code]['CcyNbr']:03d}": code for code in CODES}

# The rouble's code and number until 1998. Programs that were never changed write them for today's rouble, and nobody
# has priced anything in the old one since.
_ROUBLE: Final = "RUB"
_CERTAIN: Final[Mapping[str, str]] = {"RUR": _ROUBLE, "810": _ROUBLE}

# Source: ISO 4217, list three ("Historic denominations"), those of the last thirty years: successor and year.
_REPLACED: Final[Mapping[str, tuple[str, int]]] = {
    "AFA": ("AFN", 2003), "ANG": ("XCG", 2025), "AON": ("AOA", 2000), "AOR": ("AOA", 2000), "ATS": ("EUR", 2002),
    "AZM": ("AZN", 2006), "BEF": ("EUR", 2002), "BGN": ("EUR", 2026), "BYB": ("BYN", 2000),
    "BYR": ("BYN", 2016), "CSD": ("RSD", 2006), "CUC": ("CUP", 2021), "CYP": ("EUR", 2008), "DEM": ("EUR", 2002),
    "ECS": ("USD", 2000), "EEK": ("EUR", 2011), "ESP": ("EUR", 2002), "FIM": ("EUR", 2002), "FRF": ("EUR", 2002),
    "GHC": ("GHS", 2008), "GRD": ("EUR", 2002), "HRK": ("EUR", 2023), "IEP": ("EUR", 2002), "ITL": ("EUR", 2002),
    "LTL": ("EUR", 2015), "LUF": ("EUR", 2002), "LVL": ("EUR", 2014), "MGF": ("MGA", 2004), "MRO": ("MRU", 2018),
    "MTL": ("EUR", 2008), "MXP": ("MXN", 1993), "MZM": ("MZN", 2006), "NLG": ("EUR", 2002), "PLZ": ("PLN", 1997),
    "PTE": ("EUR", 2002), "ROL": ("RON", 2005), "SDD": ("SDG", 2007), "SIT": ("EUR", 2007), "SKK": ("EUR", 2009),
    "SLL": ("SLE", 2022), "SRG": ("SRD", 2004), "STD": ("STN", 2018), "TJR": ("TJS", 2001), "TMM": ("TMT", 2009),
    "TRL": ("TRY", 2005), "UAK": ("UAH", 1996), "VEB": ("VES", 2008), "VEF": ("VES", 2018),
    "XEU": ("EUR", 1999), "YUM": ("RSD", 2003), "ZMK": ("ZMW", 2013), "ZWD": ("ZWG", 2008), "ZWL": ("ZWG", 2024),
    "ZWR": ("ZWG", 2009),
}  # fmt: skip

_DOLLARS: Final = ("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN", "ARS", "CLP", "COP")
_ROUBLES: Final = ("RUB", "BYN")
# What people write behind or before an amount, in lower case and without points. Where several currencies are called
# so, the usual one is first.
_SPOKEN: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("₽", "росруб"), ("RUB",)),
    **dict.fromkeys(("руб", "р", "рубль", "рубля", "рублей", "рубли", "rub", "p"), _ROUBLES),
    **dict.fromkeys(("белруб", "бр"), ("BYN",)),
    **dict.fromkeys(("br",), ("BYN", "ETB")),
    **dict.fromkeys(("$", "us$", "$us", "долл", "доллар", "доллара", "долларов", "usd$"), _DOLLARS),
    **dict.fromkeys(("€", "евро", "euro"), ("EUR",)),
    **dict.fromkeys(("£",), ("GBP",)),
    **dict.fromkeys(("₸", "тг", "тенге"), ("KZT",)),
    **dict.fromkeys(("₴", "грн", "гривна", "гривны", "гривен"), ("UAH",)),
    **dict.fromkeys(("֏", "драм", "амд"), ("AMD",)),
    **dict.fromkeys(("₾", "лари"), ("GEL",)),
    **dict.fromkeys(("₼", "манат"), ("AZN",)),
    **dict.fromkeys(("₺",), ("TRY",)),
    **dict.fromkeys(("₹",), ("INR",)),
    **dict.fromkeys(("₪",), ("ILS",)),
    **dict.fromkeys(("zł", "zl"), ("PLN",)),
    **dict.fromkeys(("kč",), ("CZK",)),
    **dict.fromkeys(("сум", "soʻm", "so'm"), ("UZS",)),
    **dict.fromkeys(("сом",), ("KGS",)),
    # The same sign for yen and yuan, and neither is the usual one: only with a code beside it.
    **dict.fromkeys(("¥", "￥", "元", "円"), ("", "CNY", "JPY")),
}


class NoCurrency(ValueError):
    """The text names no currency that an amount can be told in; the message says why and what to send."""


def currencies_named(text: str) -> tuple[str, ...]:
    """Return the codes of ISO 4217 that ``text`` may stand for, the likeliest first: of a code exactly one.

    An empty first one says that none is likelier than the others.

    Raises:
        NoCurrency: it names none, or one that was replaced.
    """
    written = text.strip()
    code = written.upper()
    code = _CERTAIN.get(code, code)
    code = _BY_NUMBER.get(code, code)
    if code in CODES:
        return (code,)
    if code in _REPLACED:
        successor, year = _REPLACED[code]
        raise NoCurrency(f"is {code}, which {successor} replaced in {year}; send the amount in {successor}")
    if spoken := _SPOKEN.get("".join(written.casefold().replace(".", "").split())):
        return spoken
    raise NoCurrency("is no currency of ISO 4217; send its three letters, for example RUB")


def chosen(candidates: Iterable[str], *, usual: str | None) -> str:
    """Return which of ``candidates`` is meant where ``usual`` is what the webhook counts in.

    Raises:
        NoCurrency: it cannot be told.
    """
    listed = tuple(candidates)
    found = usual if usual in listed else listed[0]
    if not found:
        raise NoCurrency("is a sign of several currencies; send three letters of ISO 4217, for example CNY")
    return found


def current_code(code: str) -> str:
    """Return the code that stands for the same money today: ``RUB`` for ``RUR``; any other as it is."""
    return _CERTAIN.get(code, code)
