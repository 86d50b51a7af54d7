"""The rules of dm-fhir.toml that a schema cannot say."""

from collections import Counter
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

_Table = dict[str, object]
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NEEDS = {
    "none": (),
    "basic": ("username", "password"),
    "bearer": ("token",),
    "client-secret": ("client_id", "client_secret"),
    "smart-backend": ("client_id", "private_key"),
}


def broken_rules(document: dict[str, object]) -> list[str]:
    """What a schema cannot say: names twice, keys a login needs, known time zones, no plain http to elsewhere.

    Parts of a wrong shape are passed over: the schema has named them.
    """
    sites = document.get("site")
    tables = [_table(site) for site in sites] if isinstance(sites, list) else []
    names = Counter(name for name in (site.get("name") for site in tables) if isinstance(name, str))
    study = _table(document.get("study"))
    found = _zone_fault("study.timezone", study.get("timezone")) + _visit_faults(study)
    if _table(document.get("report")).get("suppress_below") in (1, 2):
        found.append(
            "report.suppress_below: must be 0 (all counts are shown) or at least 3: '<2' would tell that it is 1"
        )
    found += _notify_faults(document.get("notify"))
    found += [f"site: the name '{name}' is used {count} times" for name, count in names.items() if count > 1]
    for index, site in enumerate(tables):
        found += _site_faults(f"site[{index}]", site)
    return found


def _notify_faults(notify: object) -> list[str]:
    """Somebody must be told somehow, and a token goes over a way that nobody listens to."""
    if notify is None:
        return []
    keys = _table(notify)
    found = [] if {"command", "webhook"} & keys.keys() else ["notify: 'command' or 'webhook' is missing"]
    found += [f"notify: 'webhook' is missing, {key} needs it" for key in ("webhook_token",) if key in keys and "webhook" not in keys]  # fmt: skip
    faults_of_address = _address_fault("notify.webhook", keys.get("webhook"), allow_plain_http=False)
    return found + [fault.partition("plain http")[0] + "plain http can be read and changed on its way; use https"
                    if "plain http" in fault else fault for fault in faults_of_address]  # fmt: skip


def _visit_faults(study: _Table) -> list[str]:
    """A schedule of one's own stands alone, its names differ, its windows do not meet, and each holds its target."""
    own = study.get("visit")
    visits = [_table(one) for one in own] if isinstance(own, list) else []
    found = ["study: 'schedule' and 'visit' exclude each other; keep one"] if visits and "schedule" in study else []
    windows: list[tuple[int, int, object]] = []
    for index, visit in enumerate(visits):
        first, day, last = (visit.get(key) for key in ("first_day", "day", "last_day"))
        if not (isinstance(first, int) and isinstance(day, int) and isinstance(last, int)):
            continue
        if not first <= day <= last:
            found.append(f"study.visit[{index}]: the target 'day' must lie from 'first_day' to 'last_day'")
        found += [
            f"study.visit[{index}]: its days are also those of '{name}'"
            for start, end, name in windows
            if first <= end and start <= last
        ]
        windows.append((first, last, visit.get("name")))
    names = Counter(visit.get("name") for visit in visits)
    return found + [f"study.visit: the name '{name}' is used {n} times" for name, n in names.items() if n > 1]


def _site_faults(where: str, site: _Table) -> list[str]:
    auth, allowed = _table(site.get("auth")), _table(site.get("pull")).get("allow_plain_http") is True
    method = str(auth.get("method"))
    found = [
        f"{where}.auth: '{key}' is missing, {method} needs it" for key in _NEEDS.get(method, ()) if key not in auth
    ]
    found += _zone_fault(f"{where}.timezone", site.get("timezone"))
    found += _address_fault(f"{where}.endpoint", site.get("endpoint"), allowed)
    found += _cohort_faults(f"{where}.cohort", _table(site.get("cohort")))
    found += _bulk_faults(where, site)
    if "client_key" in site and "client_cert" not in site:
        found.append(f"{where}: 'client_cert' is missing, client_key needs it")
    return found + _address_fault(f"{where}.auth.token_url", auth.get("token_url"), allowed)


def _cohort_faults(where: str, cohort: _Table) -> list[str]:
    """A cohort by group or by list says which."""
    by = cohort.get("by", "medication")
    needed = {"group": ("group",), "patients": ("patients",)}.get(str(by), ())
    found = [f"{where}: '{key}' is missing, by = \"{by}\" needs it" for key in needed if key not in cohort]
    return found + [
        f'{where}.{key}: is for by = "{key}", not for "{by}"'
        for key in ("group", "patients")
        if key in cohort and key != by
    ]


def _bulk_faults(where: str, site: _Table) -> list[str]:
    """A bulk export comes from a server, and one of a Group says of which."""
    bulk, is_bulk = _table(site.get("bulk")), _table(site.get("pull")).get("mode") == "bulk"
    if not is_bulk:
        return [f'{where}.bulk: is for pull.mode = "bulk"'] if "bulk" in site else []
    found = [] if "endpoint" in site else [f"{where}: 'endpoint' is missing, pull.mode = \"bulk\" needs it"]
    level = bulk.get("level", "group" if "group" in bulk else None)
    if level == "group" and "group" not in bulk and "group" not in _table(site.get("cohort")):
        found.append(f"{where}.bulk: 'group' is missing, level = \"group\" needs it")
    if level != "group" and "group" in bulk:
        found.append(f'{where}.bulk.group: is for level = "group", not for "{level}"')
    return found


def _table(value: object) -> _Table:
    return value if isinstance(value, dict) else {}


def _zone_fault(where: str, name: object) -> list[str]:
    if not isinstance(name, str) or not name:
        return []
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # zoneinfo raises all three for names that are no zone
        return [f"{where}: '{name}' is no time zone; expected a name such as Europe/Madrid"]
    return []


def _address_fault(where: str, address: object, allow_plain_http: bool) -> list[str]:
    """What makes an http(s) address unusable; that it is one at all is the schema's part."""
    if not isinstance(address, str) or not address.startswith(("http://", "https://")):
        return []
    try:
        url = urlsplit(address)
        usable = bool(url.hostname) and url.port != 0
    except ValueError:  # half an IPv6 address, or a port that is no number
        usable = False
    if not usable:
        return [f"{where}: has no usable host and port"]
    if url.scheme == "https" or url.hostname in _LOOPBACK or allow_plain_http:
        return []
    return [f"{where}: plain http sends patient data in the clear; use https, or set pull.allow_plain_http = true"]
