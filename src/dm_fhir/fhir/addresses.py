"""Addresses that a server hands out: the next page of a search, a job, a file. Some are relative, some are its inner ones."""

import re
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit, urlunsplit

#: How a parameter is called whose value lets in whoever has it: the signature of an object storage, a token, a key.
LETS_IN = r"(?:[\w-]*(?:sig|secret|token|key|password|credential)[\w-]*|x-(?:amz|goog)-[\w-]+)"
#: Less than this is no such value, and blotting it out would take a text apart.
FEWEST_BLOTTED = 8


def same_origin(url: str, endpoint: str) -> bool:
    """Whether `url` has the endpoint's scheme, host and port, and no user in it."""
    try:
        one, other = urlsplit(url), urlsplit(endpoint)
        same = (one.scheme, one.hostname, _port(one)) == (other.scheme, other.hostname, _port(other))
    except ValueError:  # a port that is no number
        return False
    return same and one.username is None


def _port(url: SplitResult) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def is_this_machine(host: str | None) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:  # another name
        return False


def secrets_of(url: str) -> list[str]:
    """What in the address lets in whoever has it, as it is written there and as it is meant."""
    found = re.findall(rf"[?&]{LETS_IN}=([^&#]+)", url, re.IGNORECASE)
    meant = [value for name, value in parse_qsl(urlsplit(url).query) if re.fullmatch(LETS_IN, name, re.IGNORECASE)]
    return [one for one in {*found, *meant} if len(one) >= FEWEST_BLOTTED]


def unsigned(url: str) -> str:
    """The address without what a signature is made of: the same when it is signed anew."""
    path, _, query = url.partition("?")
    kept = [one for one in query.split("&") if not re.fullmatch(LETS_IN, one.partition("=")[0], re.IGNORECASE)]
    return f"{path}?{'&'.join(kept)}"


def rewritten(link: str, rules: Mapping[str, str]) -> str:
    """The address as the site's own rules put it."""
    for inner, outer in rules.items():
        if link == inner or link.startswith((f"{inner}/", f"{inner}?")):
            return outer + link[len(inner) :]
    return link


def joined(base: str, link: str) -> SplitResult | None:
    """The parsed address behind a link found at `base`; None for one that is none, such as half an IPv6 address.

    A port given twice is taken once.
    """
    link = re.sub(r"^(https?://[^/?#:@]+:\d+):\d+", r"\1", link)
    try:
        target = urlsplit(urljoin(base, link))
        _ = target.port
    except ValueError:
        return None
    return target


def own_address(endpoint: str, rules: Mapping[str, str], base: str, link: str, notes: Counter[str]) -> str | None:
    """The absolute address behind a link found at `base`; None for one that cannot be used. `rules` are the site's `rewrite`.

    A server behind a proxy names itself by its inner address: what lies under our endpoint's path, or on its host by plain http,
    is the same server (counted). Any other host's address is left as it is.
    """
    own, target = urlsplit(endpoint), joined(base, rewritten(link, rules))
    if target is None or target.scheme not in ("http", "https") or target.username is not None or not target.hostname:
        return None
    if same_origin(target.geturl(), endpoint):
        return target.geturl()
    is_ours_in_plain = (target.scheme, own.scheme, target.hostname) == ("http", "https", own.hostname)
    is_plain = is_ours_in_plain and target.port in (None, 80)
    is_inner = bool(own.path.strip("/")) and f"{target.path}/".startswith(f"{own.path}/") and ".." not in target.path
    if not is_plain and not is_inner:
        return target.geturl()
    notes["next_rewritten"] += 1
    notes["plain_http_links"] += (target.scheme, own.scheme) == ("http", "https")
    return urlunsplit((own.scheme, own.netloc, target.path, target.query, ""))
