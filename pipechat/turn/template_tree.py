"""The parsed template: what is not to be had in it, and measures put around what it makes."""

from __future__ import annotations

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

_FORBIDDEN: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
}
_NAMES = {"self", "super", "caller", "varargs", "kwargs"}


def check_tree(tree: nodes.Template) -> None:
    """Refuses what reaches other templates, and what may call itself without an end.

    Raises:
        TemplateSyntaxError: with the word and its line.
    """
    for node in tree.find_all(nodes.Node):
        word = _FORBIDDEN.get(type(node))
        if isinstance(node, nodes.For) and node.recursive:
            word = "recursive"
        elif isinstance(node, nodes.Name | nodes.Filter) and _is_inner(node):
            word = node.name
        if word is not None:
            raise TemplateSyntaxError(f"`{word}` is not to be had in a template", node.lineno)


def _is_inner(node: nodes.Name | nodes.Filter) -> bool:
    return node.name in _NAMES if isinstance(node, nodes.Name) else node.name.startswith("_")


def names_in(tree: nodes.Template) -> frozenset[str]:
    """The names that a template may read, less those that it sets itself."""
    named = list(tree.find_all(nodes.Name))
    set_here = {node.name for node in named if node.ctx != "load"}
    return frozenset(node.name for node in named) - set_here


def put_bounds(tree: nodes.Template) -> nodes.Template:
    """The same template, with the filters `counted`, `made` and `concat` around what it loops
    over, builds and joins, and `read` around each name that it reads; the filters' names begin
    with an underscore, which a template cannot say."""
    bounded: nodes.Template = _Bounds().visit(tree)
    return bounded


class _Bounds(NodeTransformer):
    """Puts a measure around whatever a template loops over, joins or builds, and a note around
    what it reads."""

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 — because Jinja2 calls it so
        return _filtered(node, "_read", nodes.Const(node.name)) if node.ctx == "load" else node

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 — Jinja2 names it
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 — because Jinja2 calls it so
        self.generic_visit(node)
        return _filtered(nodes.Tuple(node.nodes, "load", lineno=node.lineno), "_concat")

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 — because Jinja2 calls it so
        self.generic_visit(node)
        return _filtered(node, "_made") if isinstance(node.arg, nodes.Slice) else node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 — because Jinja2 calls it so
        self.generic_visit(node)
        node.expr = _filtered(node.expr, "_made")  # to compare what is long takes long
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, "_made")
        return node

    def _built(self, node: nodes.Node) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node, nodes.Tuple) and node.ctx != "load":
            return node
        return _filtered(node, "_made")

    visit_List = visit_Tuple = visit_Dict = _built  # noqa: N815 — because Jinja2 calls them so


def _filtered(node: nodes.Node, name: str, *more: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(more), [], None, None, lineno=node.lineno)
