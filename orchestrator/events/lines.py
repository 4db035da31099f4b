"""Events as people read them: a line each, of those that are worth one."""

from __future__ import annotations

from orchestrator.events.kinds import Confirmation, Decision, Epoch, Event, Note

MUST_BE_READ = ("failed", "given_up", "again")  # decisions


def line_of(event: Event) -> str | None:
    """What is said of an event; None where nothing is."""
    if isinstance(event, Note):
        return event.text
    if isinstance(event, Confirmation):
        gave = f"failed: {event.reason}" if event.hmean is None else f"H-mean {event.hmean:.4f}"
        return f"trial {event.trial} seed {event.seed}: {gave} (first {event.first_hmean:.4f})"
    if isinstance(event, Epoch):
        return (
            f"trial {event.trial}  epoch {event.epoch}/{event.epochs}  H-mean {event.hmean:.4f}  "
            f"best {event.best_hmean:.4f}  {event.seconds:.0f} s"
        )
    if isinstance(event, Decision):
        return _decided(event)
    return None


def must_be_read(event: Event) -> bool:
    """Whether a line is to be seen beside a table of all trials too."""
    if isinstance(event, Decision):
        return event.decision in MUST_BE_READ
    return isinstance(event, Note | Confirmation)


def _decided(event: Decision) -> str:
    if event.seed is not None:
        return f"trial {event.trial} seed {event.seed}: {event.reason}"
    if event.decision == "again":
        return f"trial {event.trial}  {event.reason}; it continues after its last epoch"
    parts = [f"trial {event.trial}", event.decision.replace("_", " ")]
    if event.decision == "given_up":
        parts[1] = "stopped"
    if event.record and event.record["hmean"] is not None and event.decision != "promoted":
        parts.append(f"H-mean {event.record['hmean']:.4f}")
    if event.reason:
        parts.append(event.reason)
    return "  ".join(parts)
