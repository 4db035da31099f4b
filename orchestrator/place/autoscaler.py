"""Whether a cluster could grow. Ray says so by private names only, all of which are used here.

Tried with Ray 2.60 and both of its autoscalers; where a name is gone, nobody can tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

ANSWER_TIMEOUT_S = 5
# Where nothing adds machines, each is called a kind of its own, by its id.
_LONE_MACHINE = re.compile(r"node_[0-9a-f]{20,}")


def can_grow(request: Mapping[str, float]) -> bool | None:
    """Whether a machine for `request` could be added; None where the cluster does not say.

    request: {"CPU": 4, "GPU": 1}, for which a placement group has been pending for some seconds:
    the newer autoscaler, that of `ray up` and KubeRay, lists what none of its kinds of machines
    could hold, or no further one. Of the older one only its presence shows.
    """
    try:
        from ray._private import worker

        # Of the Ray that this process is connected to. `internal_kv` has one for the whole process,
        # which any other cluster in it replaces, or takes away as it ends.
        connection: Any = worker.global_worker
        client = connection.gcs_client
        newer = _newer(client, request)
        return _older(client) if newer is None else newer
    except Exception:  # whatever private names raise when they have changed
        return None


def _newer(client: Any, request: Mapping[str, float]) -> bool | None:
    """None where there is no newer autoscaler."""
    from ray.core.generated import autoscaler_pb2

    reply = client.get_cluster_status(timeout_s=ANSWER_TIMEOUT_S)
    messages: Any = autoscaler_pb2  # made by protobuf as they are imported
    state = messages.GetClusterStatusReply.FromString(reply).autoscaling_state
    if not state.autoscaler_state_version:
        return None
    if state.pending_instance_requests or state.pending_instances:
        return True
    wanted = {name: amount for name, amount in request.items() if amount}
    refused = state.infeasible_gang_resource_requests
    return not any(dict(part.resources_bundle) == wanted for r in refused for part in r.requests)


def _older(client: Any) -> bool | None:
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS

    status = client.internal_kv_get(DEBUG_AUTOSCALING_STATUS.encode(), None)
    if status is None:
        return False
    report = json.loads(status).get("autoscaler_report") or {}  # none yet in its first seconds
    kinds = (report.get("node_type_mapping") or {}).values()
    return False if all(_LONE_MACHINE.fullmatch(kind) for kind in kinds) else None
