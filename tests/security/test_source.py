"""What the source itself never does: run what it reads, write SQL out of values, listen for others, reach the network by being imported."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "afk_es").rglob("*.py"), *(ROOT / "debugger").rglob("*.py")])
MODULES = {path: ast.parse(path.read_bytes()) for path in SOURCES}

BANNED_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "dbm", "jsonpickle", "xml.etree", "xmlrpc"}
"""Reading these runs what was written, or, of the XML readers, expands it without end."""

BANNED_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.spawnl", "tempfile.mktemp", "commands.getoutput"}

IMPORTERS = {
    **dict.fromkeys(
        (
            "afk_es/__init__.py", "afk_es/extras.py", "afk_es/debugger/__init__.py", "afk_es/debugger/exchange/__init__.py", "afk_es/evals/__init__.py",
            "afk_es/evals/reports/__init__.py", "afk_es/testing/log_contract/__init__.py", "afk_es/testing/dispatcher_contract/__init__.py",
        ),
        "the homes of its own lazy names",
    ),
    "afk_es/cli/__init__.py": "the module of a verb, from the table of verbs",
    "afk_es/cli/agents.py": "MODULE:NAME of the command line; what a golden names, below the working directory alone",
    "afk_es/testing/dispatcher_contract/__init__.py": "the homes of its own lazy names",
    "afk_es/testing/log_contract/processes.py": "the module of the store that its author tests, in a process of its own",
    "afk_es/testing/dispatcher_contract/other_process.py": "the module of the dispatcher that its author tests, likewise",
    "afk_es/evals/assertions/data.py": "the module of a form of assertion, from the table of forms",
    "debugger/screens.py": "the module of a screen, from the table of screens",
    "debugger/tabs.py": "the module of a tab, from the table of tabs",
}  # fmt: skip
"""Who imports by name, and where the name comes from. What a log names comes here by nobody."""

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def name_of(node: ast.expr) -> str:
    """The dotted name that is called; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{name_of(value)}.{attr}".lstrip(".")
        case _:
            return ""


@cache
def calls() -> list[tuple[str, ast.Call, str]]:
    """Every call of the source: where it stands, it, and the name that is called."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node, name_of(node.func))
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


@cache
def imported() -> list[tuple[str, str]]:
    """Every module that the source imports, and where."""
    return [*_imported()]


def _imported() -> Iterator[tuple[str, str]]:
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                yield str(path.relative_to(ROOT)), name


def test_nothing_that_is_read_is_run() -> None:
    """No pickle and its kin, no eval, no shell, no YAML but what JSON could say, no name of a file that another may take first."""
    wrong = [(place, name) for place, name in imported() if name in BANNED_MODULES or name.split(".")[0] in BANNED_MODULES]
    for place, call, name in calls():
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        shell = given.get("shell")
        if (
            name in BANNED_CALLS
            or (name.startswith("yaml.") and name.split(".")[1] in ("load", "load_all", "full_load", "unsafe_load", "full_load_all"))
            or name.endswith("create_subprocess_shell")
            or (shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False))
            or "extractall" in name
        ):
            wrong.append((place, name))
    assert not wrong


def test_only_what_the_user_names_is_imported() -> None:
    """Modules are imported by name in these places alone, so that no name of a file is one."""
    found = {
        place.partition(":")[0]
        for place, _call, name in calls()
        if name.split(".")[-1] in ("import_module", "spec_from_file_location", "exec_module")
    }
    assert found <= IMPORTERS.keys()


# ----------------------------------------------------------------------------------------------------------------------------------- SQL

STATEMENTS = {"execute", "executemany", "executescript", "execute_fetchall", "fetch", "_fetch", "_until_free", "_rows", "_row", "_write"}
STATEMENTS |= {"fetchrow", "fetchval"}
"""What takes SQL, by the name that is called: SQLite's own, asyncpg's, and ours that hand it on."""

HANDED_ON = {
    "afk_es/log/sqlite_file.py": {"sql"},
    "afk_es/log/sqlite.py": {"sql"},
    "afk_es/log/sqlite_writer.py": {"sql"},
    "afk_es/log/postgres.py": {"sql"},
    "afk_es/log/postgres_connection.py": {"sql", "last_words"},
    "afk_es/log/postgres_writer.py": {"sql"},
    "afk_es/log/sqlite_schema.py": {"script", "query"},
    "afk_es/queues/procrastinate_schema.py": {"index"},
    "afk_es/queues/procrastinate_server.py": {"query"},
    "afk_es/cli/demo_shop.py": {"sql"},
}
"""Parameters that hold SQL of a caller; their callers are looked at like the rest."""

BUILDERS = {"scan", "queries.scan", "_insert_events", "_arrays", "_in_sqlite"}
"""Functions whose answer is SQL. What they put together is looked at as well: `test_what_is_put_into_a_statement_is_no_value`."""

SCHEMAS = {"files('afk_es.log').joinpath('schema.sql').read_text('utf-8')", "script.format(s=schema)"}
"""The statements that are files of ours; into that of PostgreSQL the schema's name is put, which `address_of` has checked letter by letter."""
SCHEMAS |= {"SchemaManager.get_schema()", "sql.SQL('LISTEN {}').format(sql.Identifier(channel))"}
"""Procrastinate's own file; and a statement that takes no parameter, into which the driver puts the name of a queue, quoted."""

