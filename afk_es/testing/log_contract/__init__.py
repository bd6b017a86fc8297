"""What every `EventLog` must do, for the authors of stores. With pytest, in your own test module:

    from afk_es.testing.log_contract import EventLogContract

    class TestMyLog(EventLogContract):
        lacks = {"tampering": "...", "guards": "..."}  # what the store does not have, and why; nothing is passed over in silence

        def new_log(self, directory):
            return MyLog(directory / "runs")  # not opened; stores of one directory have one and the same log

Without it: `print(check_event_log(new_log, lacks={...}))`. The dimensions are the rows of `DIMENSIONS`; those that are optional may be
declared as lacking: "tampering" and "guards" need the hooks `tamper` and `overwrite`, and "reopening", "sharing" and "killing" are for logs
that outlive a store, are open in several at once, and survive their process.

A name is loaded when it is first used, so that `check_event_log` needs no pytest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.testing.log_contract.checking import ContractReport, Finding, check_event_log
    from afk_es.testing.log_contract.dimension import Dimension, Promise
    from afk_es.testing.log_contract.expecting import BrokenPromiseError
    from afk_es.testing.log_contract.material import AGENT, begin, control, event, forked, started, turn, warning
    from afk_es.testing.log_contract.pytest_class import EventLogContract
    from afk_es.testing.log_contract.subject import Meddle, NewLog, StoreSubject
    from afk_es.testing.log_contract.table import DIMENSIONS

__all__ = [
    "AGENT",
    "BrokenPromiseError",
    "ContractReport",
    "DIMENSIONS",
    "Dimension",
    "EventLogContract",
    "Finding",
    "Meddle",
    "NewLog",
    "Promise",
    "StoreSubject",
    "begin",
    "check_event_log",
    "control",
    "event",
    "forked",
    "started",
    "turn",
    "warning",
]

_HOMES = {
    "AGENT": "material",
    "BrokenPromiseError": "expecting",
    "ContractReport": "checking",
    "DIMENSIONS": "table",
    "Dimension": "dimension",
    "EventLogContract": "pytest_class",
    "Finding": "checking",
    "Meddle": "subject",
    "NewLog": "subject",
    "Promise": "dimension",
    "StoreSubject": "subject",
    "begin": "material",
    "check_event_log": "checking",
    "control": "material",
    "event": "material",
    "forked": "material",
    "started": "material",
    "turn": "material",
    "warning": "material",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
