"""dm-fhir init: a config to begin with."""

import os
from pathlib import Path

import click

from dm_fhir.cli.private_file import PSEUDONYM_KEY, make_pseudonym_key
from dm_fhir.errors import ConfigError

CONFIG = """\
# One study: its drug, its store, and the hospitals it reads. Every key: docs/config.md

[study]
title = "Anifrolumab in refractory dermatomyositis"
drug = "anifrolumab"            # the variable of a medication row in the mapping tables
timezone = "Europe/Madrid"      # where days begin and end, unless a site says otherwise
pseudonym_key = "file:keys/pseudonym.key"     # of what export writes; one key for all sites whose series are merged
# dates = "shifted"                           # in exports: "kept", "shifted" per patient, or "days" since the first infusion
# person_identifier = "urn:oid:1.2.3.4"       # the system of a number that a person has at every site
# schedule = "months"                         # visits: "weeks" (4, 8, … 24) or "months" (6, 12), or [[study.visit]] of your own

# [study.definitions]
# cdasi_19 = "mild"                           # where the literature leaves a choice open, here the side of a CDASI of 19
# uln_u_per_l = { ck = 200 }                  # for results that carry no upper limit of normal

[store]
path = "store/dm-fhir.sqlite"   # relative to this file; in a folder of its own, so that who writes it cannot write this

[report]
# suppress_below = 5              # counts from 1 to 4 are not shown

# [metrics]
# file = "dm-fhir.prom"           # what each run leaves for Prometheus: docs/monitoring.md

# [notify]                        # whom to tell when a run does not end well, and when all is well again
# command = ["mail", "-s", "dm-fhir", "fhir-team@example.org"]
# webhook = "https://chat.example.org/hooks/dm-fhir"

# [sync]                          # for many sites
# sites_at_a_time = 8             # so many are read side by side
# most_requests = 32              # so many are under way at a time, of all sites together

[[site]]
name = "leon"
endpoint = "https://fhir.example.org/r4"      # leave out for a hospital that only sends files
# tables = ["tables/leon.toml"]               # the hospital's own codes, laid over the shipped tables
# headers = { "Epic-Client-ID" = "…" }        # they go to the endpoint only
# vendor = "epic"                             # without it the server's CapabilityStatement decides
# ca_bundle = "tls/hospital-ca.pem"           # where the hospital has certificate authorities of its own
# client_cert = "tls/leon.crt"                # where it asks for a client certificate
# client_key = "tls/leon.key"
# proxy = "http://proxy.example.org:3128"     # the environment's proxies are not used

[site.auth]
method = "smart-backend"        # none | basic | bearer | client-secret | smart-backend
client_id = "dm-fhir"
private_key = "file:keys/leon.pem"            # secrets: file:PATH or env:NAME, never the secret itself
# key_id = "…"                                # dm-fhir keys create makes the key and prints its id
# jku = "https://…/jwks.json"                 # where dm-fhir keys show --jwks is published, if the server asks for that
# token_url = "https://…/token"               # where the server does not say it itself
scope = "system/*.read"         # writing outcomes back also needs system/Observation.write

# [site.cohort]
# by = "medication"                           # "condition", "group" (and group = "Group/…"), "patients" (and a file), "everybody"

[site.pull]
scope = "mapped"                # "all" also reads codes that no table knows
# concurrency = 5                             # requests at a time
# optional_types = ["AdverseEvent"]           # types this hospital does not offer

# mode = "bulk"                               # by an export that the server prepares, instead of searches: docs/bulk.md

# [site.bulk]                                 # only with mode = "bulk"
# level = "patient"                           # or "group" (and group = "Group/…"), or "system"
# types = ["Patient", "Observation"]          # what the hospital exports; what is left out is searched for

[site.push]
enabled = false                 # true lets `dm-fhir push` and `sync` write outcomes to this hospital
# unattended = true                           # nobody is asked before the first push to this hospital
# outcomes = ["cdasi_*", "tis"]               # which outcomes are written; without it all
# imported = true                             # true also writes scores that `dm-fhir import` has read

# [site.import]
# map = "maps/leon.toml"                      # how its spreadsheets are read: docs/import.md
"""


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.pass_context
def command(ctx: click.Context, path: Path | None) -> int:
    """Write a commented dm-fhir.toml to PATH (a file, or a folder to put it in), and the key of pseudonyms beside it. Never replaces one.

    \b
    Examples:
      dm-fhir init
      dm-fhir init studies/anifrolumab
    """
    target = _target(path or ctx.obj[0])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(CONFIG)
    except FileExistsError:
        raise ConfigError(f"{target} exists already; it is left as it is") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from error
    make_pseudonym_key(target.parent / PSEUDONYM_KEY)
    click.echo(f"wrote {target}; put in your endpoint and login, then: dm-fhir --config {target} doctor")
    return 0


def _target(path: Path) -> Path:
    return path if path.suffix == ".toml" else path / "dm-fhir.toml"
