"""Goal: every fault of the list has its proof, and nobody takes one away without saying so.

The list is that of the design ("Crash and fault proof"). Each row names the tests that show: an error of the right class with the way out,
nothing lost, and the run resumed to the right result.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

CANNOT_WRITE = "tests.faults.test_log_that_cannot_write"
DAMAGED = "tests.faults.test_damaged_files"
FOREIGN = "tests.faults.test_foreign_and_newer_files"
BUGS = "tests.faults.test_handlers_with_bugs"
CLOCK = "tests.faults.test_clock_that_jumps"
FILE = "tests.log.test_sqlite_file"
OWNERS = "tests.crash.test_ownership"

THE_LIST: dict[str, tuple[tuple[str, str], ...]] = {
    "disk full": (
        (CANNOT_WRITE, "test_every_append_may_meet_a_full_disk"),
        (CANNOT_WRITE, "test_every_append_may_fail"),
        (CANNOT_WRITE, "test_a_letter_that_finds_no_room_is_refused_and_posted_later"),
        (CANNOT_WRITE, "test_a_full_disk_on_which_a_log_is_opened"),
        (CANNOT_WRITE, "test_runs_beside_each_other_all_hear_of_it_and_all_go_on"),
        (FILE, "test_a_full_log_loses_nothing_and_goes_on_with_more_room"),
        ("tests.core.test_faults", "test_a_log_that_is_full_in_the_middle_stops_the_run_which_goes_on_when_there_is_room"),
    ),
    "I/O error": ((CANNOT_WRITE, "test_every_append_may_fail"),),
    "locked database": (
        (CANNOT_WRITE, "test_every_append_may_fail"),
        (FILE, "test_a_held_write_lock_is_waited_for_and_then_named"),
        ("tests.core.test_faults", "test_a_log_that_stays_locked_is_an_error_that_names_the_file_and_the_runner_recovers"),
    ),
    "torn last page": (
        (DAMAGED, "test_a_page_of_the_write_ahead_log_that_was_torn_ends_it"),
        (DAMAGED, "test_a_torn_page_is_an_error_a_named_fault_or_nothing_that_was_needed"),
    ),
    "truncated WAL": (
        (DAMAGED, "test_a_write_ahead_log_that_was_cut_anywhere_is_a_shorter_run_of_whole_appends"),
        (DAMAGED, "test_a_file_beside_the_log_that_is_gone_takes_no_more_with_it_than_it_held"),
    ),
    "foreign or newer file": (
        (FOREIGN, "test_a_runner_refuses_it_before_the_model_is_asked"),
        (FOREIGN, "test_the_command_line_says_so_in_one_line"),
        (FOREIGN, "test_an_event_of_a_newer_version_is_refused_by_name_and_the_others_are_read"),
        (FILE, "test_other_files_are_refused_and_left_alone"),
        (FILE, "test_a_newer_log_is_refused"),
    ),
    "flipped byte": (
        (DAMAGED, "test_a_flipped_byte_in_an_event_is_named_by_its_seq"),
        (DAMAGED, "test_a_flipped_byte_anywhere_is_an_error_a_named_fault_or_nothing_that_was_needed"),
        ("tests.log.test_verification", "test_tampering_is_found_at_the_first_bad_event"),
    ),
    "two processes on one run": (
        (OWNERS, "TestALivingOwner.test_keeps_its_run_and_loses_it_with_its_life"),
        (OWNERS, "TestALivingOwner.test_that_is_stopped_is_still_alive"),
        (OWNERS, "test_of_two_processes_that_race_for_a_dead_run_one_gets_it"),
        ("afk_es.testing.log_contract.sharing", "another_process_is_seen_and_stopped_like_another_store"),
    ),
    "a handler that raises, hangs, or returns the wrong event": (
        (BUGS, "test_a_bug_ends_the_stretch_and_the_run_goes_on_without_it"),
        (BUGS, "test_one_that_never_answers_is_cut_by_the_deadline"),
        ("tests.core.test_faults", "test_what_finished_beside_a_bug_is_kept_and_not_run_again"),
    ),
    "a clock that jumps back": (
        (CLOCK, "test_a_jump_at_any_reading_of_the_clock_changes_nothing"),
        (CLOCK, "test_a_clock_that_was_set_between_two_stretches_costs_no_time_and_gives_none"),
        (CLOCK, "test_a_ticket_keeps_its_term_whatever_the_time_of_day_does_meanwhile"),
    ),
}


@pytest.mark.parametrize("fault", THE_LIST)
def test_a_fault_has_its_proof(fault: str) -> None:
    assert THE_LIST[fault]
    for module, name in THE_LIST[fault]:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found)


def test_every_proof_here_is_named_in_the_list() -> None:
    named = {proof for proofs in THE_LIST.values() for proof in proofs}
    for file in Path(__file__).parent.glob("test_*.py"):
        module = importlib.import_module(f"tests.faults.{file.stem}")
        proofs = {(module.__name__, name) for name in vars(module) if name.startswith("test_")}
        assert proofs <= named or file.name in (Path(__file__).name, "test_handlers_with_bugs.py"), proofs - named
