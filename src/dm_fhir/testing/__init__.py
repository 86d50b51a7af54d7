"""What a hospital's tests of its tables need, and ours: what a resource becomes, and a FHIR server that opens no socket.

from dm_fhir.testing import cases, mocked_server

(case,) = cases([resource], tables=["leon.toml"])   # what the resource became: case.assessments, case.findings, …

with mocked_server(resources) as server:            # needs the extra `testing`
    ...                                             # dm-fhir pull, with endpoint = server.endpoint
assert server.requests[0] == "GET metadata"
"""

from dm_fhir.testing.server import MockedServer, mocked_server
from dm_fhir.testing.tables import cases

__all__ = ["MockedServer", "cases", "mocked_server"]
