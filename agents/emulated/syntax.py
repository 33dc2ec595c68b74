"""The grammar of the small shell: from text to a tree of commands.

Known: words with quotes and variables, `;`, newlines, `&`, `&&`, `||`, `!`, pipes, redirections and here
documents, functions, and the compound commands while, until, for, if, case, { } and ( ). What is beyond
that is a syntax error, as in a shell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


class SyntaxProblem(Exception):
    """Worded as busybox's ash does."""


@dataclass(frozen=True, slots=True)
class Word:
    """Pieces of text; those not `literal` have their variables replaced. `quoted`: never split."""

    pieces: tuple[tuple[str, bool], ...]
    quoted: bool


@dataclass(frozen=True, slots=True)
class Simple:
    words: tuple[Word, ...]
    redirects: tuple[tuple[str, Word], ...] = ()
    """Operator (>, >>, <, 2>, &>) and target."""


@dataclass(frozen=True, slots=True)
class Pipe:
    stages: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """`first`, then per link an operator (; && ||) and what follows."""

    first: Tree
    links: tuple[tuple[str, Tree], ...]


@dataclass(frozen=True, slots=True)
class Loop:
    condition: Tree
    body: Tree
    until: bool


@dataclass(frozen=True, slots=True)
class ForEach:
    name: str
    words: tuple[Word, ...]
    body: Tree


@dataclass(frozen=True, slots=True)
class Branch:
    condition: Tree
    then: Tree
    otherwise: Tree | None


@dataclass(frozen=True, slots=True)
class Case:
    word: Word
    branches: tuple[tuple[tuple[Word, ...], Tree], ...]


