"""Recognise columns that look like personal data, by the values of a sample and by their names. No value is told."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_LEAST_MATCHES = 3
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,}")
_PHONES = (
    re.compile(r"\+\d[\d ().-]{6,18}\d"),  # international
    re.compile(r"(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"),  # North America
    re.compile(r"\(?0\d{1,4}\)?[ /-]\d{3,4}[ -]?\d{3,5}"),  # trunk prefix, as in most of Europe
)
_CARD = re.compile(r"[2-6]\d{3}(?:[ -]?\d){9,15}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
_NATIONAL = (
    re.compile(r"(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}"),  # social security number, US
    re.compile(r"(?![DFIQUV])[A-Z](?![DFIOQUV])[A-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"),  # national insurance number, UK
    re.compile(r"[A-Z]{6}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]"),  # codice fiscale, Italy
    re.compile(r"\d{3}\.\d{3}\.\d{3}-\d{2}"),  # CPF, Brazil
)
# the letter of a Spanish id stands for its number's remainder by 23
_DNI, _DNI_LETTERS = re.compile(r"(\d{8})-?([A-Z])"), "TRWAGMYFPDXBNJZSQVHLCKE"
_NAMES = {
    "e-mail address": re.compile(r"e_?mails?(_address)?"),
    "phone number": re.compile(r"(tele|cell|mobile_?)?phone(_?(no|nr|number))?|mobile(_?(no|nr|number))"),
    "card number": re.compile(r"(credit_?|debit_?)?card_?(no|nr|number)|pan"),
    "national id": re.compile(
        r"ssn|nino|iban|national_?(id|insurance).*|social_?security.*|passport(_?(no|nr|number|id))?"
    ),
}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One column that looks like personal data: the share of its values that do, 1 where its name says so."""

    column: str
    kind: str
    share: float
    by_name: bool = False


def scan_columns(
    samples: Mapping[str, Sequence[str | None]], cleared: Collection[str], limits: Mapping[str, float] | None = None
) -> list[Suspicion]:
    """Return the columns that look like personal data and are not cleared, by column; one kind each.

    A kind counts when at least three values, and more than its limit of those that are not null, have its form. Whole
    numbers that pass a check digit by chance stay far below the limit of cards.
    """
    allowed = limits or LIMITS
    found = (_suspect(name, values, allowed) for name, values in sorted(samples.items()) if name not in cleared)
    return [suspicion for suspicion in found if suspicion is not None]


def _suspect(column: str, values: Iterable[str | None], limits: Mapping[str, float]) -> Suspicion | None:
    texts = [text for value in values if value is not None and (text := value.strip())]
    for kind, is_kind in _KINDS.items():
        matches = sum(map(is_kind, texts))
        if matches >= _LEAST_MATCHES and matches > limits[kind] * len(texts):
            return Suspicion(column, kind, matches / len(texts))
    plain = re.sub(r"[^a-z]+", "_", column.lower()).strip("_")
    for kind, name in _NAMES.items():
        if texts and name.fullmatch(plain):
            return Suspicion(column, kind, 1.0, by_name=True)
    return None


def _is_mail(text: str) -> bool:
    # asked first: without an `@` the search takes time that grows with the square of a text
    return "@" in text and _MAIL.search(text) is not None


def _is_phone(text: str) -> bool:
    return any(form.fullmatch(text) for form in _PHONES)


def _is_card(text: str) -> bool:
    return _CARD.fullmatch(text) is not None and _passes_luhn([int(digit) for digit in text if digit.isdecimal()])


def _is_national_id(text: str) -> bool:
    if any(form.fullmatch(text) for form in _NATIONAL):
        return True
    dni = _DNI.fullmatch(text)
    if dni is not None:
        return _DNI_LETTERS[int(dni[1]) % len(_DNI_LETTERS)] == dni[2]
    return _IBAN.fullmatch(text) is not None and _passes_mod_97(text.replace(" ", ""))


def _passes_luhn(digits: Sequence[int]) -> bool:
    """Check the last digit (ISO/IEC 7812-1, annex B).

    >>> _passes_luhn([4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    True
    """
    return sum(_doubled(digits)) % 10 == 0


def _doubled(digits: Sequence[int]) -> Iterator[int]:
    for place, digit in enumerate(reversed(digits)):
        yield digit if place % 2 == 0 else sum(divmod(2 * digit, 10))


def _passes_mod_97(iban: str) -> bool:
    """Check an IBAN's digits (ISO 13616-1).

    >>> _passes_mod_97("GB82WEST12345698765432")
    True
    """
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


_KINDS: Mapping[str, Callable[[str], bool]] = {
    "e-mail address": _is_mail,
    "phone number": _is_phone,
    "card number": _is_card,
    "national id": _is_national_id,
}
# free text holds few addresses but none by chance; of random digits one in ten passes a card's check digit
LIMITS: Mapping[str, float] = {"e-mail address": 0.05, "phone number": 0.2, "card number": 0.4, "national id": 0.2}