PIECES = {
    "FILE_VERSION": "a constant",
    "APPLICATION_ID": "a constant",
    "durability": "one of two words: `check_options`",
    "max(max_size_bytes // page_size, 1)": "a number",
    "schema": "our schema.sql, or the name of a schema, which takes no parameter: letters, digits and _, see `address_of`",
    "address.schema": "the same name",
    "name": "one of three words in the same expression",
    "table": "a table of the demo's shop, named in the loop",
}
"""What a PRAGMA or the schema is made of, which take no parameters."""


def _constants(tree: ast.Module) -> set[str]:
    """Names of the module that are texts, put together of texts and of one another."""
    known: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if _is_constant(node.value, known):
                known |= {target.id for target in targets if isinstance(target, ast.Name)}
    return known


def _is_constant(node: ast.expr, known: set[str]) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name in known
        case ast.Attribute(value=ast.Name(id="queries" | "statements" | "presences" | "rows"), attr=attr):
            return attr.isupper()
        case ast.Attribute(attr="sql"):
            return True  # A `Statement`'s: see `test_statements_beside_a_log_have_their_values_as_parameters`.
        case ast.JoinedStr(values=values):
            return all(_is_constant(value, known) for value in values)
        case ast.FormattedValue(value=value):
            return _is_constant(value, known) or ast.unparse(value) in ("len(TRANSFER)", "TRANSFER", *PIECES)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_constant(body, known) and _is_constant(orelse, known)
        case ast.Call(func=func):
            return name_of(func) in BUILDERS or ast.unparse(node) in SCHEMAS
        case _:
            return False


def test_sql_has_its_values_as_parameters() -> None:
    """Every statement is a constant of its module, or of such constants; what else it is made of stands in a list here, with the reason."""
    wrong, seen = [], 0
    told = {place.partition(":")[0] for place, _call, name in calls() if name.split(".")[-1] in STATEMENTS}
    for path, tree in MODULES.items():
        where = str(path.relative_to(ROOT))
        if where not in told:
            continue
        known = _constants(tree) | HANDED_ON.get(where, set()) | _imported_constants(tree)
        for function in [tree, *(node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))]:
            local = known | _assigned(function, known)
            for node in _own(function):
                if isinstance(node, ast.Call) and name_of(node.func).split(".")[-1] in STATEMENTS and _is_sql(where, node):
                    seen += 1
                    argument = next(each for each in node.args if not re.search(r"connection|reader", ast.unparse(each)))
                    if not _is_constant(argument, local):
                        wrong.append((f"{where}:{node.lineno}", ast.unparse(argument)))
    assert not wrong
    assert seen > 40


