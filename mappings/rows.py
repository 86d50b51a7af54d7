"""A row of the mapping tables: what one variable's codes, units and ranges are, and where that was written."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import msgspec

from dm_fhir.mappings.table_file import Entry
from dm_fhir.model.case import Coding

NDC = "http://hl7.org/fhir/sid/ndc"
#: How many digits labeler, product and package have in the long form of an NDC.
_NDC_PARTS = (5, 4, 2)


class DoseUnit(NamedTuple):
    """Milligrams in one unit of a product; `most` is the largest amount in that unit that can be the product itself."""

    mg: Fraction
    most: Fraction | None


class CodeOrigin(NamedTuple):
    """Where a code was given its meaning, and who says so.

    `origin` names file, row and line; `source` is as the table has it; `status` is None, or why the code is read and
    never written: "discouraged" or "superseded".
    """

    origin: str
    source: str | None = None
    status: str | None = None


class Bounds(NamedTuple):
    """From `low` to `high`, both included; without `high` there is no upper end."""

    low: Fraction
    high: Fraction | None = None

    def hold(self, number: Fraction) -> bool:
        """Whether `number` lies within."""
        return self.low <= number and (self.high is None or number <= self.high)


class Form(NamedTuple):
    """A questionnaire that gives a variable: the item (linkId) that holds its total, else the items that make it up.

    `prevented` is the item that says whether the skin prevented work (DLQI question 7).
    """

    canonical: str
    total: str | None = None
    items: tuple[str, ...] = ()
    prevented: str | None = None


class Row(msgspec.Struct, frozen=True, eq=False):
    """What the tables say of one variable. `unit` None: it has no number. `range` and `plausible` include both ends.

    `line`: a mark on a line of 10 cm. `whole`: other than whole numbers are flagged. `parse_text`: numbers in text are
    read. `values`: what a coded value (system, code) amounts to. `origin` names every place that the row was put together from; `code_origins` that of each code, by (system, code).
    """

    kind: str
    variable: str
    codes: tuple[Coding, ...] = ()
    unit: str | None = None
    units: dict[str, Fraction] = {}
    assumed_units: dict[str, Fraction] = {}
    unitless: bool = False
    range: Bounds | None = None
    plausible: Bounds | None = None
    scale: int | None = None
    line: bool = False
    whole: bool = False
    parse_text: bool = False
    values: dict[tuple[str, str], Decimal] = {}
    forms: tuple[Form, ...] = ()
    answers: bool = False
    panel: bool = False
    diagnosis: bool = False
    subtype: str | None = None
    label_dose_mg: Fraction | None = None
    dose_units: dict[tuple[str, str], dict[str, DoseUnit]] = {}
    times_per_day: Fraction | None = None
    origin: str = ""
    code_origins: dict[tuple[str, str], CodeOrigin] = {}

    @property
    def excluded(self) -> bool:
        """Whether the variable is known only so that its records are left out: CK-MB is never CK."""
        return is_excluded(self.variable)

    @property
    def codes_to_write(self) -> tuple[Coding, ...]:
        """The codes without those that are read and never written: discouraged or superseded ones."""
        return tuple(code for code in self.codes if not self.code_origins[key_of(code)].status)


def is_excluded(variable: str) -> bool:
    """Whether a variable is one of those that are recognised in order to be left out."""
    return variable.startswith("exclude_") or variable.endswith("_nonsystemic")


def key_of(code: Coding) -> tuple[str, str]:
    """System and code; empty where there is none."""
    return (code.system or "", code.code or "")


def built(entry: Entry, aliases: Mapping[str, str]) -> Row:
    """The row that a table's entry describes, its codes under their systems' usual names, NDC in each of its forms."""
    says = entry.says
    codes: dict[tuple[str, str], Coding] = {}
    origins: dict[tuple[str, str], CodeOrigin] = {}
    dose_units: dict[tuple[str, str], dict[str, DoseUnit]] = {}
    for code, origin in zip(says.get("codes", ()), entry.code_origins, strict=True):
        system = aliases.get(code["system"], code["system"])
        for form in ndc_forms(code["code"]) if system == NDC else (code["code"],):
            key = (system, form)
            if key not in codes or form == code["code"]:
                codes[key] = Coding(*key, code.get("display"))
                origins[key] = CodeOrigin(origin, code.get("source"), code.get("status"))
            if "dose_units" in code:
                dose_units[key] = _dose_units(code["dose_units"])
    return Row(
        kind=entry.kind,
        variable=says["variable"],
        codes=tuple(codes.values()),
        unit=says.get("unit"),
        units=factors(says.get("units", {})),
        assumed_units=factors(says.get("assumed_units", {})),
        unitless=says.get("unitless", False),
        range=_bounds(says.get("range")),
        plausible=_bounds(says.get("plausible")),
        scale=says.get("scale"),
        line=says.get("line", False),
        whole=says.get("whole", False),
        parse_text=says.get("parse_text", False),
        values={
            (aliases.get(one["system"], one["system"]), one["code"]): Decimal(one["value"])
            for one in says.get("values", ())
        },
        forms=tuple(Form(**{**form, "items": tuple(form.get("items", ()))}) for form in says.get("forms", ())),
        answers=says.get("answers", False),
        panel=says.get("panel", False),
        diagnosis=says.get("diagnosis", False),
        subtype=says.get("subtype"),
        label_dose_mg=fraction(says["label_dose_mg"]) if "label_dose_mg" in says else None,
        dose_units=dose_units,
        times_per_day=fraction(says["times_per_day"]) if "times_per_day" in says else None,
        origin=entry.origin,
        code_origins=origins,
    )


def merged(old: Row, new: Row) -> Row:
    """The site's row added to ours: its codes and units come on top, and what it states it overrules."""
    stated = {
        name: value for name in Row.__struct_fields__ if (value := getattr(new, name)) not in (None, False, (), {})
    }
    for name in ("units", "assumed_units", "dose_units", "values"):
        stated[name] = {**getattr(old, name), **getattr(new, name)}
    added = [code for code in new.codes if key_of(code) not in old.code_origins]
    stated |= {"codes": (*old.codes, *added), "code_origins": {**new.code_origins, **old.code_origins}}
    stated |= {"forms": old.forms + new.forms, "origin": f"{old.origin}; {new.origin}"}
    return msgspec.structs.replace(old, **stated)


