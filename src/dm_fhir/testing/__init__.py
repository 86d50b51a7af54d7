"""A mocked FHIR server for tests: ours, and those of a hospital that tries its own tables. Needs the extra `testing`.

from dm_fhir.testing import mocked_server

with mocked_server(resources) as server:
    ...                                   # dm-fhir pull, with endpoint = server.endpoint
assert server.requests[0] == "GET metadata"
"""

from dm_fhir.testing.server import MockedServer, mocked_server

__all__ = ["MockedServer", "mocked_server"]
