"""What may be imported from where. The lists are frozen: a name that goes, or comes, is a change of the public interface."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import afk_es
from afk_es.machine import EVENT_TYPES

ROOT = Path(__file__).parents[1]

IMPORT_MAP = {
    "afk_es": "Agent Runner tool FailSafeConfig PolicyEngine PolicyRule",
    "afk_es.agents": "Agent FailSafeConfig PolicyEngine PolicyRule PolicyRuleCondition PolicyEvent PolicyDecision",
    "afk_es.core": "Runner RunnerConfig AgentResult AgentRunEvent AgentStreamEvent AgentRunHandle AgentStreamHandle",
    "afk_es.tools": "tool ToolContext prehook posthook middleware registry_middleware ToolResult ToolDeferredHandle ToolRegistry SandboxProfile",
    "afk_es.llms": "LLMBuilder LLMRequest LLMResponse ToolCall Usage",
    "afk_es.evals": "run_suite EvalCase EvalBudget",
    "afk_es.evals.models": "EvalCase EvalBudget",
    "afk_es.testing": "ScriptedModel EventLogContract check_event_log",
    "afk_es.queues": "TaskQueue TaskItem Worker",
}
"""The rows of contract.md that this release has."""

EXPORTS = {
    "afk_es": "Agent FailSafeConfig PolicyEngine PolicyRule Runner tool",
    "afk_es.a2a": """
        A2AClient A2AServer ApiKeys JWTs Limited Principal RemoteArtifact RemoteCard RemoteFile RemoteSkill RemoteState RemoteTask RemoteTaskError
        RemoteUpdate ServedAgent
    """,
    "afk_es.agents": """
        Agent DelegationNode DelegationPlan FailSafeConfig PolicyDecision PolicyEngine PolicyEvent PolicyRule PolicyRuleCondition RouterInput
    """,
    "afk_es.core": """
        AgentResult AgentRunEvent AgentRunHandle AgentStreamEvent AgentStreamHandle AttachedRun CompactionResult
        Edit EditDecision EditMessage EditToolResult EditedCall ForkPlan ForkStep Guard Lease Leftover ModelMode ModelUse Receipt RecordedAgent RecordedPeople
        Replayed RetentionPolicy RunFailure Runner RunnerConfig SetInstructions SetModel StateSnapshot Stub SubagentExecutionRecord
        ToolExecutionRecord ToolMode Unanswered recorded_agent
    """,
    "afk_es.interaction": """
        ApprovalDecision ApprovalRequest InMemoryInteraction InputDecision InputRequest InteractionProvider PendingRequest
        TerminalInteraction
    """,
    "afk_es.tools": """
        CommandResult SandboxCommand SandboxPath SandboxProfile SandboxUrl Secrets SkillPolicy Tool ToolContext
        ToolDeferredHandle ToolRegistry ToolResult ToolServer failure_text filesystem_tools middleware posthook prehook registry_middleware run_command tool
        unknown_tool
    """,
    "afk_es.serving": """
        ApiKeys Authenticator HttpServer JWTs LOCAL Limited Principal RateLimiter guarded owned principal_of run_id_of served_context
    """,
    "afk_es.queues": """
        Consumer Contract Delivery Dispatcher JobRequest Known NewTask Parcel ProcrastinateDispatcher Progress QueueStats RetryPolicy RunRequest
        TableDispatcher TaskItem TaskNews TaskQueue TaskRun TaskState Worker WorkerMetrics WorkerPresence contract
    """,
    "afk_es.redaction": "MARK MOST_VALUES Redaction SECRET_NAMES SHORTEST_VALUE redacted",
    "afk_es.debugger.plain": "COMMANDS Command Console Reply completions execute help_lines",
    "afk_es.debugger.exchange": "FORMS ImportReport Imported export_run export_text import_files",
    "afk_es.evals": """
        AgentReference Assertion CallPattern ChangedDecision CheckReport CheckedRun Claim Contains Decision Divergence
        DivergenceClass Equals EqualsExpected EvalBudget EvalCase EvalCaseResult EvalProgress EvalSuite EvalSuiteConfig
        EvalSuiteResult Evidence Golden GoldenError GoldenFixture GoldenHeader GoldenOutcome GoldenStore JsonLike
        JsonPathEquals Judgement LLMJudge LeftOver MatchMode Matches MaxSteps Mismatch Missing NoTool NotContains Place
        PolicyWhatIf Provenance RecordedCall RunChecks RunSelection RunWhatIf Scorer Similarity StateIs SuiteProgress
        ToolCalled ToolWhatIf Trajectory TrajectoryMatch Update UpdateCategory UpdatePolicy UpdateRefusedError Verdict
        Within always arescore arun_suite assertion_from assertions_from at_most call calls_of check_golden
        check_golden_sync checks compare_with_golden eventually json_like load_cases match_trajectory never no_errors
        pass_all_k pass_at_k policy_what_if precedes print_report recorded_evidence recorded_result register_assertion
        report_lines rescore responds run_suite similarity wilson_interval within write_golden write_pinned write_report
    """,
    "afk_es.testing.arguments": """
        ALL_TRAITS BREAKAGES ORDINARY Breakage BrokenArguments HardlyAnyArgumentsError NothingToBreakError Target Trait from_json_schema
        invalid_arguments valid_arguments
    """,
    "afk_es.testing.log_contract": """
        AGENT BrokenPromiseError ContractReport DIMENSIONS Dimension EventLogContract Finding Meddle NewLog Promise StoreSubject begin
        check_event_log control event forked started turn warning
    """,
    "afk_es.mcp": "ApiKeys IDEMPOTENCY_KEY JWTs Limited MCPClient MCPServer Principal read_config",
    "afk_es.telemetry": "ConsoleSink Delivery Exported JsonSink Redaction SINKS TelemetrySink export_run sink_of",
    "afk_es.llms": """
        BuiltModel ChatModel Failure Image LLMBuilder LLMCancelledError LLMCapabilityError LLMCircuitOpenError LLMConfigurationError LLMError
        LLMInvalidResponseError LLMMiddleware LLMRequest LLMResponse LLMRetryableError LLMTimeoutError Link LinkedChatModel Message Messages ModelPrices
        MultipartMessage PricedChatModel StreamPart StreamingChatModel Text TextDelta ToolCall ToolCallDelta ToolSpec Usage
        UserMessage WithdrawableChatModel chat_messages chat_tools classify image_from_file
    """,
}

CONTRACT_TYPES = """
    run_started step_started llm_called llm_completed text_delta tool_batch_started tool_completed tool_deferred tool_background_resolved
    tool_background_failed policy_decision subagent_started subagent_completed warning run_completed run_failed run_interrupted
    run_cancelled
