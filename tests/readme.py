"""Blocks of code in a Markdown text."""

import re
from dataclasses import dataclass

_FENCE = re.compile(
    r"(?:^<!--\s*not run:(?P<reason>[^\n]*?)-->[ \t]*\n\s*)?^```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block; `not_run` is the reason of a comment `<!-- not run: reason -->` right before it, else None."""

    line: int
    language: str
    text: str
    not_run: str | None


def code_blocks(markdown):
    """The fenced blocks of a text, in order."""
    blocks = []
    for match in _FENCE.finditer(markdown):
        reason = match["reason"]
        line = markdown.count("\n", 0, match.start("text"))
        blocks.append(CodeBlock(line, match["language"], match["text"], None if reason is None else reason.strip()))
    return blocks


def commands(text):
    """The commands of a block of shell: lines with their continuations, without comments and empty lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
