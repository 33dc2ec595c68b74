"""A small shell for emulated containers: runs the commands that manifests and `kubectl exec` use.

A run is a generator that yields what needs the outside (`world.Step`) and returns the exit code, so one
interpreter serves a container's main process (driven by timers), exec (awaited) and terminals. The files
are the pod's volumes and a root of the container's own.

Divergence: the stages of a pipe run one after the other, each with the whole output of the one before.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from fnmatch import fnmatchcase

from agents.emulated.commands import COMMANDS
from agents.emulated.expansion import Expansion
from agents.emulated.syntax import (
    Background,
    Branch,
    Case,
    Chain,
    ForEach,
    Function,
    Group,
    Incomplete,
    Loop,
    Not,
    Pipe,
    Redirected,
    Simple,
    SyntaxProblem,
    Tree,
    Word,
    literal,
    parse,
    parse_more,
)
from agents.emulated.world import (
    Ask,
    Ended,
    Input,
    Interrupted,
    Leave,
    Run,
    Sleep,
    Spawn,
    Step,
    World,
    Write,
    err,
)
from agents.files import split

NOT_FOUND = 127
INTERRUPTED = 130
MAX_CALLS = 100
_SHELLS = ("sh", "bash", "ash", "dash")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


def understands(command: Sequence[str]) -> bool:
    """Whether the shell can run this argument list."""
    return bool(command) and (_name(command[0]) in COMMANDS or _name(command[0]) in _SHELLS)


def is_shell(command: Sequence[str]) -> bool:
    return bool(command) and _name(command[0]) in _SHELLS


def run(world: World, command: Sequence[str], stdin: Input | None = None) -> Run:
    """Runs an argument list, as a container's entrypoint or exec does."""
    shell = Shell(world, stdin)
    try:
        return (yield from shell.run(literal(command)))
    except Ended as ended:
        return ended.code
    except Leave:
        return shell.status
    except Interrupted:
        return INTERRUPTED


