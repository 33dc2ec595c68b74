"""A small shell for emulated containers: runs the commands that manifests and `kubectl exec` use.

A run is a generator that yields what needs the outside (`Sleep`, `Write`) and returns the exit code, so
one interpreter serves a container's main process (driven by timers) and exec (awaited). The files are
the pod's mounted ones plus what the commands write; there are no other processes.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence

from agents.emulated.commands import COMMANDS
from agents.emulated.syntax import (
    Branch,
    Chain,
    ForEach,
    Loop,
    Pipe,
    Simple,
    SyntaxProblem,
    Tree,
    Word,
    literal,
    parse,
)
from agents.emulated.world import Ended, Run, Sleep, Step, World, Write

NOT_FOUND = 127
MAX_FILE_BYTES = 1 << 20
_SHELLS = ("sh", "bash", "ash", "dash")
_VARIABLE = re.compile(r"\$(\w+|[?$#@*!])|\$\{(\w+)(:?[-=+][^}]*)?\}|\$\(((?:[^()]|\([^()]*\))*)\)|`([^`]*)`")


def understands(command: Sequence[str]) -> bool:
    """Whether the shell can run this argument list."""
    return bool(command) and (_name(command[0]) in COMMANDS or _name(command[0]) in _SHELLS)


def run(world: World, command: Sequence[str]) -> Run:
    """Runs an argument list, as a container's entrypoint or exec does."""
    shell = Shell(world)
    try:
        return (yield from shell.run(literal(command)))
    except Ended as ended:
        return ended.code


