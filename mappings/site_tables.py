"""A site's own tables, read, checked and laid over the shipped ones; every fault of all of them is told together."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dm_fhir.errors import ConfigError
from dm_fhir.mappings import concept_map
from dm_fhir.mappings.codes import SHIPPED, Tables, aliases_of, meanings_of, shipped_tables, tables_of
from dm_fhir.mappings.rows import Row, built, in_place_of, merged
from dm_fhir.mappings.table_faults import against, alias_faults, contradictions, judged
from dm_fhir.mappings.table_file import Entry, TableFile, parsed
from dm_fhir.model.read_file import read_text


def laid_over(paths: Sequence[Path]) -> Tables:
    """The shipped tables with these laid over them, in order: TOML, or a FHIR ConceptMap (`.json`).

    Raises ConfigError with every fault of every file.
    """
    over = _Overlay()
    names = Counter([*SHIPPED, *(path.name for path in paths)])
    texts = [(path, path.name if names[path.name] == 1 else str(path), over.text_of(path)) for path in paths]
    over.read([(name, text) for path, name, text in texts if text is not None and path.suffix != ".json"])
    for path, name, text in texts:
        if text is not None:
            over.lay_map(name, text) if path.suffix == ".json" else over.lay(name)
    return over.result(paths)


class _Overlay:
    """The rows as they are while one table after the other is laid over them, and what was wrong on the way."""

    def __init__(self) -> None:
        self.own, _ = shipped_tables()
        self.files: list[TableFile] = []
        self.tables: dict[str, TableFile] = {}
        self.rows: dict[tuple[str, str], Row] = {}
        self.known: dict[tuple[str, str], Row] = {}
        self.unclear: set[tuple[str, str]] = set()
        self.faults: list[str] = []
        self.remarks: list[str] = []

    def text_of(self, path: Path) -> str | None:
        """The file's text; None, and a fault, where it has none."""
        try:
            return read_text(path)
        except OSError as error:
            self.faults.append(f"{path} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.faults.append(f"{path} cannot be read: it is not text in UTF-8")
        return None

    def read(self, texts: Sequence[tuple[str, str]]) -> None:
        """Parse all TOML tables, so that every name of a code system is known before the first row is built."""
        for name, text in texts:
            try:
                self.tables[name] = parsed(name, text)
            except tomllib.TOMLDecodeError as error:
                self.faults.append(f"{name} is not TOML: {error}")
        sound = [file for file in self.tables.values() if _aliases_are_sound(file)]
        self.faults += alias_faults([*self.own, *sound])
        self.aliases = aliases_of([*self.own, *sound])
        for entry in (entry for file in self.own for entry in file.entries):
            row = built(entry, self.aliases)
            self.rows[row.kind, row.variable] = self.known[row.kind, row.variable] = row

    def lay(self, name: str) -> None:
        """Lay one TOML table over the rows."""
        file = self.tables.get(name)
        if file is None:
            return
        found = judged(file)
        self.faults += found.faults
        self.unclear |= {_key(entry) for entry in file.entries if entry not in found.sound}
        self._lay(found.sound)
        self.files.append(file)

    def lay_map(self, name: str, text: str) -> None:
        """Lay a ConceptMap over the rows."""
        now = msgspec.structs.replace(tables_of(self.own, self.rows), rows=self.known, aliases=self.aliases)
        try:
            found = concept_map.read(name, text, now)
        except msgspec.DecodeError as error:
            self.faults.append(f"{name} is not a FHIR ConceptMap: {error}")
            return
        self.faults += found.faults
        self.remarks += found.remarks
        self._lay(found.entries)
        self.files.append(TableFile(name, text, {}, tuple(found.entries)))

    def _lay(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            wrong = list(against(entry, self.known, self.rows))
            if wrong:
                self.faults += wrong
                self.unclear.add(_key(entry))
                continue
            if entry.says.get("off"):
                self.rows.pop(_key(entry), None)
            else:
                self._put(entry, built(entry, self.aliases))

    def _put(self, entry: Entry, new: Row) -> None:
        """The entry's row added to the one that there is, or in its place, or where none is."""
        key = _key(entry)
        if key in self.rows and not entry.says.get("replace"):
            new = merged(self.rows[key], new)
        elif key in self.known:
            new = in_place_of(self.known[key], new)
        self.rows[key] = self.known[key] = new

    def result(self, paths: Sequence[Path]) -> Tables:
        """What the tables say now. Raises ConfigError for all that was wrong."""
        found = meanings_of(self.rows.values()).contradictions
        twice = list(dict.fromkeys(contradictions(found, self.unclear, SHIPPED)))
        faults = [*self.faults, *twice]
        if faults:
            which = f"table {paths[0]} has" if len(paths) == 1 else f"tables {', '.join(map(str, paths))} have"
            hint = "give the row replace = true, or switch the other off with off = true" if twice else None
            raise ConfigError(
                f"the mapping {which} {len(faults)} fault{'s' * (len(faults) > 1)}:", faults=faults, hint=hint
            )
        return tables_of([*self.own, *self.files], self.rows, tuple(self.remarks))


def _key(entry: Entry) -> tuple[str, str]:
    return (entry.kind, str(entry.says.get("variable")))


def _aliases_are_sound(file: TableFile) -> bool:
    aliases = file.document.get("aliases", {})
    return isinstance(aliases, dict) and all(isinstance(name, str) for name in aliases.values())
