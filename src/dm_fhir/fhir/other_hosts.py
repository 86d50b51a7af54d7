"""Other hosts than the endpoint's, from which a site's files may be read: they never get a credential."""

from typing import NamedTuple
from urllib.parse import urlsplit

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.addresses import is_this_machine


class OtherHosts(NamedTuple):
    """The site's `redirect_hosts`. `allow_plain_http`: also where what is sent can be read on its way."""

    names: tuple[str, ...]
    allow_plain_http: bool

    def allow(self, url: str) -> bool:
        """Whether the absolute address may be read. By plain http, as everywhere, on this machine or where the site allows it."""
        target = urlsplit(url)
        is_plain_allowed = self.allow_plain_http or is_this_machine(target.hostname)
        is_secured = target.scheme == "https" or (target.scheme == "http" and is_plain_allowed)
        return is_secured and target.netloc in self.names

    def check(self, url: str, told: str, reason: str) -> None:
        """Raises RequestFailed with this reason where the address may not be read: `told` and the host."""
        if self.allow(url):
            return
        host = urlsplit(url).netloc.rpartition("@")[2]
        hint = f'if the host is the hospital\'s, add redirect_hosts = ["{host}"] to the site; it gets no credential'
        if host in self.names:
            host += ", by plain http"
            hint = "it sends patient data in the clear: ask the hospital for https, or set pull.allow_plain_http = true"
        raise RequestFailed(f"{told} {host}", reason=reason, hint=hint)
