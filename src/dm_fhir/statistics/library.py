"""The library of statistics, imported only when a number needs it: it takes most of a second."""

from typing import Any

from dm_fhir.errors import ConfigError


def scipy_stats() -> Any:
    """The module `scipy.stats`. Raises ConfigError naming the line that installs it."""
    try:
        from scipy import stats
    except ModuleNotFoundError:
        hint = "install it with: pip install 'dm-fhir[report]'"
        raise ConfigError("intervals and tests need scipy, which is not installed", hint=hint) from None
    return stats
