"""What was written to the sites, as the store knows it: where each outcome is on the server, in which version, since when."""

from collections.abc import Mapping, Sequence
from typing import Any

from dm_fhir.cli.map_check import printable
from dm_fhir.errors import in_a_line
from dm_fhir.store.pushes import Written


def written_lines(rows: Mapping[str, Sequence[Written]]) -> list[str]:
    """A line for each outcome that was ever sent, or kept back."""
    return [
        line for site, some in rows.items() for line in (f"{site}: {len(some)} in the ledger", *map(written_line, some))
    ]


def written_line(one: Written) -> str:
    """`  confirmed: ck_baseline of Patient/7: Observation/88, version 2, 2025-06-01T10:00:00Z, run 3`."""
    name = f"{one.variable}{f'@{one.about}' if one.about else ''} of {one.patient}"
    return printable(f"  {one.state}: {name}: {where(one)}")


def where(one: Written) -> str:
    """Where it is, in which version, since when and by which run; what is wrong with it."""
    version = f"version {one.version}" if one.version else "no version told" if one.server_id else ""
    message = in_a_line(one.message) if one.message else ""
    parts = (one.server_id or "not known to be there", version, one.when, f"run {one.run}", message)
    return ", ".join(part for part in parts if part)


def written_details(rows: Mapping[str, Sequence[Written]]) -> dict[str, Any]:
    """The same for machines, by site."""
    return {site: [details(one) for one in some] for site, some in rows.items()}


def details(one: Written) -> dict[str, Any]:
    """One of them; `reference` and `version` are null until the server has told them."""
    named = one._asdict()
    return {"reference" if name == "server_id" else name: value for name, value in named.items()}