"""

UNWANTED = (
    "litellm", "textual", "hypothesis", "opentelemetry", "pytest", "rich", "aiosqlite", "asyncpg", "procrastinate", "psycopg", "openai", "httpx", "mcp", "a2a", "starlette", "uvicorn", "jwt",
)  # fmt: skip
"""What `import afk_es` must not load: `aiosqlite` comes with the first log, the others with what needs them."""


def imported(code: str, *, cwd: Path, path: Path) -> str:
    """What a fresh interpreter prints that can import from `path` alone."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("module", IMPORT_MAP)
def test_the_import_map(module: str) -> None:
    found = importlib.import_module(module)
    assert set(IMPORT_MAP[module].split()) <= set(found.__all__)


@pytest.mark.parametrize("module", EXPORTS)
def test_the_exports_are_those_we_promised(module: str) -> None:
    found = importlib.import_module(module)
    assert sorted(found.__all__) == sorted(EXPORTS[module].split())
    assert all(hasattr(found, name) for name in found.__all__)


def test_the_import_map_holds_for_the_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True, timeout=60)
    lines = [f"from {module} import {', '.join(names.split())}" for module, names in IMPORT_MAP.items()]
    where = imported("\n".join([*lines, "import afk_es; print(afk_es.__file__)"]), cwd=tmp_path, path=site)
    assert Path(where.strip()).is_relative_to(site)
    for needed in ("afk_es/py.typed", "afk_es/log/schema.sql"):
        assert (site / needed).exists(), f"the wheel lacks {needed}"


def test_importing_afk_es_loads_no_vendor_no_test_library_and_no_database(tmp_path: Path) -> None:
    loaded = json.loads(
        imported(
            "import sys, json, afk_es.agents, afk_es.core, afk_es.llms, afk_es.tools; print(json.dumps(sorted(sys.modules)))",
            cwd=tmp_path,
            path=ROOT,
        )
    )
    assert {name for name in loaded if name.partition(".")[0] in UNWANTED} == set()


def test_importing_afk_es_builds_no_pydantic_model(tmp_path: Path) -> None:
    """To build them is most of what the import could cost; each is built when it is first used."""
    code = """
import afk_es.agents, afk_es.core, afk_es.interaction, afk_es.llms, afk_es.tools, pydantic
def below(kind):
    for each in kind.__subclasses__():
        yield each
        yield from below(each)
print([each.__name__ for each in below(pydantic.BaseModel) if each.__module__.startswith("afk_es") and each.__pydantic_complete__])
"""
    assert imported(code, cwd=tmp_path, path=ROOT) == "[]\n"


def _modules() -> list[str]:
    return ["afk_es", *(found.name for found in pkgutil.walk_packages(afk_es.__path__, "afk_es.") if not found.name.endswith("__main__"))]


@pytest.mark.parametrize("module", _modules())
def test_every_module_says_what_it_is(module: str) -> None:
    assert (importlib.import_module(module).__doc__ or "").strip()


@pytest.mark.parametrize("module", EXPORTS)
def test_everything_public_is_documented(module: str) -> None:
    undocumented = []
    for name in EXPORTS[module].split():
        public = getattr(importlib.import_module(module), name)
        if not (inspect.isclass(public) or inspect.isfunction(public)):
            continue
        documented: dict[str, object] = {name: public}
        if inspect.isclass(public):
            inherited = {member for parent in public.__mro__[1:] for member in vars(parent)}
            documented |= {
                f"{name}.{member}": found for member, found in vars(public).items() if member not in inherited | {"model_post_init"}
            }
        for path, found in documented.items():
            is_ours = inspect.isclass(found) or inspect.isfunction(found) or isinstance(found, property)
            if is_ours and not path.rpartition(".")[2].startswith("_") and not (found.__doc__ or "").strip():
                undocumented.append(path)
    assert undocumented == []


def test_the_table_of_event_types_has_every_type_of_the_contract() -> None:
    assert set(CONTRACT_TYPES.split()) <= EVENT_TYPES.keys()
    assert {name for name, row in EVENT_TYPES.items() if row.terminal} == {
        "run_completed",
        "run_failed",
        "run_interrupted",
        "run_cancelled",
    }
    assert [name for name, row in EVENT_TYPES.items() if not row.stored] == ["text_delta", "tool_progress"]
    assert all(row.when for row in EVENT_TYPES.values())
