"""The API version that a client and its daemon use, and the check that the daemon supports a request.

`Connection` owns one `Agreement` and fills it in. It outlives a restart or an upgrade of the daemon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from holdfast.contract.versions import API_VERSION, OLDEST_API_VERSION, Need
from holdfast.errors import VersionSkew

_VERSION = re.compile("[0-9]{1,9}")
API_VERSION_KEY = "holdfast-api"
Metadata = tuple[tuple[str, str], ...]
UPGRADE_CLIENT = "Upgrade the client: `pip install --upgrade holdfast`."
UPGRADE_DAEMON = (
    "Upgrade the daemon: `pip install --upgrade 'holdfast[daemon]'`, then restart it (`holdfast down`, `holdfast up`)."
)


class Agreement:
    """The version that both speak (`spoken`, `metadata`) and the newest that the daemon has (`has`). Thread-safe.

    `has` exceeds `spoken` only for a daemon that supports a newer version than it reports.
    """

    spoken: int
    has: int
    metadata: Metadata

    def __init__(self) -> None:
        self._daemon: Mapping[str, str] = {}
        self._speak(API_VERSION)

    def settle(self, daemon: Mapping[str, str]) -> bool:
        """Chooses the newest version that both speak. Returns whether that differs from the version before.

        `daemon` holds the versions that the daemon reported: `min` and `max`, and `daemon_version` if known. Nothing changes
        unless `min` and `max` are numbers of at most 9 digits. Raises VersionSkew when no version is common to both.
        """
        oldest, newest = daemon.get("min", ""), daemon.get("max", "")
        if not (_VERSION.fullmatch(oldest) and _VERSION.fullmatch(newest)):
            return False
        before, agreed = self.spoken, min(int(newest), API_VERSION)
        if agreed < max(int(oldest), OLDEST_API_VERSION):
            raise _no_common_version(daemon)
        self._daemon = dict(daemon)
        self._speak(agreed)
        return agreed != before

    def more_than_said(self, version: int) -> None:
        """Records that the daemon supports a version that it does not report."""
        self.has = max(self.has, version)

    def check(self, need: Need) -> None:
        """Raises VersionSkew, which names the need and both versions, when the daemon is too old for it."""
        if need.version <= self.has:
            return
        raise VersionSkew(
            f"{need} needs version {need.version} of the API; the daemon has {_span(self._daemon)}. {UPGRADE_DAEMON}",
            metadata={**self._daemon, "client": str(API_VERSION), "needs": str(need.version), "call": need.method},
        )

    def _speak(self, version: int) -> None:
        self.spoken = self.has = version
        self.metadata = ((API_VERSION_KEY, str(version)),)


def _span(side: Mapping[str, str]) -> str:
    oldest, newest = side.get("min", "?"), side.get("max", "?")
    return f"version {oldest}" if oldest == newest else f"versions {oldest} to {newest}"


def _no_common_version(daemon: Mapping[str, str]) -> VersionSkew:
    """The error for a daemon that shares no version with this client. Its message names the one to upgrade."""
    advice = UPGRADE_CLIENT if int(daemon["min"]) > API_VERSION else UPGRADE_DAEMON
    mine = _span({"min": str(OLDEST_API_VERSION), "max": str(API_VERSION)})
    said = f"This client speaks {mine} of the API, the daemon {_span(daemon)}. {advice}"
    return VersionSkew(said, metadata={**daemon, "client": str(API_VERSION)})
