"""Every fault of the matrix with the tests that prove what comes of it; docs/webhooks-faults.md is written from it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.webhooks.fault_cells import NETWORKS, RECEIVERS, Cell, Failed


def _at(file: str, name: str) -> str:
    return f"webhooks/test_{file}.py::test_{name}"


_MATRIX = _at(
    "fault_matrix",
    "every_fault_of_a_receiver_and_of_the_network_costs_its_own_subscription_time_and_nothing_else",
)
_DRAIN = _at("fault_drain", "workers_killed_at_each_point_and_a_database_that_crashes_lose_and_reorder_nothing")
_KILLED = (_at("crashes", "a_worker_killed_at_this_place_loses_nothing"), _DRAIN)
_MODEL = "property/test_faults_model.py::test_the_district_is_what_the_model_says_whatever_happens"


@dataclass(frozen=True)
class Fault:
    """One fault. ``seen``: by the receiver, in the attempt log and of the subscription; ``tests``: file::function."""

    name: str
    seen: str
    tests: tuple[str, ...]


def _span(failed: Failed) -> str:
    least, most = failed.wait
    unit, length = next(pair for pair in (("h", 3600), ("min", 60), ("s", 0)) if least >= pair[1])
    low, high = (f"{seconds / (length or 1):g}" for seconds in (least, most))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _seen(cell: Cell) -> str:
    if not cell.failed:
        return "taken at the first attempt"
    first = cell.failed[0]
    what = f"{first.status} `{first.error}`" if first.status else f"`{first.error}`"
    if cell.state != "active":
        return f"{what}, {cell.state} until it is resumed"
    waits = ", ".join(_span(failed) for failed in (*cell.failed, *cell.again))
    return f"{what}, again after {waits}" + ("" if cell.arrives else "; nothing arrives")


def _cells(cells: tuple[Cell, ...]) -> tuple[Fault, ...]:
    return tuple(Fault(cell.name, _seen(cell), (_MATRIX,)) for cell in cells)


_SENDER = (
    Fault("killed before sending", "one request, by the worker that looks next", _KILLED),
    Fault(
        "killed while it waits for the answer",
        "the same batch twice, one line in the log",
        (_at("crashes", "a_worker_killed_while_it_waits_for_the_answer_loses_nothing"), _DRAIN),
    ),
    Fault("killed after the 2xx, before noting it", "the same batch twice, one line in the log", _KILLED),
    Fault("killed after noting it", "the batch once, and the next one", _KILLED),
    Fault(
        "outlives its lease",
        "the same batch twice; what the late one learns is thrown away",
        (_at("dispatcher", "a_worker_that_outlived_its_lease_changes_nothing"),),
    ),
    Fault(
        "killed, with a long lease",
        "another worker takes over within a second",
        (_at("presence", "what_a_killed_worker_had_is_taken_over_long_before_its_lease_ends"),),
    ),
    Fault(
        "hangs, or is stopped",
        "another worker takes over when its lease ends, not before",
        (_at("presence", "a_worker_that_hangs_is_still_there"),),
    ),
    Fault(
        "the database's clock jumps, forward or back",
        "as a lease that was outlived; only retries wait longer",
        (
            _at("fault_clocks", "the_databases_clock_jumps_while_a_batch_is_on_its_way"),
            _at("fault_clocks", "a_clock_that_was_set_back_puts_nothing_off_but_retries"),
            _at("fault_clocks", "quiet_is_not_waited_for_by_a_clock_that_was_set_back"),
        ),
    ),
    Fault(
        "the worker's own clock is wrong",
        "signatures are refused (401) until it is right; then the same batch, signed anew",
        (_at("fault_clocks", "a_worker_whose_clock_is_wrong_is_refused_until_it_is_right_and_nothing_is_lost"),),
    ),
    Fault(
        "one of 200 receivers never answers",
        "the others get everything meanwhile; it stays active, with its first batch",
        (_DRAIN, _at("dispatcher", "a_hanging_receiver_holds_back_no_other_district")),
    ),
    Fault(
        "Redis is emptied, killed, started empty",
        "nothing: it only wakes",
        (_at("bells", "redis_emptied_and_killed_during_500_pending_deliveries_loses_nothing"), _MODEL),
    ),
)
_DATABASE = (
    Fault(
        "connections are ended",
        "the dispatcher waits; the same batch again where its outcome was not noted",
        (_at("dispatcher", "while_the_database_is_away_the_dispatcher_waits_and_goes_on_after"),),
    ),
    Fault(
        "crash and restart, as in a failover that lost nothing",
        "the same, for all that was in flight",
        (_DRAIN, _MODEL),
    ),
    Fault(
        "NOTIFY is off",
        "found by looking, every 5 seconds",
        (_at("dispatcher", "without_notifications_work_is_found_by_looking"),),
    ),
    Fault(
        "the listener's connection is dead",
        "requests under way are ended, and the same batches come again; it listens again, and looks then",
        (
            _at("presence", "whose_connection_is_lost_sends_no_word_more_under_what_others_may_have_by_now"),
            _at("dispatcher", "a_lost_listener_listens_again"),
            _at("bells", "a_listener_that_loses_its_connection_between_two_messages_listens_again"),
        ),
    ),
    Fault(
        "a transaction stays open, reading or writing",
        "only its own district's next steps wait, in their order",
        (
            _at(
                "fault_database",
                "a_transaction_that_stays_open_holds_up_its_own_district_alone_and_its_steps_come_in_order",
            ),
        ),
    ),
    Fault(
        "restored from a backup",
        "after `hub restored` one `subscriptions.resync_required` to each; on from the head when it is resumed",
        (
            _at("fault_database", "after_a_backup_was_restored_receivers_are_told_to_read_everything_again"),
            _at("replay", "where_the_feed_does_not_lead_on_the_receiver_is_told_once_and_starts_over"),
        ),
    ),
)
_EDITS = (
    Fault(
        "secret rotated between two attempts",
        "the same bytes, signed with what is valid then",
        (_at("fault_edits", "a_secret_that_is_rotated_between_two_attempts_signs_the_same_bytes_anew"),),
    ),
    Fault(
        "endpoint or settings edited between two attempts",
        "the same bytes, to the new URL, at once",
        (_at("terms", "an_edit_while_a_batch_is_tried_changes_its_way_and_not_its_bytes"),),
    ),
    Fault(
        "grant edited in the middle of a stretch",
        "what was applied is the view; the stretch ends where it was to end",
        (_at("fault_edits", "a_grant_that_is_edited_in_the_middle_of_a_stretch_leaves_nothing_behind"), _MODEL),
    ),
    Fault(
        "grant edited while records wait to be sent again",
        "they are cut anew, under a new id, without what was withdrawn",
        (_at("fault_edits", "records_that_wait_to_be_sent_again_are_not_once_the_grant_was_edited"),),
    ),
    Fault(
        "grant revoked with a batch in flight, or waiting",
        "nothing more arrives; disabled, `revoked`",
        (
            _at("fault_edits", "a_grant_that_is_revoked_while_a_batch_is_on_its_way_is_told_nothing_more"),
            _at("delivery", "after_a_revocation_nothing_is_sent_not_even_a_retry"),
        ),
    ),
    Fault(
        "subscription deleted with a batch in flight, or waiting",
        "nothing more arrives, and nothing is left of it",
        (
            _at("delivery", "deleting_in_flight_throws_the_result_away"),
            _at("fault_edits", "a_subscription_that_is_deleted_between_two_attempts_is_gone"),
        ),
    ),
    Fault(
        "replay, seek, push to pull and back, while the feed moves",
        "what was applied is the view",
        (
            _at("came_and_left", "after_a_replay_nobody_keeps_what_left_while_it_was_asked_for"),
            _at("replay", "a_replay_fences_off_what_is_in_flight"),
            _MODEL,
        ),
    ),
)
FAULTS: dict[str, tuple[Fault, ...]] = {
    "The receiver": _cells(RECEIVERS),
    "The network": _cells(NETWORKS),
    "The sender": _SENDER,
    "The database": _DATABASE,
    "Edits in flight": _EDITS,
}
_PREFACE = """# Faults of deliveries

What may go wrong with a [webhook](webhooks.md), what comes of it, and the tests that prove it. This page is generated:
`make docs`.

In every case what arrived at the receiver is in order and without a gap, a batch comes twice only with the same id and
the same bytes, and once the fault is over everything is delivered and the subscription is well again. The waits are
those of a receiver that is not known to work; one whose host has answered with 2xx within the last minute is tried
again after half a second, and after two, and before that once at once, where it takes most of what it is sent. All
faults of receivers and of the network are met at the same time by one dispatcher.
"""


def page() -> str:
    """docs/webhooks-faults.md."""
    lines = [_PREFACE]
    for title, faults in FAULTS.items():
        lines += [f"## {title}", "", "| fault | what is seen | proven by |", "|---|---|---|"]
        for fault in faults:
            files = ", ".join(dict.fromkeys(f"`{test.partition('::')[0]}`" for test in fault.tests))
            lines.append(f"| {fault.name} | {fault.seen} | {files} |")
        lines.append("")
    return "\n".join(lines)
