"""A dose in milligrams: directly, by the product's own units, or by the strength that a Medication states."""

from fractions import Fraction

from dm_fhir.mappings.codes import Tables, unit_names
from dm_fhir.model.case import Concept, Quantity, Ratio

#: What one piece of a drug is called, in UCUM, HL7's dose forms and words. A Medication states its strength per piece.
PIECES = frozenset(
    ("{tbl}", "{tablet}", "{capsule}", "{piece}", "1", "TAB", "Tab", "CAP", "tablet", "tablets", "Tablet",
     "capsule", "capsules", "Capsule")
)  # fmt: skip


def dose_in_mg(
    dose: Quantity | None, medication: Concept | None, tables: Tables
) -> tuple[Fraction | None, tuple[str, ...]]:
    """The dose in milligrams, exact, or None with the flag that says why (R-EXP). No dose at all has no flag.

    Flags: `comparator`, `unit_missing`, `unit_incompatible`, `concentration_unknown`, `volume_is_bag`.
    """
    if dose is None or dose.value is None:
        return None, ()
    if dose.comparator is not None:
        return None, ("comparator",)  # "<300 mg" is a bound, no dose
    names = unit_names(dose)
    if not names:
        return None, ("unit_missing",)
    for name in names:
        if name in tables.mass_units:
            return Fraction(dose.value) * tables.mass_units[name], ()
    return _product_dose(Fraction(dose.value), names, medication, tables)


def dose_by_strength(dose: Quantity, strength: Ratio | None, tables: Tables) -> Fraction | None:
    """The dose of so many tablets or millilitres of a known strength in milligrams, exact; None if it does not tell."""
    if dose.value is None or dose.comparator is not None or strength is None:
        return None
    mass, per = strength.numerator, strength.denominator
    if mass is None or mass.value is None or mass.comparator is not None:
        return None
    factor = next((tables.mass_units[name] for name in unit_names(mass) if name in tables.mass_units), None)
    if factor is None or not _alike(dose, per):
        return None
    amount = Fraction(1) if per is None or per.value is None else Fraction(per.value)
    return Fraction(dose.value) * Fraction(mass.value) * factor / amount if amount > 0 else None


def _alike(dose: Quantity, per: Quantity | None) -> bool:
    """Whether the dose counts what the strength is stated for: the same unit, or pieces of both."""
    ours, theirs = set(_unit(dose)), set(_unit(per))
    if ours & PIECES and (theirs & PIECES or not theirs):
        return True
    return bool(ours & theirs)


def _unit(quantity: Quantity | None) -> tuple[str, ...]:
    """Every name of the unit; mL is also written ml. A piece may stand in the text beside a code of another system."""
    if quantity is None:
        return ()
    names = [name for name in (quantity.code, quantity.unit) if name]
    return tuple("mL" if name == "ml" else name for name in names)


def _product_dose(
    value: Fraction, names: tuple[str, ...], medication: Concept | None, tables: Tables
) -> tuple[Fraction | None, tuple[str, ...]]:
    codings = medication.codings if medication else ()
    row = tables.row("medication", codings)
    units = tables.dose_units(row, codings) if row else {}
    known = next((units[name] for name in names if name in units), None)
    if known is None:
        return None, ("concentration_unknown" if "mL" in names else "unit_incompatible",)
    if known.most is not None and value > known.most:
        return None, ("volume_is_bag",)
    return value * known.mg, ()
