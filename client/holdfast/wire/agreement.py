"""Which API version a client and its daemon speak, and whether the daemon has what a request needs.

One `Agreement` belongs to one connection and stays when the daemon is replaced by another. `Connection` fills it in.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.contract.versions import API_VERSION, OLDEST_API_VERSION, Need
from holdfast.errors import VersionSkew

API_VERSION_KEY = "holdfast-api"
Metadata = tuple[tuple[str, str], ...]
UPGRADE_CLIENT = "Upgrade the client: `pip install --upgrade holdfast`."
UPGRADE_DAEMON = (
    "Upgrade the daemon: `pip install --upgrade 'holdfast[daemon]'`, then restart it (`holdfast down`, `holdfast up`)."
)


class Agreement:
    """The version that both speak (`spoken`, `metadata`) and the newest that the daemon has (`has`). Safe in threads.

    `has` is above `spoken` only for a daemon that has more than it says.
    """

    spoken: int
    has: int
    metadata: Metadata

    def __init__(self) -> None:
        self._daemon: Mapping[str, str] = {}
        self._speak(API_VERSION)

    def settle(self, daemon: Mapping[str, str]) -> bool:
        """Chooses the newest version that both speak. Returns whether it is another one than before.

        `daemon` is what the daemon said of itself: `min` and `max`, and `daemon_version` if known. Without `min` and `max`
        nothing changes. Raises VersionSkew when there is no version that both speak.
        """
        oldest, newest = daemon.get("min", ""), daemon.get("max", "")
        if not (oldest.isdigit() and newest.isdigit()):
            return False
        before, agreed = self.spoken, min(int(newest), API_VERSION)
        if agreed < max(int(oldest), OLDEST_API_VERSION):
            raise _no_common_version(daemon)
        self._daemon = dict(daemon)
        self._speak(agreed)
        return agreed != before

    def more_than_said(self, version: int) -> None:
        """Notes that the daemon has everything of a version that it does not say it speaks."""
        self.has = max(self.has, version)

    def check(self, need: Need) -> None:
        """Raises VersionSkew, which names the need and both versions, when the daemon does not have it."""
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
    """The error for a daemon that shares no version with this client; it says which of them is behind."""
    advice = UPGRADE_CLIENT if int(daemon["min"]) > API_VERSION else UPGRADE_DAEMON
    mine = _span({"min": str(OLDEST_API_VERSION), "max": str(API_VERSION)})
    said = f"This client speaks {mine} of the API, the daemon {_span(daemon)}. {advice}"
    return VersionSkew(said, metadata={**daemon, "client": str(API_VERSION)})
