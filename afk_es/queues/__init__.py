"""Work for later and for elsewhere: tasks that workers of any number of processes and machines take, each of them a run of the log.

`TaskQueue()` needs nothing else: it is in the SQLite file of the default log. On PostgreSQL an existing engine hands the tasks out:
`pip install "afk-es[queues]"`. A name is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

from afk_es.extras import loaded

if TYPE_CHECKING:
    from afk_es.queues.contracts import Contract, JobRequest, Known, RunRequest, TaskRun, contract
    from afk_es.queues.dispatch import Consumer, Delivery, Dispatcher, Parcel
    from afk_es.queues.items import Progress, TaskItem, TaskState
    from afk_es.queues.metrics import WorkerMetrics
    from afk_es.queues.news import TaskNews
    from afk_es.queues.presence import WorkerPresence
    from afk_es.queues.procrastinate import ProcrastinateDispatcher
    from afk_es.queues.pushing import NewTask
    from afk_es.queues.queue import TaskQueue
    from afk_es.queues.records import QueueStats
    from afk_es.queues.retrying import RetryPolicy
    from afk_es.queues.tables import TableDispatcher
    from afk_es.queues.worker import Worker

_CONTRACTS = "afk_es.queues.contracts"
_DISPATCH = "afk_es.queues.dispatch"
_ITEMS = "afk_es.queues.items"

_HOMES = {
    "Consumer": _DISPATCH,
    "Contract": _CONTRACTS,
    "contract": _CONTRACTS,
    "Delivery": _DISPATCH,
    "Dispatcher": _DISPATCH,
    "JobRequest": _CONTRACTS,
    "Known": _CONTRACTS,
    "NewTask": "afk_es.queues.pushing",
    "Parcel": _DISPATCH,
    "ProcrastinateDispatcher": "afk_es.queues.procrastinate",
    "Progress": _ITEMS,
    "QueueStats": "afk_es.queues.records",
    "RetryPolicy": "afk_es.queues.retrying",
    "RunRequest": _CONTRACTS,
    "TableDispatcher": "afk_es.queues.tables",
    "TaskItem": _ITEMS,
    "TaskNews": "afk_es.queues.news",
    "TaskQueue": "afk_es.queues.queue",
    "TaskRun": _CONTRACTS,
    "TaskState": _ITEMS,
    "Worker": "afk_es.queues.worker",
    "WorkerMetrics": "afk_es.queues.metrics",
    "WorkerPresence": "afk_es.queues.presence",
}

_LIBRARIES = frozenset({"asyncpg", "procrastinate", "psycopg", "psycopg_pool"})
"""What the extra brings."""

__all__ = [
    "Consumer",
    "contract",
    "Contract",
    "Delivery",
    "Dispatcher",
    "JobRequest",
    "Known",
    "NewTask",
    "Parcel",
    "ProcrastinateDispatcher",
    "Progress",
    "QueueStats",
    "RetryPolicy",
    "RunRequest",
    "TableDispatcher",
    "TaskItem",
    "TaskNews",
    "TaskQueue",
    "TaskRun",
    "TaskState",
    "Worker",
    "WorkerMetrics",
    "WorkerPresence",
]


def __getattr__(name: str) -> Any:
    return loaded(__name__, name, _HOMES, libraries=_LIBRARIES, extras=("queues",))


def __dir__() -> list[str]:
    return sorted(__all__)