class Shell(Expansion):
    def __init__(self, world: World, stdin: Input | None = None) -> None:
        self.world: World = world
        self.variables = dict(world.environment)
        self.exported = dict.fromkeys(self.variables)
        self.status = 0
        self.stdin = stdin if stdin is not None else Input()
        self.directory = world.directory
        self.arguments: list[str] = []
        self.name = "sh"
        self.called = ""
        """How the command that runs now was named."""
        self.functions: dict[str, Tree] = {}
        self.stops_at_errors = False
        self.depth = 0
        self._guarded = 0

    def child(self) -> Shell:
        """A shell of its own that starts with everything of this one."""
        shell = Shell(self.world, self.stdin)
        shell.variables, shell.exported = dict(self.variables), dict(self.exported)
        shell.directory, shell.functions = self.directory, dict(self.functions)
        shell.arguments, shell.name, shell.depth = self.arguments, self.name, self.depth + 1
        return shell

    def run(self, tree: Tree) -> Run:
        match tree:
            case Simple():
                self.status = yield from self._simple(tree)
                if self.status and self.stops_at_errors and not self._guarded:
                    raise Ended(self.status)
            case Pipe(stages=stages):
                yield from self._pipe(stages)
            case Chain(first=first, links=links):
                yield from self._chain(first, links)
            case Loop(condition=condition, body=body, until=until):
                self.status = yield from self._loop(condition, body, until)
            case ForEach(name=name, words=words, body=body):
                yield from self._for_each(name, words, body)
            case Branch(condition=condition, then=then, otherwise=otherwise):
                if (yield from self._guard(condition)) == 0:
                    yield from self.run(then)
                elif otherwise is not None:
                    yield from self.run(otherwise)
                else:
                    self.status = 0
            case Case(word=word, branches=branches):
                yield from self._case(word, branches)
            case Redirected(body=body, redirects=redirects):
                self.status = yield from self._redirected(self.run(body), redirects)
            case Group(body=body):
                self.status = yield from self.child().ended(body)
            case Background(body=body):
                yield Spawn(self.child().ended(body))
                self.status = 0
            case Not(body=body):
                self.status = 0 if (yield from self._guard(body)) else 1
            case Function(name=name, body=body):
                self.functions[name] = body
                self.status = 0
        return self.status

    def ended(self, tree: Tree) -> Run:
        """Runs to the end, with `exit` ending just this shell."""
        try:
            return (yield from self.run(tree))
        except Ended as ended:
            return ended.code

    def _guard(self, tree: Tree) -> Run:
        """A condition: its failure is no error."""
        self._guarded += 1
        try:
            return (yield from self.run(tree))
        finally:
            self._guarded -= 1

    def _chain(self, first: Tree, links: Sequence[tuple[str, Tree]]) -> Generator[Step, object, None]:
        trees = [(";", first), *links]
        for position, (operator, tree) in enumerate(trees):
            if operator != ";" and (operator == "&&") != (self.status == 0):
                continue
            tested = position + 1 < len(trees) and trees[position + 1][0] != ";"
            yield from self._guard(tree) if tested else self.run(tree)

    def _loop(self, condition: Tree, body: Tree, until: bool) -> Run:
        status = 0
        while ((yield from self._guard(condition)) == 0) != until:
            try:
                status = yield from self.run(body)
            except Leave as leave:
                if not _again(leave):
                    break
            yield Sleep(0.0)
        return status

    def _for_each(self, name: str, words: Sequence[Word], body: Tree) -> Generator[Step, object, None]:
        self.status = 0
        for value in (yield from self.expand_all(words)):
            self.variables[name] = value
            try:
                yield from self.run(body)
            except Leave as leave:
                if not _again(leave):
                    break

    def _case(
        self, word: Word, branches: Sequence[tuple[tuple[Word, ...], Tree]]
    ) -> Generator[Step, object, None]:
        self.status = 0
        text = yield from self.expand_one(word)
        for patterns, body in branches:
            for pattern in patterns:
                if fnmatchcase(text, (yield from self.expand_one(pattern))):
                    yield from self.run(body)
                    return

    def capture(self, tree: Tree) -> Generator[Step, object, bytes]:
        """Runs with standard output kept."""
        parts: list[bytes] = []
        work = self.run(tree)
        sent: object = None
        try:
            while True:
                step = work.send(sent)
                sent = None
                if isinstance(step, Write) and step.stream == "stdout":
                    parts.append(step.data)
                else:
                    sent = yield step
        except StopIteration as done:
            self.status = done.value
        except Ended as ended:
            self.status = ended.code
        return b"".join(parts)

    def _pipe(self, stages: Sequence[Tree]) -> Generator[Step, object, None]:
        feed = self.stdin
        for stage in stages[:-1]:
            shell = self.child()
            shell.stdin = feed
            feed = Input((yield from shell.capture(stage)))
        last = self.child()
        last.stdin = feed
        self.status = yield from last.ended(stages[-1])

    def _simple(self, command: Simple) -> Run:
        words = yield from self.expand_all(command.words)
        assigned: dict[str, str] = {}
        while words and _ASSIGNMENT.fullmatch(words[0]):
            name, _, value = words.pop(0).partition("=")
            assigned[name] = value
        if not words and not command.redirects:
            self.variables.update(assigned)
            return self.status if assigned and self.substituted else 0
        before = {name: self.variables.get(name) for name in assigned}
        self.variables.update(assigned)
        new = [name for name in assigned if name not in self.exported]
        self.exported.update(dict.fromkeys(new))
        work = self.execute(words)
        try:
            if not command.redirects:
                return (yield from work)
            return (yield from self._redirected(work, command.redirects))
        finally:
            for name, old in before.items():
                if old is None:
                    self.variables.pop(name, None)
                else:
                    self.variables[name] = old
            for name in new:
                self.exported.pop(name, None)

    def _redirected(self, work: Run, redirects: Sequence[tuple[str, Word]]) -> Run:
        targets: dict[str, str] = {"stdout": "stdout", "stderr": "stderr"}
        outer = self.stdin
        for operator, word in redirects:
            text = yield from self.expand_one(word)
            if operator.startswith("<<"):
                self.stdin = Input(text.encode(errors="surrogateescape"))
                continue
            try:
                self._aim(operator, text, targets)
            except OSError as error:
                verb = "open" if operator == "<" else "create"
                yield err(f"{self.name}: can't {verb} {text}: {error.strerror}\n")
                work.close()
                self.stdin = outer
                return 1
        sent: object = None
        try:
            while True:
                step = work.send(sent)
                sent = None
                if not isinstance(step, Write):
                    sent = yield step
                elif (to := targets[step.stream]) in ("stdout", "stderr"):
                    yield Write(to, step.data)
                elif to:
                    self.world.files.write(to, step.data, append=True)
        except StopIteration as done:
            return int(done.value)
        except OSError as error:
            yield err(f"{self.name}: write error: {error.strerror}\n")
            return 1
        finally:
            self.stdin = outer

    def _aim(self, operator: str, text: str, targets: dict[str, str]) -> None:
        """Books a redirection. Raises OSError."""
        match operator:
            case "<":
                path = self.path(text)
                self.stdin = Input() if path == "/dev/null" else Input(self.world.files.read(path))
            case "2>&1":
                targets["stderr"] = targets["stdout"]
            case ">&2" | "1>&2":
                targets["stdout"] = targets["stderr"]
            case "&>":
                targets["stdout"] = targets["stderr"] = self._opened(text, append=False)
            case _:
                stream = "stderr" if operator.startswith("2") else "stdout"
                targets[stream] = self._opened(text, append=operator.endswith(">>"))

    def _opened(self, text: str, *, append: bool) -> str:
        """What output goes to: a stream, a file's path, or nothing."""
        path = self.path(text)
        match path:
            case "/dev/null":
                return ""
            case "/dev/stdout" | "/proc/1/fd/1" | "/proc/self/fd/1" | "/dev/fd/1":
                return "stdout"
            case "/dev/stderr" | "/proc/1/fd/2" | "/proc/self/fd/2" | "/dev/fd/2":
                return "stderr"
        self.world.files.write(path, b"", append=append)
        return path

    def execute(self, words: list[str]) -> Run:
        if not words:
            return 0
        if words[0] in self.functions:
            return (yield from self._call(self.functions[words[0]], words[1:]))
        name = _name(words[0])
        if name in _SHELLS:
            return (yield from self._subshell(words[0], words[1:]))
        found = COMMANDS.get(name)
        if found is not None:
            self.called = words[0]
            return (yield from found(self, words[1:]))
        if "/" in words[0]:
            return (yield from self._script(words))
        yield err(f"{self.name}: {words[0]}: not found\n")
        return NOT_FOUND

    def _script(self, words: list[str]) -> Run:
        """A file of the container's, run by name."""
        try:
            stat = self.world.files.stat(self.path(words[0]))
        except OSError:
            yield err(f"{self.name}: {words[0]}: not found\n")
            return NOT_FOUND
        if stat.kind == "directory" or not stat.mode & 0o111:
            yield err(f"{self.name}: {words[0]}: Permission denied\n")
            return 126
        return (yield from self._subshell(words[0], words))

    def _call(self, body: Tree, arguments: list[str]) -> Run:
        if self.depth >= MAX_CALLS:
            yield err(f"{self.name}: functions nested too deeply\n")
            return 1
        outer, self.arguments = self.arguments, arguments
        self.depth += 1
        try:
            return (yield from self.run(body))
        except Leave as leave:
            if leave.kind != "return":
                raise
            self.status = leave.levels
            return leave.levels
        finally:
            self.arguments = outer
            self.depth -= 1

    def _subshell(self, name: str, words: list[str]) -> Run:
        inner = self.child()
        inner.name = name
        as_command = False
        while words and len(words[0]) > 1 and words[0][0] in "-+":
            as_command = as_command or "c" in words[0]
            inner.stops_at_errors = inner.stops_at_errors or "e" in words[0]
            words = words[1:]
        if as_command:
            source = words[0] if words else ""
            inner.name, inner.arguments = (words[1], words[2:]) if len(words) > 1 else (name, [])
        elif words:
            try:
                source = self.world.files.read(self.path(words[0])).decode(errors="surrogateescape")
            except OSError as error:
                yield err(f"{name}: can't open '{words[0]}': {error.strerror}\n")
                return 2
            inner.name, inner.arguments = words[0], words[1:]
        else:
            return (yield from inner.interact())
        try:
            return (yield from inner.ended(parse(source)))
        except SyntaxProblem as problem:
            yield err(f"{name}: {problem}\n")
            return 2

    def interact(self) -> Run:
        """Reads commands from standard input; with a terminal it prompts."""
        prompts = self.world.terminal is not None and not self.stdin.ended
        text = ""
        while True:
            if prompts:
                yield err("> " if text else f"{self.prompt()}")
            try:
                line: str | None = yield from self.read_line()
            except Interrupted:
                yield err("\n")
                text = ""
                continue
            if line is None and not text:
                return self.status
            text += line or ""
            try:
                tree = parse_more(text)
            except Incomplete as problem:
                if line is not None:
                    continue
                yield err(f"{self.name}: {problem}\n")
                return 2
            except SyntaxProblem as problem:
                yield err(f"{self.name}: {problem}\n")
                self.status, text = 2, ""
                continue
            text = ""
            try:
                yield from self.run(tree)
            except Ended as ended:
                return ended.code
            except Interrupted:
                yield err("\n")
                self.status = INTERRUPTED
            except Leave:
                self.status = 0

    def prompt(self) -> str:
        return f"{self.directory} {'#' if self.world.user == 0 else '$'} "

    # --- standard input

    def read_all(self) -> Generator[Step, object, bytes]:
        while not self.stdin.ended:
            yield Ask(self.stdin.fill)
        data, self.stdin.data = self.stdin.data, b""
        return data

    def read_line(self) -> Generator[Step, object, str | None]:
        """With its end; None when there is nothing more."""
        while b"\n" not in self.stdin.data and not self.stdin.ended:
            yield Ask(self.stdin.fill)
        if not self.stdin.data:
            return None
        line, newline, self.stdin.data = self.stdin.data.partition(b"\n")
        return (line + newline).decode(errors="surrogateescape")

    def path(self, text: str) -> str:
        """Absolute; where .. goes through links it is taken as written."""
        if not text.startswith("/"):
            text = f"{self.directory}/{text}"
        return "/" + "/".join(split(text))


def _again(leave: Leave) -> bool:
    """Whether the loop that catches it goes on; passes it on to an outer loop where it means that one."""
    if leave.kind == "return" or leave.levels > 1:
        raise Leave(leave.kind, leave.levels if leave.kind == "return" else leave.levels - 1)
    return leave.kind == "continue"


def _name(program: str) -> str:
    return program.rpartition("/")[2]
