"""The code systems and codes that the sample resources carry."""

from typing import NamedTuple

ATC = "http://www.whocc.no/atc"
EDQM = "http://standardterms.edqm.eu"
HPO = "http://human-phenotype-ontology.org"
ICD_10_CM = "http://hl7.org/fhir/sid/icd-10-cm"
LOINC = "http://loinc.org"
MEASUREMENT = "https://w3id.org/dm-fhir/CodeSystem/measurement"
NCIT = "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"

CONDITION_CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
RACE = "urn:oid:2.16.840.1.113883.6.238"
SERIOUSNESS = "http://terminology.hl7.org/CodeSystem/adverse-event-seriousness"

SAMPLE_TAG = "https://w3id.org/dm-fhir/CodeSystem/sample"
SAMPLE_MRN = "https://w3id.org/dm-fhir/sample/mrn"
SAMPLE_RESULT = "https://w3id.org/dm-fhir/sample/result"
US_CORE_RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"


class Code(NamedTuple):
    """One code of one code system with its display."""

    system: str
    code: str
    display: str


ANIFROLUMAB = (
    Code(RXNORM, "2565286", "2 ML anifrolumab-fnia 150 MG/ML Injection [Saphnelo]"),
    Code(ATC, "L04AG11", "anifrolumab"),
)
INTRAVENOUS = Code(EDQM, "20045000", "Intravenous use")
ORAL = Code(SNOMED, "26643006", "Oral route")
LOST_TO_FOLLOW_UP = Code(MEASUREMENT, "lost-to-follow-up", "Lost to follow-up")

INDICATIONS = {
    "skin": Code(MEASUREMENT, "indication-skin", "Refractory skin disease"),
    "musculoskeletal": Code(MEASUREMENT, "indication-musculoskeletal", "Musculoskeletal activity"),
}

SUBTYPES = {
    "adult": (Code(SNOMED, "402425006", "Adult onset dermatomyositis"),),
    "classic": (
        Code(ICD_10_CM, "M33.12", "Other dermatomyositis with myopathy"),
        Code(SNOMED, "402425006", "Adult onset dermatomyositis"),
    ),
    "amyopathic": (Code(SNOMED, "238935002", "Dermatomyositis sine myositis"),),
    "juvenile": (Code(SNOMED, "1212005", "Childhood type dermatomyositis"),),
    "antisynthetase": (Code(SNOMED, "445187004", "Antisynthetase syndrome"),),
}
PARANEOPLASTIC = Code(SNOMED, "239901009", "Dermatomyositis with malignant disease")
GOWERS_SIGN = Code(SNOMED, "298294005", "Gowers sign")

MANIFESTATIONS = {
    "gottron_papules": Code(HPO, "HP:0025508", "Gottron's papules"),
    "pruritus": Code(HPO, "HP:0000989", "Pruritus"),
    "periorbital_erythema": Code(HPO, "HP:0040324", "Heliotrope rash"),
    "periungual_erythema": Code(HPO, "HP:0033425", "Periungual erythema"),
    "alopecia": Code(HPO, "HP:0001596", "Alopecia"),
    "calcinosis": Code(HPO, "HP:0025520", "Calcinosis cutis"),
    "musculoskeletal_involvement": Code(MEASUREMENT, "musculoskeletal-involvement", "Musculoskeletal involvement"),
    "dysphagia": Code(HPO, "HP:0002015", "Dysphagia"),
    "arthritis": Code(HPO, "HP:0001369", "Arthritis"),
    "synovitis": Code(HPO, "HP:0100769", "Synovitis"),
    "proximal_weakness": Code(HPO, "HP:0003701", "Proximal muscle weakness"),
    "interstitial_lung_disease": Code(HPO, "HP:0006530", "Abnormal pulmonary interstitial morphology"),
}

BACKGROUND_DRUGS = {
    "azathioprine": Code(ATC, "L04AX01", "azathioprine"),
    "baricitinib": Code(ATC, "L04AF02", "baricitinib"),
    "hydroxychloroquine": Code(ATC, "P01BA02", "hydroxychloroquine"),
    "immunoglobulin": Code(ATC, "J06BA02", "immunoglobulins, normal human, for intravascular adm."),
    "methotrexate": Code(ATC, "L04AX03", "methotrexate"),
    "mycophenolate": Code(ATC, "L04AA06", "mycophenolic acid"),
    "prednisolone": Code(ATC, "H02AB06", "prednisolone"),
    "prednisone": Code(ATC, "H02AB07", "prednisone"),
    "rituximab": Code(ATC, "L01FA01", "rituximab"),
    "ruxolitinib": Code(ATC, "L01EJ01", "ruxolitinib"),
    "tacrolimus": Code(ATC, "L04AD02", "tacrolimus"),
    "tofacitinib": Code(ATC, "L04AF01", "tofacitinib"),
}

CDASI_ACTIVITY = Code(MEASUREMENT, "cdasi-activity", "CDASI activity score")
MMT8_150 = Code(MEASUREMENT, "mmt8-150", "MMT8 score, both sides, 0-150")
DLQI = Code(MEASUREMENT, "dlqi", "Dermatology Life Quality Index score")
DLQI_NCIT = Code(NCIT, "C119174", "DLQI - Score")
CREATINE_KINASE = Code(LOINC, "2157-6", "Creatine kinase [Enzymatic activity/volume] in Serum or Plasma")

POSITIVE = Code(SNOMED, "10828004", "Positive")
NEGATIVE = Code(SNOMED, "260385009", "Negative")

ADVERSE_EVENTS = {
    "impetigo": (Code(SNOMED, "48277006", "Impetigo"), "Impetigo"),
    "urinary_tract_infection": (
        Code(SNOMED, "68566005", "Urinary tract infectious disease"),
        "Urinary tract infection",
    ),
    "herpes_zoster": (Code(SNOMED, "4740000", "Herpes zoster"), "Herpes zoster"),
    "arthralgia_myalgia": (Code(SNOMED, "57676002", "Joint pain"), "Arthralgia/myalgia"),
}

RACES = {
    "White": Code(RACE, "2106-3", "White"),
    "Black": Code(RACE, "2054-5", "Black or African American"),
    "Asian": Code(RACE, "2028-9", "Asian"),
    "American": Code(RACE, "1002-5", "American Indian or Alaska Native"),
}
