"""The vendor table as docs/servers.md shows it. `python -m tests.servers.vendor_table` writes it there."""

from pathlib import Path

from dm_fhir.fhir.vendors import Vendor, vendors

DOCS = Path(__file__).parents[2] / "docs" / "servers.md"
BEGIN, END = "<!-- vendors -->\n", "<!-- /vendors -->"


def shown_table() -> str:
    """The table as it stands in the docs."""
    return DOCS.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def vendor_table() -> str:
    """One row per vendor, and below it where each row comes from."""
    lines = ["| vendor | its settings | reading | writing | bulk |", "|---|---|---|---|---|"]
    lines += [_row(vendor) for vendor in vendors().values()]
    lines += ["", *(f"- {vendor.name}: {'; '.join(vendor.sources)}" for vendor in vendors().values())]
    return "\n".join([*lines, ""])


def _row(vendor: Vendor) -> str:
    written = {"way": vendor.way, "bundle_size": vendor.bundle_size}
    said = {**vendor.settings, **{name: value for name, value in written.items() if value is not None}}
    settings = ", ".join(f"`{name} = {_toml(value)}`" for name, value in said.items())
    cells = [f"**{vendor.name}**", settings or "none", *map("; ".join, (vendor.remarks, vendor.writing, vendor.bulk))]
    return f"| {' | '.join(cells)} |"


def _toml(value: object) -> str:
    """As it is written in a config."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def write() -> None:
    """Put the table between its marks."""
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}{vendor_table()}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
