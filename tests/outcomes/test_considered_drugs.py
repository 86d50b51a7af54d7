"""What an outcome about another drug does not rest on, and why."""

from dm_fhir.model.case import Case
from dm_fhir.outcomes.considered import arithmetic, considered

from .pharmacy import administration, case, computed, copied, days, dosage, infusion, statement

KEPT = statement("kept", "prednisone", days(-200, 84), dosage(10))


def whole() -> Case:
    said = (
        KEPT,
        copied(KEPT, "MedicationStatement/twin"),
        statement("skin", "methylprednisolone", days(-200, 84), dosage(10, "topical")),
        statement("later", "prednisone", days(85, 90), dosage(5)),
        statement("planned", "prednisone", days(-200, 84), dosage(5), status="intended"),
        statement("turned", "prednisone", {"start": "2024-05-01", "end": "2024-04-01"}, dosage(5)),
        statement("over", "methotrexate", days(-400, -300), status="completed"),
        statement("taken", "methotrexate", days(-200)),
    )
    given = [
        administration("depot", "triamcinolone", "2024-05-01", 40, "intramuscular"),
        administration("wrong", "prednisone", "2024-05-01", 40, "oral", status="entered-in-error"),
        administration("undated", "prednisone", "2024-05-01", 40, "oral", effectiveDateTime=None),
        administration("pill", "prednisone", "2024-05-02", 40, "oral"),
    ]
    return case(*said, given=given, infusions=[infusion("0", 0), infusion("1", 84)])


def test_every_record_of_a_glucocorticoid_is_used_or_named_with_the_reason() -> None:
    found = considered(whole(), computed(whole())["prednisone_equivalent_mg_per_day", "last"])
    assert {one.source.reference.partition("/")[2]: one.reason for one in found} == {
        "twin": "duplicate",
        "skin": "route_not_systemic",
        "later": "not_in_force",
        "planned": "status_excluded",
        "turned": "period_reversed",
        "depot": "depot_injection",
        "wrong": "entered_in_error",
        "undated": "time_missing",
        "pill": "not_in_force",
    }


def test_of_another_drug_only_its_own_records_are_named() -> None:
    found = considered(whole(), computed(whole())["methotrexate_change", "last"])
    assert [(one.source.reference, one.variable, one.reason) for one in found] == [
        ("MedicationStatement/over", "methotrexate", "not_in_force")
    ]


def test_a_dose_of_one_drug_of_factor_1_is_not_reckoned_and_any_other_is() -> None:
    plain = whole()
    assert arithmetic(plain, computed(plain)["prednisone_equivalent_mg_per_day", "last"]) is None
    other = case(statement("1", "methylprednisolone", days(-200, 84), dosage(16)), infusions=plain.administrations)
    assert arithmetic(other, computed(other)["prednisone_equivalent_mg_per_day", "last"]) == "16 x 5/4"
    assert arithmetic(other, computed(other)["glucocorticoid_status", "last"]) is None