class Shell:
    def __init__(self, world: World, stdin: str = "") -> None:
        self.world: World = world
        self.variables = dict(world.environment)
        self.status = 0
        self.stdin = stdin

    def run(self, tree: Tree) -> Run:
        match tree:
            case Simple():
                self.status = yield from self._simple(tree)
            case Pipe(stages=stages):
                yield from self._pipe(stages)
            case Chain(first=first, links=links):
                yield from self.run(first)
                for operator, link in links:
                    if operator == ";" or (operator == "&&") == (self.status == 0):
                        yield from self.run(link)
            case Loop(condition=condition, body=body, until=until):
                status = 0
                while ((yield from self.run(condition)) == 0) != until:
                    status = yield from self.run(body)
                    yield Sleep(0.0)
                self.status = status
            case ForEach(name=name, words=words, body=body):
                for value in (yield from self._expand_all(words)):
                    self.variables[name] = value
                    yield from self.run(body)
            case Branch(condition=condition, then=then, otherwise=otherwise):
                if (yield from self.run(condition)) == 0:
                    yield from self.run(then)
                elif otherwise is not None:
                    yield from self.run(otherwise)
        return self.status

    def capture(self, tree: Tree) -> Generator[Step, None, str]:
        """Runs with standard output kept."""
        parts: list[str] = []
        work = self.run(tree)
        try:
            while True:
                step = next(work)
                if isinstance(step, Write) and step.stream == "stdout":
                    parts.append(step.text)
                else:
                    yield step
        except StopIteration as done:
            self.status = done.value
        return "".join(parts)

    def _pipe(self, stages: Sequence[Tree]) -> Generator[Step, None, None]:
        outer, text = self.stdin, self.stdin
        for stage in stages[:-1]:
            text = yield from self.capture(stage)
            self.stdin = text
        yield from self.run(stages[-1])
        self.stdin = outer

    def _simple(self, command: Simple) -> Run:
        words = yield from self._expand_all(command.words)
        while words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
            name, _, value = words.pop(0).partition("=")
            self.variables[name] = value
        if not words:
            return 0
        if not command.redirects:
            return (yield from self.execute(words))
        return (yield from self._redirected(words, command))

    def _redirected(self, words: list[str], command: Simple) -> Run:
        targets: dict[str, tuple[str, bool] | str] = {}
        for operator, word in command.redirects:
            path = "".join((yield from self._expand(word)))
            match operator:
                case ">" | ">>":
                    targets["stdout"] = (self.path(path), operator == ">>")
                case "2>":
                    targets["stderr"] = (self.path(path), False)
                case "&>":
                    targets["stdout"] = targets["stderr"] = (self.path(path), False)
                case "2>&1":
                    targets["stderr"] = targets.get("stdout", "stdout")
                case "<":
                    self.stdin = self.world.files.get(self.path(path), b"").decode(errors="replace")
                case _:
                    targets["stdout"] = "stderr"
        written: dict[str, str] = {}
        for target in targets.values():
            if isinstance(target, tuple):
                path, append = target
                written[path] = self.world.files.get(path, b"").decode(errors="replace") if append else ""
        work = self.execute(words)
        code = 0
        try:
            while True:
                step = next(work)
                to = targets.get(step.stream) if isinstance(step, Write) else None
                if isinstance(step, Write) and isinstance(to, tuple):
                    written[to[0]] += step.text
                elif isinstance(step, Write) and isinstance(to, str):
                    yield Write(to, step.text)
                else:
                    yield step
        except StopIteration as done:
            code = int(done.value)
        for path, text in written.items():
            if not path.startswith("/dev/"):
                self.world.files[path] = text.encode()[:MAX_FILE_BYTES]
            elif path in ("/dev/stdout", "/dev/stderr", "/dev/termination-log"):
                yield Write(path.removeprefix("/dev/"), text)
        return code

    def execute(self, words: list[str]) -> Run:
        name = _name(words[0])
        if name in _SHELLS:
            return (yield from self._subshell(name, words[1:]))
        found = COMMANDS.get(name)
        if found is None:
            yield Write("stderr", f"sh: {words[0]}: not found\n")
            return NOT_FOUND
        return (yield from found(self, words[1:]))

    def _subshell(self, name: str, arguments: list[str]) -> Run:
        while arguments and arguments[0].startswith("-") and "c" not in arguments[0]:
            arguments = arguments[1:]
        if not arguments:
            source = self.stdin
        elif arguments[0].startswith("-"):
            source = arguments[1] if len(arguments) > 1 else ""
        else:
            content = self.world.files.get(self.path(arguments[0]))
            if content is None:
                yield Write("stderr", f"{name}: can't open '{arguments[0]}': No such file or directory\n")
                return 2
            source = content.decode(errors="replace")
        inner = Shell(self.world, self.stdin)
        inner.variables = dict(self.variables)
        try:
            tree = parse(source)
            return (yield from inner.run(tree))
        except SyntaxProblem as problem:
            yield Write("stderr", f"{name}: {problem}\n")
            return 2
        except Ended as ended:
            return ended.code

    # --- words

    def _expand_all(self, words: Sequence[Word]) -> Generator[Step, None, list[str]]:
        parts: list[str] = []
        for word in words:
            parts += yield from self._expand(word)
        return parts

    def _expand(self, word: Word) -> Generator[Step, None, list[str]]:
        text = ""
        for piece, is_literal in word.pieces:
            text += piece if is_literal else (yield from self._substitute(piece))
        if word.quoted:
            return [text]
        changed = any("$" in piece or "`" in piece for piece, is_literal in word.pieces if not is_literal)
        return text.split() if changed else [text]

    def _substitute(self, piece: str) -> Generator[Step, None, str]:
        result, at = "", 0
        for match in _VARIABLE.finditer(piece):
            result += piece[at : match.start()]
            at = match.end()
            plain, braced, default, command, quoted = match.groups()
            if command is not None or quoted is not None:
                result += yield from self._command_output(command if command is not None else quoted)
            else:
                result += self._variable(plain or braced, default or "")
        return result + piece[at:]

    def _command_output(self, source: str) -> Generator[Step, None, str]:
        if source.startswith("(") and source.endswith(")"):
            return self._arithmetic(source[1:-1])
        try:
            text = yield from self.capture(parse(source))
        except SyntaxProblem as problem:
            yield Write("stderr", f"sh: {problem}\n")
            return ""
        return text.rstrip("\n")

    def _arithmetic(self, source: str) -> str:
        """Sums and differences, which is what counting loops use."""
        text = re.sub(r"\$?([A-Za-z_]\w*)", lambda m: self.variables.get(m[1], "0"), source)
        numbers = re.findall(r"([+-]?)\s*(\d+)", text)
        return str(sum(-int(digits) if sign == "-" else int(digits) for sign, digits in numbers))

    def _variable(self, name: str, default: str) -> str:
        if name == "?":
            return str(self.status)
        value = self.variables.get(name, {"$": "1", "#": "0", "HOSTNAME": self.world.hostname}.get(name, ""))
        if default and (not value or name not in self.variables):
            return default.lstrip(":")[1:] if "+" not in default[:2] else ""
        return value

    def path(self, text: str) -> str:
        if not text.startswith("/"):
            text = f"{self.world.directory.rstrip('/')}/{text}"
        parts: list[str] = []
        for part in text.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        return "/" + "/".join(parts)


def _name(program: str) -> str:
    return program.rpartition("/")[2]
