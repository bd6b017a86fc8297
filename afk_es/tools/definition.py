"""`Tool`: a function that a model may call, with all that was said about it. It keeps no state of any call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import BaseModel

from afk_es.machine.spec import ToolSpec
from afk_es.tools.arguments import validate_arguments, validate_values
from afk_es.tools.context import ToolContext
from afk_es.tools.execution import execute
from afk_es.tools.hooks import Hook
from afk_es.tools.outcome import ToolDeferredHandle, ToolResult, failure_text, plain_output
from afk_es.tools.sandbox import SandboxProfile, has_markers
from afk_es.tools.signature import Signature

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, eq=False, repr=False)
class Tool(Generic[P, R_co]):
    """What `@tool` makes of a function. Calling it calls the function.

    Attributes:
        function: the function.
        name: what the model calls it by.
        description: what the model is told of it.
        signature: how the model's arguments become the function's.
        timeout_s: seconds it may take; None for no limit of its own.
        prehooks, middlewares, posthooks: what stands around it, in the order they run.
        raise_on_error: a failure is the caller's affair: `call` raises it, and a run fails with it, instead of the model being told.
        read_only, idempotent, destructive, open_world: MCP's hints; None where the author did not say.
        server: the `ToolServer` that it lives on, by name; None for a function of the program's own.
    """

    function: Callable[P, R_co]
    name: str
    description: str
    signature: Signature
    timeout_s: float | None = None
    prehooks: tuple[Hook, ...] = ()
    middlewares: tuple[Hook, ...] = ()
    posthooks: tuple[Hook, ...] = ()
    raise_on_error: bool = False
    read_only: bool = False
    idempotent: bool = False
    destructive: bool | None = None
    open_world: bool | None = None
    server: str | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself, without validation or hooks."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        return self.function

    @property
    def args_model(self) -> type[BaseModel]:
        """The model that validates the arguments; generated from the function's parameters where none was given."""
        return self.signature.args_model

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return self.signature.parameters

    @property
    def declares_sandboxed_arguments(self) -> bool:
        """Whether an argument is marked as a path, a command or a URL."""
        return has_markers(self.args_model)

    def spec(self) -> ToolSpec:
        """The tool as the model and the machine see it."""
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            read_only=self.read_only,
            idempotent=self.idempotent,
            destructive=self.destructive,
            open_world=self.open_world,
            timeout_s=self.timeout_s,
            raise_on_error=self.raise_on_error,
            server=self.server,
        )

    def within(self, middlewares: tuple[Hook, ...]) -> Tool[P, R_co]:
        """The same tool with these middlewares around its own."""
        return replace(self, middlewares=(*middlewares, *self.middlewares)) if middlewares else self

    def validate(self, arguments: dict[str, Any] | str) -> BaseModel:
        """The arguments a model sent, validated. A string is what the model wrote where its JSON could not be read.

        Raises:
            ToolArgumentsError: the text names every problem, for the model to correct itself.
        """
        return validate_arguments(self.args_model, arguments, self.name)

    def named_arguments(self, args: BaseModel) -> dict[str, Any]:
        """Validated arguments by the name of their field or parameter, as Python values; what a prehook gets."""
        values = args.model_dump(warnings=False)
        return {self.signature.renamed.get(name, name): value for name, value in values.items()}

    def json_arguments(self, args: BaseModel) -> dict[str, Any]:
        """The same as plain JSON, defaults filled in and values coerced: what the function will really get, so what a policy should see.

        Raises:
            ToolError: an argument that cannot be JSON.
        """
        plain: dict[str, Any] = plain_output(self.named_arguments(args), self.name)
        return plain

    def validate_named(self, values: dict[str, Any], sandbox: SandboxProfile | None = None) -> BaseModel:
        """Validate Python values by name, and where a profile is given what is marked as a path, a command or a URL.

        Raises:
            ToolArgumentsError: as `validate`, and for what the profile does not allow.
        """
        return validate_values(self.args_model, values, self.name, None if sandbox is None else sandbox.validation_context())

    async def execute(
        self,
        args: BaseModel,
        ctx: ToolContext | None = None,
        *,
        timeout_s: float | None = None,
        sandbox: SandboxProfile | None = None,
    ) -> Any:
        """Run prehooks, middlewares, the function and posthooks with validated arguments.

        Args:
            args: what `validate` returned.
            ctx: the call; default an empty one.
            timeout_s: seconds for all of it; default the tool's own.
            sandbox: checked against the arguments marked as paths, commands or URLs, just before the function runs.

        Returns:
            The output as plain JSON, not sanitised; or the `ToolDeferredHandle` that the tool returned.

        Raises:
            ToolTimeoutError: it took too long. A sync function's thread cannot be stopped and may still finish its work.
            ToolError: the tool, a hook or the sandbox said no, or the output cannot be JSON.
            Exception: whatever else the function or a hook raised.
        """
        return await execute(self, args, ctx or ToolContext(), self.timeout_s if timeout_s is None else timeout_s, sandbox)

    async def call(
        self,
        arguments: dict[str, Any] | str,
        ctx: ToolContext | None = None,
        *,
        timeout_s: float | None = None,
        sandbox: SandboxProfile | None = None,
    ) -> ToolResult | ToolDeferredHandle:
        """Validate and execute, as a run does, without a run: no policy, nothing is logged.

        Raises:
            Exception: what the tool raised, if it was made with `raise_on_error`; otherwise a failure is a `ToolResult`.
        """
        try:
            output = await self.execute(self.validate(arguments), ctx, timeout_s=timeout_s, sandbox=sandbox)
        except Exception as error:
            if self.raise_on_error:
                raise
            return ToolResult(success=False, error=failure_text(error))
        return output if isinstance(output, ToolDeferredHandle) else ToolResult(output=output)
