"""What every `Dispatcher` must do, for those who put another engine behind it. With pytest, in your own test module:

    from afk_es.testing.dispatcher_contract import DispatcherContract

    class TestMyDispatcher(DispatcherContract):
        async def connect(self, directory):
            dispatcher = MyDispatcher(directory.name)
            await dispatcher.open()
            return dispatcher

        async def pass_time(self, directory, seconds):
            ...  # see `DispatcherSubject`

It has promises, each of them a test, and a model of the whole, against which random histories are played (Hypothesis, of the extra
`testing`).

A name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.testing.dispatcher_contract.bench import Bench
    from afk_es.testing.dispatcher_contract.promises import PROMISES
    from afk_es.testing.dispatcher_contract.pytest_class import DispatcherContract
    from afk_es.testing.dispatcher_contract.subject import DispatcherSubject

__all__ = ["Bench", "DispatcherContract", "DispatcherSubject", "PROMISES"]

_HOMES = {"Bench": "bench", "DispatcherContract": "pytest_class", "DispatcherSubject": "subject", "PROMISES": "promises"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