def in_place_of(old: Row, new: Row) -> Row:
    """The site's row instead of ours. What the rules count on stays: the unit, and whether there is a number at all."""
    return msgspec.structs.replace(new, unit=old.unit, answers=old.answers, panel=old.panel)


def ndc_forms(code: str) -> Iterator[str]:
    """A National Drug Code in each way that it is written: as given, with 10 and 11 digits, with and without hyphens.

    Ten digits without hyphens do not tell where labeler and product end, so nothing can be made of those alone.
    """
    parts = code.split("-")
    if len(parts) == 1 and len(code) == sum(_NDC_PARTS):
        parts = [code[:5], code[5:9], code[9:]]
    forms = [code]
    if len(parts) == len(_NDC_PARTS) and all(part.isdigit() for part in parts):
        long = [part.zfill(length) for part, length in zip(parts, _NDC_PARTS, strict=True)]
        forms += ["-".join(long), "".join(long), "".join(parts)]
    return iter(dict.fromkeys(forms))


def factors(units: Mapping[str, str]) -> dict[str, Fraction]:
    """Each unit with its factor, exact."""
    return {unit: fraction(factor) for unit, factor in units.items()}


@cache
def fraction(text: str) -> Fraction:
    """The exact number of "60", "0.5" or "3/50"."""
    numerator, _, denominator = text.partition("/")
    return Fraction(numerator) / Fraction(denominator or 1)


def _bounds(ends: Sequence[str] | None) -> Bounds | None:
    return Bounds(*map(fraction, ends)) if ends else None


def _dose_units(units: Mapping[str, Mapping[str, str]]) -> dict[str, DoseUnit]:
    return {u: DoseUnit(fraction(e["mg"]), fraction(e["most"]) if "most" in e else None) for u, e in units.items()}
