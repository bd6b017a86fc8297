"""The broken stores, each with the dimension in which the contract must find it: `python -m tests.testing.log_contract` tries them all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.testing.log_contract import ContractReport, check_event_log
from tests.testing.log_contract import broken_files as files
from tests.testing.log_contract import broken_living as living
from tests.testing.log_contract import broken_reading as reading
from tests.testing.log_contract import broken_writing as writing

MEMORY_LACKS = {
    "guards": "a dict has no language of its own to change events in",
    "reopening": "it is gone with the object",
    "sharing": "nobody else can have it",
    "killing": "it is gone with the process",
}


@dataclass(frozen=True)
class Defect:
    """A store with one thing wrong.

    Attributes:
        dimension: where the contract must find it.
        store: the class.
    """

    dimension: str
    store: type[Any]

    def __str__(self) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", self.store.__name__).lower()

    def checked(self, *dimensions: str, stop_at_first: bool = False) -> ContractReport:
        """What the contract finds, in these dimensions or in all."""
        wanted = dimensions or None
        if issubclass(self.store, files.FileLog):
            return check_event_log(self.store, tamper=tamper_file, overwrite=overwrite_file, dimensions=wanted, stop_at_first=stop_at_first)
        maker: Callable[[], MemoryEventLog] = self.store
        return check_event_log(
            lambda directory: maker(), lacks=MEMORY_LACKS, tamper=tamper_memory, dimensions=wanted, stop_at_first=stop_at_first
        )


async def tamper_memory(log: EventLog, directory: Path, run_id: str, seq: int) -> None:
    """Change an event in the dict."""
    assert isinstance(log, MemoryEventLog)
    rows = log._runs[run_id].rows
    rows[seq - 1] = (*rows[seq - 1][:2], rows[seq - 1][2] + 1, *rows[seq - 1][3:])


async def tamper_file(log: EventLog, directory: Path, run_id: str, seq: int) -> None:
    """Change an event in the file, past its triggers."""
    _execute(directory, "DROP TRIGGER IF EXISTS events_stay;" + _CHANGE.format(run_id=run_id, seq=seq))


async def overwrite_file(log: EventLog, directory: Path, run_id: str, seq: int) -> None:
    """Try to change an event in the file."""
    _execute(directory, _CHANGE.format(run_id=run_id, seq=seq))


def _execute(directory: Path, script: str) -> None:
    (path,) = directory.glob("*.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)


_CHANGE = "UPDATE events SET step = step + 1 WHERE seq = {seq} AND run = (SELECT run FROM runs WHERE run_id = '{run_id}')"

SOUND = (Defect("", MemoryEventLog), Defect("", files.FileLog))

DEFECTS: tuple[Defect, ...] = (
    Defect("round trip", writing.LosesTheLastEventOfALargeAppend),
    Defect("round trip", writing.LosesTheMessage),
    Defect("round trip", writing.RoundsTimesToMilliseconds),
    Defect("round trip", writing.ReadsBackwardsBehindAPage),
    Defect("order", writing.Renumbering),
    Defect("order", writing.SortsTheEventsOfAnAppend),
    Defect("order", writing.PagesOverlap),
    Defect("order", writing.IgnoresTheLimit),
    Defect("values", writing.ForgetsTheZoneOfTimes),
    Defect("values", writing.DropsWhatIsNotAscii),
    Defect("values", writing.EndsTextsAtNul),
    Defect("values", writing.KeepsNumbersAsFloats),
    Defect("values", writing.CutsLongTexts),
    Defect("values", writing.DropsKeysItDoesNotKnow),
    Defect("values", writing.WritesStepZeroAsOne),
    Defect("ownership", writing.IgnoresTheEpoch),
    Defect("ownership", writing.LetsAnybodyClaimAgain),
    Defect("ownership", writing.LetsAClaimSkipEpochs),
    Defect("ownership", writing.RefusesWithoutAReason),
    Defect("liveness", writing.IsAliveForEverybody),
    Defect("liveness", writing.LetsGoAtTheFirstRelease),
    Defect("liveness", writing.HoldsBeyondItsClosing),
    Defect("append-only", writing.Overwriting),
    Defect("append-only", writing.Remembering),
    Defect("append-only", writing.CachesWhatWasRead),
    Defect("guards", files.HasNoGuards),
    Defect("chain", writing.FindsFaultAfterATakeover),
    Defect("chain", writing.LinksEventsByTheirContentAlone),
    Defect("chain", writing.LinksChangeAsTheRunGrows),
    Defect("tampering", writing.FindsEverythingSound),
    Defect("tampering", writing.BlamesTheEventAfter),
    Defect("refusals", writing.AnswersWhenItIsClosed),
    Defect("refusals", writing.WritesUpToTheInvalidEvent),
    Defect("refusals", writing.TakesTimesWithoutZone),
    Defect("refusals", writing.TakesEmptyIds),
    Defect("refusals", writing.RaisesKeyErrors),
    Defect("heads", reading.StaleHeads),
    Defect("heads", reading.OrdersAThreadByItsBeginnings),
    Defect("heads", reading.FindsThreadsByTheirBeginning),
    Defect("listing", reading.ListsOldestFirst),
    Defect("listing", reading.RepeatsTheLastRunOfAPage),
    Defect("listing", reading.ListsAnUnknownPriceAsNothing),
    Defect("listing", reading.CountsNoErrors),
    Defect("finding", reading.FindsWhateverTheCase),
    Defect("finding", reading.FindsInTheMiddle),
    Defect("finding", reading.FindsTheOldestTwenty),
    Defect("scanning", reading.ScansUpToAndWithTheEnd),
    Defect("scanning", reading.ScansForOneTypeOnly),
    Defect("scanning", reading.ScansForwardsOnly),
    Defect("scanning", reading.LimitsAScanBeforeItFilters),
    Defect("scanning", reading.MindsTheCaseOfTexts),
    Defect("scanning", reading.LosesTextsInParts),
    Defect("forks", reading.ForksSeeTheirBaseGoOn),
    Defect("forks", reading.ForksKeepTheNameOfTheirBase),
    Defect("forks", reading.ForksShareOneEventTooFew),
    Defect("forks", reading.KnowsForksOfForksAsItsOwn),
    Defect("forks", reading.CountsWhatAForkReuses),
    Defect("letters", living.KeepsLettersTwice),
    Defect("letters", living.KeepsOneLetterOfEqualOnes),
    Defect("letters", living.LettersByRun),
    Defect("letters", living.LettersAreReadOnce),
    Defect("letters", living.CountsLettersOfOneRun),
    Defect("letters", living.TakesLettersForAnybody),
    Defect("letters", living.LettersTouchTheirRun),
    Defect("concurrency", living.ChecksTheHeadAndThenWaits),
    Defect("concurrency", living.DropsCancelledAppends),
    Defect("concurrency", living.ShowsHalfAnAppend),
    Defect("concurrency", living.RefusesAllForOne),
    Defect("closing", living.ForgetsAtItsClosing),
    Defect("closing", living.ForgetsLettersAtItsClosing),
    Defect("closing", living.DropsTheQueueAtItsClosing),
    Defect("closing", living.CannotBeClosedTwice),
    Defect("reopening", files.HasAFileOfItsOwn),
    Defect("reopening", files.ForgetsLettersForTheNextStore),
    Defect("reopening", files.HasANameForAll),
    Defect("sharing", files.ReadsFromACache),
    Defect("sharing", files.SwallowsConflicts),
    Defect("sharing", files.TakesStrangersForDead),
    Defect("killing", files.TakesTheDeadForAlive),
    Defect("killing", files.Acknowledging),
    Defect("killing", files.TearsAppendsInTwo),
    Defect("killing", files.AcknowledgesLettersTooEarly),
)
