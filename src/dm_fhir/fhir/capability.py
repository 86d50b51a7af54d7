"""What a server says it can do: its CapabilityStatement (https://hl7.org/fhir/R4/capabilitystatement.html)."""

from collections.abc import Iterable

import msgspec

from dm_fhir.errors import ConfigError
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import NOT_READABLE


class _Parameter(msgspec.Struct, frozen=True):
    name: str | None = None


class _Interaction(msgspec.Struct, frozen=True):
    code: str | None = None


class _Operation(msgspec.Struct, frozen=True):
    name: str | None = None


class _Resource(msgspec.Struct, frozen=True):
    type: str | None = None
    operation: tuple[_Operation, ...] = ()
    searchParam: tuple[_Parameter, ...] = ()
    interaction: tuple[_Interaction, ...] = ()
    conditionalCreate: bool = False
    conditionalUpdate: bool = False
    versioning: str | None = None


class _Rest(msgspec.Struct, frozen=True):
    mode: str | None = None
    resource: tuple[_Resource, ...] = ()
    interaction: tuple[_Interaction, ...] = ()
    operation: tuple[_Operation, ...] = ()


class _Software(msgspec.Struct, frozen=True):
    name: str | None = None
    version: str | None = None


class Capability(msgspec.Struct, frozen=True):
    """A CapabilityStatement, as far as it matters here."""

    resourceType: str | None = None
    fhirVersion: str | None = None
    publisher: str | None = None
    software: _Software | None = None
    rest: tuple[_Rest, ...] = ()

    def searches(self, type_name: str, parameter: str) -> bool:
        """Whether the server lists `parameter` for `type_name`; parameters that work may be missing from the list."""
        return any(p.name == parameter for resource in self._resources(type_name) for p in resource.searchParam)

    def lists(self, type_name: str) -> bool:
        """Whether the server names the type at all."""
        return bool(self._resources(type_name))

    def does(self, code: str, type_name: str | None = None) -> bool:
        """Whether an interaction (`batch`; of a type: `history-type`, `search-type`) is listed."""
        if type_name is None:
            return any(one.code == code for rest in self.rest for one in rest.interaction)
        return any(one.code == code for resource in self._resources(type_name) for one in resource.interaction)

    def updates_conditionally(self, type_name: str) -> bool:
        """Whether the server says that PUT with a query works."""
        return any(resource.conditionalUpdate for resource in self._resources(type_name))

    def creates_conditionally(self, type_name: str) -> bool:
        """Whether the server says that POST with If-None-Exist works."""
        return any(resource.conditionalCreate for resource in self._resources(type_name))

    def guards_updates(self, type_name: str) -> bool:
        """Whether the server says that an update can be bound to the version that is to be updated (If-Match)."""
        return any(resource.versioning == "versioned-update" for resource in self._resources(type_name))

    def exports(self, type_name: str | None) -> bool:
        """Whether a bulk export is listed: of a type (Patient, Group), or None: of the whole server.

        Servers name it `export`, `$export`, or after the specification `patient-export` and `group-export`.
        """
        own = {_plain(one.name) for resource in self._resources(type_name or "") for one in resource.operation}
        of_all = {_plain(operation.name) for rest in self.rest for operation in rest.operation}
        if type_name is None:
            return "export" in of_all
        name = f"{type_name.lower()}-export"
        return bool({"export", name} & own) or name in of_all

    @property
    def name(self) -> str:
        """What the server calls itself."""
        software = self.software or _Software()
        return f"{software.name or 'unnamed server'} {software.version or ''}".strip()

    def _resources(self, type_name: str) -> list[_Resource]:
        return [r for rest in self.rest if rest.mode in (None, "server") for r in rest.resource if r.type == type_name]


def _plain(name: str | None) -> str:
    return (name or "").removeprefix("$").lower()


_NOT_THERE = (400, 404, 405, 406, 410)


def read_capability(connection: Connection) -> Capability:
    """What the server says it can do. Raises ConfigError if what answers is not a FHIR R4 server: the endpoint is wrong.

    Asked without login, as most servers allow: a wrong endpoint is then told as such, and not as a failed login.
    """
    answer = connection.get("metadata", accept=(*_NOT_THERE, 401, 403), anonymous=True)
    if answer.status in (401, 403):
        answer = connection.get("metadata", accept=_NOT_THERE)
    return capability_in(answer.body, connection)


def capability_in(body: bytes, connection: Connection) -> Capability:
    """The CapabilityStatement in these bytes. Raises ConfigError if it is none, or not one of R4."""
    try:
        capability = msgspec.json.decode(body, type=Capability)
    except NOT_READABLE:
        raise _not_fhir(connection, "its /metadata is not a FHIR resource") from None
    if capability.resourceType != "CapabilityStatement":
        raise _not_fhir(connection, "its /metadata is not a CapabilityStatement")
    if not (capability.fhirVersion or "").startswith("4.0"):
        raise ConfigError(
            f"{connection.endpoint} speaks FHIR {capability.fhirVersion or 'of an unknown version'}, dm-fhir reads R4 (4.0.1)",
            hint="ask the hospital for its R4 endpoint; it often ends in /r4 or /R4",
        )
    return msgspec.structs.replace(capability, software=_without(capability.software, connection.secrets))


def _without(software: _Software | None, secrets: Iterable[str]) -> _Software | None:
    """What the server calls itself, which is shown and kept as a fact, without a credential that it repeats there."""
    name, version = (software.name or "", software.version or "") if software else ("", "")
    for secret in filter(None, secrets):
        name, version = name.replace(secret, "…"), version.replace(secret, "…")
    return software and msgspec.structs.replace(software, name=name or None, version=version or None)


def _not_fhir(connection: Connection, what: str) -> ConfigError:
    hint = "check endpoint in the config: it is the FHIR base URL, the address to which /metadata is added"
    return ConfigError(f"{connection.endpoint} is not a FHIR server: {what}", hint=hint)