@dataclass(frozen=True, slots=True)
class Redirected:
    """A compound command with redirections of its own."""

    body: Tree
    redirects: tuple[tuple[str, Word], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """( … ): in a shell of its own."""

    body: Tree


@dataclass(frozen=True, slots=True)
class Background:
    body: Tree


@dataclass(frozen=True, slots=True)
class Not:
    body: Tree


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    body: Tree


Tree: TypeAlias = (
    Simple | Pipe | Chain | Loop | ForEach | Branch | Case | Redirected | Group | Background | Not | Function
)

NOTHING = Simple(words=())
_REDIRECTS = ("2>&1", "1>&2", ">&2", "&>", "2>>", "2>", "1>>", "1>", ">>", ">|", ">", "<<-", "<<", "<")
"""`<<` stands with its text as the target."""
_OPERATORS = (*_REDIRECTS[:4], "&&", "||", *_REDIRECTS[4:], ";;", ";", "\n", "|", "&", "(", ")")
_CLOSING = ("do", "done", "then", "else", "elif", "fi", "}", "esac")


@dataclass(slots=True)
class _Token:
    operator: str = ""
    pieces: list[tuple[str, bool]] = field(default_factory=list)
    quoted: bool = False

    def keyword(self) -> str:
        return self.pieces[0][0] if len(self.pieces) == 1 and not self.quoted else ""


def parse(text: str) -> Tree:
    """Raises SyntaxProblem."""
    parser = _Parser(_tokens(text))
    tree = parser.sequence()
    if parser.peek() is not None:
        raise SyntaxProblem(f'syntax error: unexpected "{parser.shown()}"')
    return tree


class Incomplete(SyntaxProblem):
    """More lines are needed."""


def parse_more(text: str) -> Tree:
    """As `parse`, where the text may be continued. Raises Incomplete, SyntaxProblem."""
    try:
        return parse(text)
    except SyntaxProblem as problem:
        if "end of file" in str(problem) or "unterminated" in str(problem):
            raise Incomplete(str(problem)) from problem
        raise


def literal(words: Sequence[str]) -> Simple:
    """A command given as an argument list."""
    return Simple(words=tuple(Word(pieces=((word, True),), quoted=True) for word in words))


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    documents: list[_Token] = []
    """Words after `<<` whose text is still to come."""
    at = 0
    while at < len(text):
        character = text[at]
        if character in " \t" or text.startswith("\\\n", at):
            at += 1 if character in " \t" else 2
        elif character == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif operator := next((o for o in _OPERATORS if text.startswith(o, at)), ""):
            tokens.append(_Token(operator=operator))
            at += len(operator)
            if operator == "\n":
                for token in documents:
                    at = _document(text, at, token)
                documents.clear()
        else:
            token, at = _word(text, at)
            if tokens and tokens[-1].operator in ("<<", "<<-"):
                documents.append(token)
            tokens.append(token)
    return tokens


def _document(text: str, at: int, token: _Token) -> int:
    """Puts a here document in the place of the word that ends it."""
    end_word = "".join(piece for piece, _ in token.pieces)
    lines = []
    while at < len(text):
        line, newline, _ = text[at:].partition("\n")
        at += len(line) + len(newline)
        if line.strip("\t") == end_word:
            break
        lines.append(line + "\n")
    token.pieces = [("".join(lines), token.quoted)]
    token.quoted = True
    return at


def _word(text: str, at: int) -> tuple[_Token, int]:
    token = _Token()
    while at < len(text) and text[at] not in " \t\n;|&<>()":
        character = text[at]
        if character == "'":
            end = _closing(text, "'", at + 1)
            token.pieces.append((text[at + 1 : end], True))
            token.quoted, at = True, end + 1
        elif character == '"':
            at = _double_quoted(text, at + 1, token)
        elif character == "\\" and at + 1 < len(text):
            token.pieces.append((text[at + 1], True))
            at += 2
        else:
            end = at
            while end < len(text) and text[end] not in " \t\n;|&<>()'\"\\":
                end = _past_substitution(text, end)
            token.pieces.append((text[at:end], False))
            at = end
    return token, at


def _double_quoted(text: str, at: int, token: _Token) -> int:
    token.quoted = True
    token.pieces.append(("", True))
    start = at
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$", "`"):
            token.pieces += [(text[start:at], False), (text[at + 1], True)]
            at = start = at + 2
        else:
            at = _past_substitution(text, at)
    if at >= len(text):
        raise SyntaxProblem("syntax error: unterminated quoted string")
    token.pieces.append((text[start:at], False))
    return at + 1


def _past_substitution(text: str, at: int) -> int:
    """Past one character, or past a whole $(…), ${…}, `…`."""
    if text.startswith("$(", at):
        depth, at = 1, at + 2
        while at < len(text) and depth:
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        return at
    if text.startswith("${", at):
        return _closing(text, "}", at) + 1
    if text[at] == "`":
        return _closing(text, "`", at + 1) + 1
    return at + 1


def _closing(text: str, character: str, at: int) -> int:
    end = text.find(character, at)
    if end < 0:
        raise SyntaxProblem("syntax error: unterminated quoted string")
    return end


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def shown(self) -> str:
        token = self.peek()
        return "end of file" if token is None else token.operator or token.keyword()

    def _operator(self) -> str:
        token = self.peek()
        return token.operator if token is not None else ""

    def _keyword(self) -> str:
        token = self.peek()
        return token.keyword() if token is not None else ""

    def _expect(self, keyword: str) -> None:
        if self._keyword() != keyword:
            raise SyntaxProblem(f'syntax error: unexpected {self.shown()} (expecting "{keyword}")')
        self._at += 1

    def _skip_breaks(self) -> None:
        while self._operator() in (";", "\n", "&"):
            self._at += 1

    def sequence(self) -> Tree:
        """Up to the end, or to a word that closes a compound command."""
        self._skip_breaks()
        if self._at_end():
            return NOTHING
        parts: list[tuple[str, Tree]] = [(";", self._pipe())]
        while (operator := self._operator()) in (";", "\n", "&", "&&", "||"):
            self._at += 1
            if operator == "&":
                parts[-1] = (parts[-1][0], Background(parts[-1][1]))
            self._skip_breaks()
            if self._at_end():
                break
            parts.append((operator if operator in ("&&", "||") else ";", self._pipe()))
        return Chain(parts[0][1], tuple(parts[1:])) if len(parts) > 1 else parts[0][1]

    def _at_end(self) -> bool:
        return self.peek() is None or self._keyword() in _CLOSING or self._operator() in (")", ";;")

    def _pipe(self) -> Tree:
        if self._keyword() == "!":
            self._at += 1
            return Not(self._pipe())
        stages = [self._command()]
        while self._operator() == "|":
            self._at += 1
            self._skip_breaks()
            stages.append(self._command())
        return Pipe(tuple(stages)) if len(stages) > 1 else stages[0]

    def _command(self) -> Tree:
        tree = self._compound()
        if isinstance(tree, Simple | Function):
            return tree
        redirects: list[tuple[str, Word]] = []
        while self._operator() in _REDIRECTS:
            redirects.append(self._redirect())
        return Redirected(tree, tuple(redirects)) if redirects else tree

    def _compound(self) -> Tree:
        match self._keyword():
            case "while" | "until" as word:
                self._at += 1
                condition = self.sequence()
                return Loop(condition, self._body(), word == "until")
            case "for":
                return self._for()
            case "case":
                return self._case()
            case "if":
                self._at += 1
                return self._branch()
            case "{":
                self._at += 1
                tree = self.sequence()
                self._expect("}")
                return tree
        if self._operator() == "(":
            self._at += 1
            tree = self.sequence()
            if self._operator() != ")":
                raise SyntaxProblem(f'syntax error: unexpected {self.shown()} (expecting ")")')
            self._at += 1
            return Group(tree)
        if [t.operator for t in self._tokens[self._at + 1 : self._at + 3]] == ["(", ")"]:
            name = self._keyword()
            self._at += 3
            self._skip_breaks()
            return Function(name, self._command())
        return self._simple()

    def _body(self) -> Tree:
        self._expect("do")
        body = self.sequence()
        self._expect("done")
        return body

    def _for(self) -> Tree:
        self._at += 1
        name = self._keyword()
        self._at += 1
        if self._keyword() != "in":
            self._skip_breaks()
            return ForEach(name, (Word((("$@", False),), True),), self._body())
        self._expect("in")
        words = []
        while (token := self.peek()) is not None and not token.operator:
            words.append(Word(tuple(token.pieces), token.quoted))
            self._at += 1
        self._skip_breaks()
        return ForEach(name, tuple(words), self._body())

    def _case(self) -> Tree:
        self._at += 1
        word = self._target()
        self._skip_breaks()
        self._expect("in")
        self._skip_breaks()
        branches: list[tuple[tuple[Word, ...], Tree]] = []
        while self._keyword() != "esac":
            if self._operator() == "(":
                self._at += 1
            patterns = [self._target()]
            while self._operator() == "|":
                self._at += 1
                patterns.append(self._target())
            if self._operator() != ")":
                raise SyntaxProblem(f'syntax error: unexpected {self.shown()} (expecting ")")')
            self._at += 1
            branches.append((tuple(patterns), self.sequence()))
            if self._operator() == ";;":
                self._at += 1
            self._skip_breaks()
        self._at += 1
        return Case(word, tuple(branches))

    def _branch(self) -> Tree:
        condition = self.sequence()
        self._expect("then")
        then = self.sequence()
        if self._keyword() == "elif":
            self._at += 1
            return Branch(condition, then, self._branch())
        otherwise = None
        if self._keyword() == "else":
            self._at += 1
            otherwise = self.sequence()
        self._expect("fi")
        return Branch(condition, then, otherwise)

    def _simple(self) -> Tree:
        words: list[Word] = []
        redirects: list[tuple[str, Word]] = []
        while (token := self.peek()) is not None:
            if token.operator in _REDIRECTS:
                redirects.append(self._redirect())
            elif token.operator:
                break
            else:
                words.append(Word(tuple(token.pieces), token.quoted))
                self._at += 1
        if not words and not redirects:
            raise SyntaxProblem(f'syntax error: unexpected "{self.shown()}"')
        return Simple(tuple(words), tuple(redirects))

    def _redirect(self) -> tuple[str, Word]:
        operator = self._operator()
        self._at += 1
        return operator, Word((), False) if operator.endswith(("&1", "&2")) else self._target()

    def _target(self) -> Word:
        token = self.peek()
        if token is None or token.operator:
            raise SyntaxProblem(f'syntax error: unexpected "{self.shown()}"')
        self._at += 1
        return Word(tuple(token.pieces), token.quoted)
