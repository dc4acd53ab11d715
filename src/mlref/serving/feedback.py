"""``POST /v1/feedback``: ground truth, by the id of the prediction."""

import asyncio
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request

from mlref.core.errors import EnvironmentFault
from mlref.prediction_log import ground_truth
from mlref.prediction_log.ground_truth import Label
from mlref.serving.errors import LogAway
from mlref.serving.model import Service
from mlref.serving.request import decode, listed
from mlref.serving.schemas import takes

PATIENCE = 2.0
"""Seconds that a request waits for the database; shorter than the drain, so a stop need not wait for it."""

Store = Callable[[Sequence[Label]], dict[str, list[str]]]
"""Stores labels, and gives the ids of those accepted, duplicate, conflicting and unknown."""


def router(service: Service, store: Store) -> APIRouter:
    """Make the route."""
    router, limits, storing = APIRouter(tags=["model"]), service.model.limits, set[object]()
    target = service.model.contract.target
    example = {"id": "01a20d6d-5a00-7000-8000-000000000000", "value": target.example}
    body = takes("FeedbackRequest", {"labels": [example]})

    @router.post("/v1/feedback", openapi_extra=body)
    async def feedback(request: Request) -> dict[str, int]:
        """Store true outcomes by the ids of predictions; sending them twice changes nothing."""
        records = listed(decode(await request.body()), "labels", limits.rows)
        given = ground_truth.read(target, records)
        if service.draining or len(storing) >= limits.labels:
            service.metrics.shed.labels("labels").inc()
            raise LogAway("Labels cannot be stored now. Send them again.")
        task = asyncio.create_task(asyncio.to_thread(store, given))
        storing.add(task)
        task.add_done_callback(storing.discard)
        try:
            # the thread goes on after a timeout; a label that is then sent again counts as duplicate
            became = await asyncio.wait_for(asyncio.shield(task), PATIENCE)
        except (EnvironmentFault, TimeoutError) as error:
            raise LogAway("The prediction log cannot be reached. Send the labels again.") from error
        return {name: len(ids) for name, ids in became.items()}

    return router
