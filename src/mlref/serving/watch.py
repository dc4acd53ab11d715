"""Model changes without a restart: follow the alias pointer of the bundle store."""

import asyncio
from typing import Protocol

import structlog

from mlref.bundle.store import ALIASES, Store
from mlref.core.errors import BundleError
from mlref.serving.service import Model

EVERY = 0.5
"""Seconds between two looks at the pointer, a file of 65 bytes."""

_LOG = structlog.get_logger("mlref.serving")


class User(Protocol):
    """Whoever uses one model at a time: the service, or its shadow."""

    model: Model

    def replace(self, model: Model) -> None:
        """Use another from now on."""


class Watch:
    """Takes on the model that an alias points to, whenever it points to another.

    A model that does not load, is altered, or is of another contract is refused, and the present one goes on
    answering; it is tried again as long as the pointer names it, in case the store was only half written.

    Parameters
    ----------
    user : User
        Whose model is replaced.
    store : Store
        Where the pointer is.
    reference : str
        The alias; a version or a digest names one model for good, and there is nothing to follow.
    """

    def __init__(self, user: User, store: Store, reference: str) -> None:
        self.user, self.store, self.reference = user, store, reference
        self._refused = ""

    async def run(self) -> None:
        """Follow the pointer until the service ends."""
        while self.reference in ALIASES:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Compare the pointer with the model in use, and take on another."""
        try:
            wanted = self.store.alias(self.reference)
            if wanted in (None, self.user.model.digest):
                self._refused = ""
                return
            # loading takes a tenth of a second, in which requests go on
            model = await asyncio.to_thread(self._load)
            self.user.replace(model)
            self._refused = ""
            _LOG.info("model changed", **model.named)
        except (
            Exception
        ) as error:  # of whatever kind: the present model stays, and so does the watch
            if str(error) != self._refused:  # once, not twice a second
                self._refused = str(error)
                _LOG.error("model refused", reason=self._refused, kept=self.user.model.version)

    def _load(self) -> Model:
        present = self.user.model
        model = Model(*self.store.open(self.reference), present.limits)
        check_contract(present, model)
        return model


def check_contract(present: Model, other: Model) -> None:
    """Refuse a model that takes other rows.

    Raises
    ------
    BundleError
        Names both versions.
    """
    if other.contract != present.contract:
        raise BundleError(
            f"Version {other.version} is of another contract than version {present.version}, so clients"
            " would have to change with it. Restart the service to take it on."
        )
