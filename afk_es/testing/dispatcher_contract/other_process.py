"""The contract's other process, `python -m afk_es.testing.dispatcher_contract.other_process REFERENCE DIRECTORY`, and its parent's side.

It takes all that there is, says what that was, and waits to be killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import msgspec

from afk_es.testing.dispatcher_contract.bench import LEASE_S, Bench, ids
from afk_es.testing.dispatcher_contract.subject import DispatcherSubject
from afk_es.testing.log_contract.expecting import BrokenPromiseError


@asynccontextmanager
async def holding(bench: Bench) -> AsyncIterator[list[str]]:
    """The tasks that another process took, after it was killed."""
    # It must be able to import what this process can, wherever that was found.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    command = [sys.executable, "-m", __name__, bench.subject.reference() or "", str(bench.directory)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment)
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
    finally:
        if process.returncode is None:
            process.kill()
        _, trouble = await process.communicate()
    if not line:
        raise BrokenPromiseError(f"the other process ended without a word: {trouble.decode(errors='replace').strip()[-500:]}")
    yield msgspec.json.decode(line, type=list[str])


async def _main(reference: str, directory: str) -> None:
    module, _, name = reference.partition(":")
    maker = import_module(module)
    for part in name.split("."):
        maker = getattr(maker, part)
    assert isinstance(maker, type)
    assert issubclass(maker, DispatcherSubject)
    consumer = await Bench(maker(), Path(directory)).consumer(LEASE_S)
    sys.stdout.write(msgspec.json.encode(await ids(consumer)).decode() + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