BESIDE = {
    **dict.fromkeys(
        ("_places(len(ids), 1)", "_places(len(ids), 2)", "_places(len(ids), 3)", "', '.join(rows)"), "places of parameters, by number"
    ),
    **dict.fromkeys(("_NEXT", "_HASTEN", "_PROMOTE", "_LOOK", "_DONE", "_AGAIN"), "texts of the module, put together of one another"),
    **dict.fromkeys(("_TAKE.format(ready=ready)", "sql.format(consumers=consumers)"), "the same, with places of parameters put in"),
    **dict.fromkeys(("sql", "_page(filters)"), "what a function was given by its callers, or made of columns that it names and places"),
    **dict.fromkeys(("BEGIN", "change", "returning"), "a text of the module, into the middle of which an engine's condition is put"),
    **dict.fromkeys(
        ("rows.BEARING.format(job=f'${first}', worker=f'${first + 1}')", "first", "first + 1"), "that condition, and its places"
    ),
    "objects_of(TABLES)": "names of our tables",
    "', '.join((f\"'{table}'\" for table in TABLES))": "the same",
    **dict.fromkeys(("states('purge')", "states('awaken')"), "words of the table of transitions"),
}
"""What the statements for a log's own database are made of besides constants, and why none of it is a value."""


def test_statements_beside_a_log_have_their_values_as_parameters() -> None:
    """Of what is kept beside a log, as its tasks are, too."""
    pieces, seen = set(), 0
    for tree in MODULES.values():
        known = _constants(tree) | _imported_constants(tree)
        for function in [tree, *(node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))]:
            local = known | _assigned(function, known)
            for node in _own(function):
                if isinstance(node, ast.Call) and name_of(node.func) == "Statement" and node.args:
                    seen += 1
                    parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
                    wrong = [
                        part.value if isinstance(part, ast.FormattedValue) else part for part in parts if not _is_constant(part, local)
                    ]
                    pieces |= {ast.unparse(part) for part in wrong}
    assert pieces == BESIDE.keys()
    assert seen > 30


def _is_sql(where: str, call: ast.Call) -> bool:
    # The debugger's console executes lines, and the tools' registry calls: no SQL stands near them.
    if name_of(call.func).split(".")[-1] in ("_rows", "_row", "_write"):
        return where == "afk_es/cli/demo_shop.py"
    return bool(call.args) and (
        where.startswith("afk_es/log/") or "connection" in ast.unparse(call.func) or "connection" in ast.unparse(call.args[0])
    )


def _imported_constants(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("afk_es.log.sqlite", "afk_es.log.postgres"))
        for alias in node.names
        if alias.name.isupper()
    }


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions in it."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _own(node)


def _assigned(function: ast.AST, known: set[str]) -> set[str]:
    """Names that hold nothing but constants wherever they are assigned in the function."""
    values: dict[str, list[ast.expr]] = {}
    for node in _own(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values.setdefault(name, []).append(value)
            case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=name), *_])], value=ast.Call() as value):
                values.setdefault(name, []).append(value)
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                values.setdefault(name, []).append(value)
            case _:
                pass
    return {name for name, given in values.items() if all(_is_constant(value, known) for value in given)}


