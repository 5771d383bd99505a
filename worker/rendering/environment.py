"""The small part of Jinja2 that a template may use, and the errors that say where a template is wrong.

Two walls. The parser takes only the kinds of node a text needs: output, if, a loop over `accounts`, blocks,
and includes by fixed name; no calls, no arithmetic, no assignment, no import. Behind it stands Jinja's
immutable sandbox, told that no value has attributes worth reading. So a template can neither reach Python nor
run long.
"""

from collections.abc import Callable
from traceback import walk_tb
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, TemplateSyntaxError, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

_ALLOWED_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Filter,
    nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.For, nodes.Extends, nodes.Block, nodes.Include,
)  # fmt: skip
_ALLOWED_FILTERS = ("length", "e", "escape")
_NOT_IN_A_LOOP: tuple[type[nodes.Node], ...] = (nodes.For, nodes.Include, nodes.Block)
_NOT_WORDS = ("accounts", "account", "loop")


class TemplateMissing(LookupError):
    """No template for this locale, tier and channel; says which file or folder was looked for."""


class TemplateBroken(Exception):
    """A template that cannot be read or rendered. `where` is file and line, `why` one sentence."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where
        self.why = why


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2 for one locale. `load` gives (source, file name, None), or None for no such template."""

    def __init__(self, load: Callable[[str], tuple[str, str, None] | None]) -> None:
        super().__init__(
            loader=FunctionLoader(load),
            undefined=StrictUndefined,
            autoescape=_is_html,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,  # an included file ends its own line
            auto_reload=False,
            cache_size=-1,
        )
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in _ALLOWED_FILTERS}
        self.tests.clear()

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only a loop has attributes; an account's facts are items of a dict and do not come this way."""
        is_fact = isinstance(obj, LoopContext) and not callable(value)
        return is_fact and super().is_safe_attribute(obj, attr, value)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in _every_node(tree):
            if reason := _refusal(node):
                raise TemplateSyntaxError(reason, node.lineno or 1, name, filename)
        return tree


def _is_html(name: str | None) -> bool:
    return name is None or name.endswith(".html")


def _every_node(node: nodes.Node) -> list[nodes.Node]:
    found = [node]
    for child in node.iter_child_nodes():
        found += _every_node(child)
    return found


def _refusal(node: nodes.Node) -> str:
    if not isinstance(node, _ALLOWED_NODES):
        return f"{type(node).__name__} is not part of the template language here"
    match node:
        case nodes.Include(template=nodes.Const()) | nodes.Extends(template=nodes.Const()):
            return ""
        case nodes.Include() | nodes.Extends():
            return "a template is included or extended by its name in quotes"
        case nodes.For(
            target=nodes.Name(name="account"), iter=nodes.Name(name="accounts"), recursive=False
        ) if not any(node.find(kind) for kind in _NOT_IN_A_LOOP):
            return ""
        case nodes.For():
            # An included file or a block filled elsewhere may hold a loop: each level multiplies the work.
            return "a loop is: for account in accounts; it holds no other loop, no include and no block"
        case nodes.Getattr(node=nodes.Name(name="account" | "loop")):
            return ""
        case nodes.Output() if any(isinstance(n, nodes.Name) and n.name in _NOT_WORDS for n in node.nodes):
            return "accounts, account and loop are no words to print"
        case nodes.Name(name="self"):
            return "a block cannot be called up by name"
        case nodes.Getattr():
            return "only an account and its loop have parts"
    return ""


def place_of(error: BaseException, files: dict[str, str]) -> str:
    """File and line where a template failed. `files` maps the names Jinja compiled under to those to show."""
    if isinstance(error, TemplateSyntaxError) and error.filename in files:
        return f"{files[error.filename]}:{error.lineno}"
    # Jinja rewrites the traceback, so the innermost frame of a template file is the line in that file.
    lines = [
        f"{files[frame.f_code.co_filename]}:{line}"
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_filename in files
    ]
    return lines[-1] if lines else "template"
