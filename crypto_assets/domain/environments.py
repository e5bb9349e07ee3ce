"""The environments of an exchange: its live hosts, its test hosts, and the one on this machine.

Here belong their names; which hosts they have belongs to `exchange.<venue>`. Called by every package.
"""

from __future__ import annotations

from enum import StrEnum


class Environment(StrEnum):
    """Which exchange is asked. Data of two environments never meets."""

    TESTNET = "testnet"
    LIVE = "live"
    DEMO = "demo"
    SANDBOX = "sandbox"