def test_what_is_put_into_a_statement_is_no_value() -> None:
    """The functions that put statements together take numbers and their own texts: each name that they format is one of these."""
    formatted = {}
    for path, name in (
        ("afk_es/log/sqlite_queries.py", "scan"),
        ("afk_es/log/sqlite_writer.py", "_insert_events"),
        ("afk_es/log/postgres_queries.py", "scan"),
        ("afk_es/log/postgres_writer.py", "_arrays"),
    ):
        (function,) = [node for node in MODULES[ROOT / path].body if isinstance(node, ast.FunctionDef) and node.name == name]
        texts = [node for node in ast.walk(function) if isinstance(node, ast.FormattedValue)]
        formatted[path, name] = {ast.unparse(node.value) for node in texts}
        keywords = [call for call in ast.walk(function) if isinstance(call, ast.Call) and name_of(call.func).endswith(".format")]
        formatted[path, name] |= {ast.unparse(keyword.value) for call in keywords for keyword in call.keywords}
    assert formatted == {
        # The index of an enumeration; the filters, made of constants and that index; the direction, one of two words.
        ("afk_es/log/sqlite_queries.py", "scan"): {"index", "filters", "'DESC' if backwards else 'ASC'"},
        # The columns and the question marks, as many as there are rows.
        ("afk_es/log/sqlite_writer.py", "_insert_events"): {"_COLUMNS", "', '.join([_ROW] * rows)"},
        # The columns; the filters, made of constants and of the numbers of the parameters that hold the values.
        ("afk_es/log/postgres_queries.py", "scan"): {
            "_EVENT",
            "4 + len(parameters)",
            "filters",
            "'DESC' if backwards else 'ASC'",
            "place([kept(name) for name in sorted(types)])",
            "place(sought.in_data)",
            "place(kept(sought.in_message))",
            "place(list(sought.unseen))",
        },
        # The numbers of the parameters.
        ("afk_es/log/postgres_writer.py", "_arrays"): {"first + place"},
    }


# ------------------------------------------------------------------------------------------------------------------------------- network


def test_addresses_that_are_listened_at_are_loopback_by_default() -> None:
    """Every default of a parameter or an option that is a host is this machine, and no other address of a host stands in the source."""
    hosts: list[tuple[object, ...]] = []
    for path, tree in MODULES.items():
        where = path.relative_to(ROOT)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value == "0.0.0.0":
                hosts.append((where, node.lineno, node.value))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                arguments = node.args
                positional = [*arguments.posonlyargs, *arguments.args]
                defaults = [*zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True)]
                defaults += [
                    (each, given) for each, given in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if given is not None
                ]
                hosts += [
                    (where, node.lineno, given.value)
                    for each, given in defaults
                    if each.arg == "host" and isinstance(given, ast.Constant) and given.value not in LOOPBACK
                ]
            if isinstance(node, ast.Call) and any(isinstance(each, ast.Constant) and each.value == "--host" for each in node.args):
                (default,) = [ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg == "default"]
                assert default in LOOPBACK
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "door_options":
                (address,) = [ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg == "http"]
                assert address is None or address.rpartition(":")[0] in LOOPBACK
    assert hosts == []


def test_servers_and_sockets_are_made_in_one_place() -> None:
    """What listens is `debugger/web.py` and `afk_es/serving` alone; the tests of it are tests/debugger_app/test_web.py and tests/serving."""
    listening = {"socket.socket", "create_server", "start_server", "start_unix_server", "HTTPServer", "TCPServer", "TCPSite", "UnixSite"}
    found = {place.partition(":")[0] for place, _call, name in calls() if name in listening or name.split(".")[-1] in listening}
    assert found == {"debugger/web.py", "afk_es/serving/listening.py"}
    servers = {place for place, name in imported() if name.split(".")[0] in ("textual_serve", "aiohttp", "uvicorn", "socketserver", "http")}
    assert servers == {"debugger/web.py", "afk_es/serving/http_server.py", "afk_es/serving/punctual.py"}
    # The lock of a log's owner, and a worker that says where it is, ask what the machine is called.
    sockets = {
        "debugger/web.py",
        "afk_es/log/owners.py",
        "afk_es/queues/worker.py",
        "afk_es/serving/listening.py",
        "afk_es/serving/http_server.py",
    }
    assert {place for place, name in imported() if name == "socket"} == sockets


def test_to_import_it_reaches_no_network_and_starts_nothing() -> None:
    """All of what is imported without being asked for."""
    code = """
import sys
def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "urllib.")):
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(watch)
import afk_es, afk_es.cli, afk_es.core, afk_es.testing, afk_es.evals, afk_es.tools, afk_es.llms, afk_es.telemetry, debugger.main
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
