"""What the two case series published, to be put beside what the sample cohorts give."""

import tomllib
from importlib.resources import files
from typing import Literal

import msgspec

Cohort = Literal["four-patients", "twenty-four-patients"]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published figure; `note` says what is wrong with it or why it cannot be computed."""

    says: str
    note: str = ""


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case series: where it was published, and its figures by sentence id."""

    source: str
    sentences: dict[str, Statement]


def published(cohort: Cohort) -> dict[str, str]:
    """The published figure by sentence id, with a note in square brackets where one is needed."""
    found = _paper(cohort).sentences
    return {name: one.says + (f" [{one.note}]" if one.note else "") for name, one in found.items()}


def source(cohort: Cohort) -> str:
    """Where the figures of `published` were published."""
    return _paper(cohort).source


def _paper(cohort: Cohort) -> Paper:
    text = (files("dm_fhir.demo") / "published.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Paper])[cohort]
