"""Variables, reasons and units in words for a reader. A name without words of its own is shown with blanks."""

_DRUGS = {
    "glucocorticoid": "systemic glucocorticoid",
    "immunoglobulin": "intravenous immunoglobulin",
    "scig": "subcutaneous immunoglobulin",
}
_CONDITIONS = {
    "gottron_papules": "Gottron's papules",
    "gottron_sign": "Gottron's sign",
    "gowers_sign": "Gowers' sign",
    "ild": "interstitial lung disease",
    "v_sign": "V sign",
    "mechanics_hands": "mechanic's hands",
    "raynaud": "Raynaud's phenomenon",
}
_ANTIBODIES = {
    "anti_tif1g": "anti-TIF1\N{GREEK SMALL LETTER GAMMA}",
    "anti_mda5": "anti-MDA5",
    "anti_sae1": "anti-SAE",
    "anti_mi2": "anti-Mi-2",
    "anti_nxp2": "anti-NXP2",
    "anti_srp": "anti-SRP",
    "anti_ars": "anti-ARS",
    "anti_ro52": "anti-Ro52",
}
_EVENTS = {"ae_uti": "urinary tract infection"}
_REASONS = {
    "baseline_missing": "baseline missing",
    "followup_missing": "follow-up missing",
    "no_exposure": "the study drug was never given",
    "baseline_zero": "baseline is 0, so there is no percentage",
    "conflict": "two values of equal rank contradict each other",
    "measure_missing": "neither baseline nor follow-up",
    "uln_missing": "no upper limit of normal is known",
    "uln_differs": "the two results have different upper limits of normal",
    "range_not_configured": "the study does not say how wide the scale is",
    "population_unknown": "whether the patient was an adult at the first infusion is unknown",
    "no_window": "it lies in the window of no visit",
    "not_nearest": "another value lies nearer to the day of the visit",
    "not_followed": "another enzyme or scale is followed",
    "scale_mixed": "baseline and follow-up are on different scales",
    "scale_ambiguous": "the scale cannot be told",
    "scale_conflict": "the evidence for the scale is contradictory",
    "uln_configured": "the upper limit of normal is the study's",
    "from_total": "total minus damage of one assessment",
    "above_published_maximum": "above the highest value ever published",
    "comparator": "the value is only a bound (< or >)",
    "dose_unknown": "the dose of an infusion is unknown",
    "total_is_not_activity": "only a total is recorded, which is not activity",
    "status_excluded": "the record's status is not final, amended or corrected",
    "outside_window": "the value lies outside the baseline window",
    "window_unknown": "a partial date leaves the window undecided",
    "order_unknown": "a partial date leaves the order undecided",
    "value_missing": "the record has no value",
    "value_is_string": "the value is free text",
    "value_not_mapped": "no table says what the code of the value is worth",
    "value_not_a_number": "the value is no number",
    "use_cdlqi": "too young for the DLQI",
    "dose_missing": "no dose is stated",
    "as_needed": "taken only as needed",
    "route_not_systemic": "the drug is not given to the whole body",
    "unit_missing": "the unit is missing",
    "unit_incompatible": "the unit cannot be converted",
    "out_of_range": "the value is outside the scale",
    "time_missing": "the record has no date",
    "time_unreadable": "the record's date cannot be read",
    "after_first_infusion": "it lies after the first infusion",
    "superseded": "an amended or later copy of the same result stands",
    "duplicate": "a copy of another record",
    "not_latest": "a later value stands before the first infusion",
    "less_precise": "another value's date is more precise",
    "blocked_by_conflict": "later values contradict each other, and an older one is not taken instead",
    "days_known": "the days of the 28 before the first infusion that are documented",
    "not_documented": "no record tells the dose of the day",
    "no_factor": "no factor to prednisone is known for the drug",
    "start_missing": "the record does not say when it began",
    "end_missing": "the record does not say until when it held",
    "partial_date": "a partial date leaves the day undecided",
    "overlap_unclear": "two entries run side by side: a renewal, or a dose on top?",
    "pulse_reported_separately": "a pulse, which is listed apart",
    "first_day_unknown": "the day of the first infusion is not known",
    "last_day_unknown": "the day of the last infusion is not known",
    "stop_not_documented": "no record tells whether it was stopped",
    "not_discontinued": "it was not discontinued",
    "reason_missing": "no record tells why",
    "none_at_baseline": "no glucocorticoid at baseline",
    "not_juvenile": "not known to have juvenile dermatomyositis, so not asked",
    "regimen_missing": "given, but no record says how it is to be given",
    "period_reversed": "the record ends before it begins",
    "depot_injection": "a depot injection, which has no daily dose",
    "duplicate_suspected": "a record with the same content was taken for a copy",
    "censored_at_death": "follow-up ends with the death",
    "death_date_missing": "the patient died, the day is not known",
    "not_in_force": "not in force on the days that count",
    "not_in_force_at_end": "no longer in force at the end of follow-up",
    "implausible": "implausibly high",
    "not_given": "it was not given",
    "entered_in_error": "it was entered in error",
}
_VERDICTS = {
    "ge_25": "reduced by 25 % or more",
    "ge_50": "reduced by 50 % or more",
    "le_7_5": "7.5 mg a day or less",
    "le_5": "5 mg a day or less",
    "coverage_days": "documented days of the 28 before the first infusion",
    "pulses_in_baseline": "days with a pulse among them",
    "zero_days": "consecutive days documented as 0 mg",
    "reduction_percent": "reduction since baseline in %",
    "interval_days": "days between doses",
    "interval_days_baseline": "days between doses at the first infusion",
}
_BANDS = {
    "mild_moderate": "mild to moderate",
    "moderate_severe": "moderate to severe",
    "severe_very_severe": "severe to very severe",
}
_UNITS = {"{score}": "points", "{infusion}": "infusions", "{ULN}": "x ULN"}


def drug_words(variable: str) -> str:
    """A drug or group of drugs."""
    return _DRUGS.get(variable, _plain(variable))


def condition_words(variable: str) -> str:
    """A manifestation."""
    return _CONDITIONS.get(variable, _plain(variable))


def antibody_words(variable: str) -> str:
    """An antibody or group of antibodies."""
    return _ANTIBODIES.get(variable, _plain(variable))


def event_words(variable: str) -> str:
    """An adverse event; text that is no variable stays as it is."""
    return _EVENTS.get(variable, _plain(variable.removeprefix("ae_")))


def reason_words(reason: str) -> str:
    """Why something could not be computed; a name behind a colon is kept."""
    code, _, name = reason.partition(":")
    return _REASONS.get(code, _plain(code)) + (f" ({_plain(name)})" if name else "")


def visit_words(visit: str) -> str:
    """The name of a visit; "last" is the last follow-up."""
    return "last follow-up" if visit == "last" else _plain(visit)


def verdict_words(name: str) -> str:
    """What a verdict is about: a threshold, a band, or a definition that was used."""
    return _VERDICTS.get(name, _plain(name))


def band_words(band: str) -> str:
    """A band of severity; one that reaches from one word to another says so."""
    return _BANDS.get(band, _plain(band))


def unit_words(unit: str | None) -> str:
    """A unit; UCUM's braces become words."""
    return _UNITS.get(unit or "", unit or "")


def _plain(name: str) -> str:
    return name.replace("_", " ")
