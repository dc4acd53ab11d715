"""`POST /v1/feedback`: what turned out true, by the id of the prediction."""

import asyncio
from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from mlref.core.errors import EnvironmentFault, RowsRefused
from mlref.prediction_log import ground_truth
from mlref.prediction_log.ground_truth import Label
from mlref.serving.boundary import LogAway, refuse
from mlref.serving.decode import decode, envelope, listed
from mlref.serving.routes import add, answer
from mlref.serving.service import Service

ENVELOPE = "labels"

Store = Callable[[Sequence[Label]], dict[str, list[str]]]
"""Stores labels, and gives the ids of those accepted, duplicate, conflicting and unknown."""


def add_feedback(app: FastAPI, service: Service, store: Store | None) -> None:
    """Add the route; without a log there is nothing that a label could belong to.

    A refusal is answered here: it is of labels, and no input of the model that the metrics should count.
    """

    async def feedback(request: Request) -> Response:
        """Store labels; sending them twice changes nothing."""
        if store is None:
            raise HTTPException(404)
        document = decode(await request.body())
        try:
            most = service.model.limits.rows
            records = listed(envelope(document, (ENVELOPE,))[ENVELOPE], ENVELOPE, most)
            given = ground_truth.read(service.model.contract.target, records)
        except RowsRefused as error:
            asked = request.scope["state"]["asked"].id
            refusal = refuse(error, asked)
            return Response(refusal.body(asked), refusal.status, media_type="application/json")
        try:
            became = await asyncio.to_thread(store, given)
        except EnvironmentFault as error:
            raise LogAway(
                "The prediction log cannot be reached now. Send the labels again."
            ) from error
        return answer({name: len(ids) for name, ids in became.items()})

    add(app, "POST", "/v1/feedback", feedback)
