"""What the gateway's parts share."""

from dataclasses import dataclass, field

from aiohttp import ClientSession

from gateway.accounts import Account
from gateway.audit import Audit
from gateway.faults import Faults
from gateway.resumable import Upload
from gateway.settings import Settings
from gateway.tokens import Tokens


@dataclass
class Gateway:
    """Everything that lives as long as the process."""

    settings: Settings
    accounts: dict[str, Account]
    tokens: Tokens
    store: ClientSession
    audit: Audit = field(default_factory=Audit)
    faults: Faults = field(default_factory=Faults)
    uploads: dict[str, Upload] = field(default_factory=dict)
    buckets: set[str] = field(default_factory=set)
