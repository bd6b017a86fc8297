"""Time travel through recorded runs, without a screen: places, states, motions, questions. The command line and the app are its faces.

A name is loaded when it is first used: verbs that only read a log load no agent, no model and no Pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.debugger.assistant.toolbox import debugger_tools
    from afk_es.debugger.bisection import Bisection, bisect
    from afk_es.debugger.breakpoints import Breakpoint, BreakpointError, Breakpoints, Hit, parse_breakpoint
    from afk_es.debugger.expression import Expression, ExpressionError, help_text, parse, parse_watch
    from afk_es.debugger.facade import Debugger, DebuggerConfig
    from afk_es.debugger.finding import Phrase, find, sought
    from afk_es.debugger.judging import JudgeError, bisect_command
    from afk_es.debugger.matching import Condition, Search
    from afk_es.debugger.positions import PositionError
    from afk_es.debugger.recording import Recording
    from afk_es.debugger.scope import NAMES
    from afk_es.debugger.session import Session
    from afk_es.debugger.statistics import Statistics, run_statistics
    from afk_es.debugger.statistics_text import statistics_lines
    from afk_es.debugger.stopping import count_hits, next_hit
    from afk_es.debugger.watching import Change, Sample, changes, evaluate, last_change, samples, watch

__all__ = [
    "bisect",
    "bisect_command",
    "Bisection",
    "Breakpoint",
    "BreakpointError",
    "Breakpoints",
    "Change",
    "changes",
    "Condition",
    "count_hits",
    "Debugger",
    "debugger_tools",
    "DebuggerConfig",
    "evaluate",
    "Expression",
    "ExpressionError",
    "find",
    "help_text",
    "Hit",
    "JudgeError",
    "last_change",
    "NAMES",
    "next_hit",
    "parse",
    "parse_breakpoint",
    "parse_watch",
    "Phrase",
    "PositionError",
    "Recording",
    "Sample",
    "run_statistics",
    "samples",
    "Search",
    "Session",
    "sought",
    "Statistics",
    "statistics_lines",
    "watch",
]

_HOMES = {
    "debugger_tools": "afk_es.debugger.assistant.toolbox",
    "Debugger": "afk_es.debugger.facade",
    "DebuggerConfig": "afk_es.debugger.facade",
    "PositionError": "afk_es.debugger.positions",
    "Recording": "afk_es.debugger.recording",
    "Session": "afk_es.debugger.session",
    "Bisection": "afk_es.debugger.bisection",
    "bisect": "afk_es.debugger.bisection",
    "Breakpoint": "afk_es.debugger.breakpoints",
    "BreakpointError": "afk_es.debugger.breakpoints",
    "Breakpoints": "afk_es.debugger.breakpoints",
    "Hit": "afk_es.debugger.breakpoints",
    "count_hits": "afk_es.debugger.stopping",
    "next_hit": "afk_es.debugger.stopping",
    "parse_breakpoint": "afk_es.debugger.breakpoints",
    "Expression": "afk_es.debugger.expression",
    "ExpressionError": "afk_es.debugger.expression",
    "help_text": "afk_es.debugger.expression",
    "parse": "afk_es.debugger.expression",
    "parse_watch": "afk_es.debugger.expression",
    "Phrase": "afk_es.debugger.finding",
    "find": "afk_es.debugger.finding",
    "sought": "afk_es.debugger.finding",
    "JudgeError": "afk_es.debugger.judging",
    "bisect_command": "afk_es.debugger.judging",
    "Condition": "afk_es.debugger.matching",
    "Search": "afk_es.debugger.matching",
    "NAMES": "afk_es.debugger.scope",
    "Statistics": "afk_es.debugger.statistics",
    "run_statistics": "afk_es.debugger.statistics",
    "statistics_lines": "afk_es.debugger.statistics_text",
    "Change": "afk_es.debugger.watching",
    "Sample": "afk_es.debugger.watching",
    "changes": "afk_es.debugger.watching",
    "evaluate": "afk_es.debugger.watching",
    "last_change": "afk_es.debugger.watching",
    "samples": "afk_es.debugger.watching",
    "watch": "afk_es.debugger.watching",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'afk_es.debugger' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
