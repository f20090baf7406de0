"""What a run tells of itself to the processes that ask for it, on this machine and on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pipechat import __version__
from pipechat.batch.asking import Asked, Job
from pipechat.errors import SetupError
from pipechat.events import Event
from pipechat.settings.resolve import Settings
from pipechat.settings.secrets import KEYS, Secret
from pipechat.turn.conversation import Wanted

# So begin the variables that say who pays.
ACCOUNT = ("OPENAI_", "AZURE_OPENAI_", "PIPECHAT_API_KEY", "PIPECHAT_HEADER")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an actor has to know. The key is not in the settings; it and `account`, the variables
    of the SDK's own, go from process to process in messages, and into no process's arguments or
    environment: what Ray is told of an environment, it logs."""

    settings: Settings
    wanted: Wanted | None
    key: Secret | None
    account: Mapping[str, str] = field(repr=False)
    version: str = __version__

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str], wanted: Wanted | None) -> Plan:
        """The plan of a run with these settings, in this environment."""
        account = {
            name: value
            for name, value in environ.items()
            if name.startswith(ACCOUNT) and name not in KEYS
        }
        bare = settings._replace(api_key=None, api_key_command=None)
        return cls(bare, wanted, settings.api_key, account)

    def own_settings(self) -> Settings:
        """The settings, with the key.

        Raises:
            SetupError: they are of another version of pipechat.
        """
        if self.version != __version__:
            message = f"a worker has pipechat {__version__}, and this is {self.version}"
            raise SetupError("bad_worker", message, "Install the same version on every node.")
        return self.settings._replace(api_key=self.key)


class Begin(NamedTuple):
    """How the bridge is to begin. `plan`: pickled, for the actors. `address`: of the cluster, None
    for one of our own."""

    plan: bytes
    address: str | None
    jobs: int


class Question(NamedTuple):
    """A job for an actor. `is_shown`: somebody wants the events of its answer."""

    job: Job
    is_shown: bool


class Answer(NamedTuple):
    """What came of it, and the events, where they are wanted."""

    asked: Asked
    shown: Sequence[Event]
