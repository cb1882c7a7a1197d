"""Where what was downloaded or compiled is kept for the next time."""

import os
from pathlib import Path

CACHE = "TIMEDIFF_CACHE"


def cache_folder() -> Path:
    """The folder that ``TIMEDIFF_CACHE`` names, else the platform's folder for caches."""
    chosen = os.environ.get(CACHE)
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("timediff"))
