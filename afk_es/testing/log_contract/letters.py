"""What is said to runs from outside: kept once, in the order in which it was posted, for whoever owns the run next."""

from __future__ import annotations

import datetime as dt

from afk_es.errors import InvalidEventError, RunNotFoundError
from afk_es.machine.events import Draft
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, refused, same
from afk_es.testing.log_contract.material import START, begin, control, event, turn

LETTERS = Dimension("letters", "A letter is kept once, unchanged, in the order of posting, and changes nothing of its run.")

_LETTERS = [("run_a", "pause"), ("run_b", "interrupt"), ("run_a", "resume"), ("run_a", "cancel")]


@LETTERS.promise
async def letters_are_kept_in_the_order_in_which_they_were_posted(bench: Bench) -> None:
    log = await bench.store()
    for run_id in ("run_a", "run_b"):
        await begin(log, run_id)
    same(await log.posted(), 0, "the position of the last letter before there is any")
    posted = [await log.post(run_id, control(action), at=START) for run_id, action in _LETTERS]
    positions = [letter.position for letter in posted]
    same(positions, sorted(set(positions)), "the positions of four letters to two runs")
    same(await log.posted(), positions[-1], "the position of the last letter")
    same(await log.letters(), posted, "all letters")


@LETTERS.promise
async def a_letter_is_what_was_posted(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    at = dt.datetime(2026, 3, 4, 5, 6, 7, 891_011, tzinfo=dt.UTC)
    draft = Draft("control_requested", {"action": "pause", "reason": "Grüße \u2603 '\"", "origin": "test"}, "f\u00fcr \u2603")
    letter = await log.post("run_a", draft, at=at)
    same((letter.run_id, letter.at, letter.draft), ("run_a", at, draft), "the letter that `post` gives back")
    same(await log.letters(), [letter], "the letters after it")


@LETTERS.promise
async def the_same_words_twice_are_two_letters(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    posted = [await log.post("run_a", control("pause"), at=START) for _ in range(2)]
    same(await log.letters(), posted, "two letters that say the same")
    same(await log.letters(), posted, "the letters read a second time: reading takes none away")


@LETTERS.promise
async def letters_are_asked_for_by_position_and_by_run(bench: Bench) -> None:
    log = await bench.store()
    for run_id in ("run_a", "run_b"):
        await begin(log, run_id)
    posted = [await log.post(run_id, control(action), at=START) for run_id, action in _LETTERS]
    for place, letter in enumerate(posted):
        same(await log.letters(after=letter.position), posted[place + 1 :], f"the letters behind the {place + 1}th")
    same(await log.letters(run_ids=["run_b"]), [posted[1]], "the letters of one run")
    same(await log.letters(after=posted[1].position, run_ids=["run_a", "run_b", "unknown"]), posted[2:], "the later letters of some runs")
    same(await log.letters(run_ids=[]), [], "the letters of no run")


@LETTERS.promise
async def a_letter_changes_nothing_of_its_run(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    before = (await log.head("run_a"), await log.read("run_a"), await log.runs())
    await log.post("run_a", control("cancel"), at=START)
    same((await log.head("run_a"), await log.read("run_a"), await log.runs()), before, "head, events and record of a run after a letter")
    await log.append(turn("run_a", 6), epoch=1)
    same(await log.verify("run_a"), None, "its hash chain")


@LETTERS.promise
async def a_letter_that_cannot_be_taken_in_is_refused(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await refused(log.post("run_b", control("cancel"), at=START), RunNotFoundError, "a letter to an unknown run", "run_b")
    for draft in (Draft("run_cancelled", {"reason": "because"}), Draft("control_requested", {"action": 1}), Draft("unheard_of", {})):
        await refused(log.post("run_a", draft, at=START), InvalidEventError, f"a letter that asks for {draft.type} with {draft.data}")
    same((await log.posted(), await log.letters()), (0, []), "the letters after those that were refused")


@LETTERS.promise
async def a_letter_may_follow_the_end_of_its_run(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([event("run_a", 6, "run_completed", {"state": "completed"}, state="completed")], epoch=1)
    letter = await log.post("run_a", control("cancel"), at=START)
    holds(await log.letters() == [letter], "a run that has ended can still be written to")
