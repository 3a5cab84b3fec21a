"""What Sphinx needs for this folder beside its own extensions.

The pages are read in two places: as files, where ``protocol.rst#resume`` is a link, and as the site. So links between
pages are written as links to files, and :class:`FileLinks` turns each into a link of the site: to a page, or to a
download of the file.

The directive ``interface`` documents an interface of zope.interface; ``sphinx.ext.autodoc`` can document only classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective
from zope.interface.interface import InterfaceClass, Method

ROOT: Final = Path(__file__).resolve().parent.parent
#: Pages of the site that are files elsewhere in the tree, by their paths from the root.
_ELSEWHERE: Final = {"CHANGELOG.rst": "changelog"}
_LINK_OF_A_PAGE: Final = "airyd_page"


class FileLinks(SphinxTransform):
    """Turns links to files of the tree into links of the site."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Look at all links of a page (Sphinx's interface)."""
        folder = Path(self.env.doc2path(self.env.docname)).resolve().parent
        for link in list(self.document.findall(nodes.reference)):
            target = link.get("refuri", "")
            if not target or "://" in target or target.startswith(("#", "mailto:")):
                continue
            name, _, section = target.partition("#")
            # What CHANGELOG.rst includes is linked from the root.
            path = next((each for each in ((folder / name).resolve(), (ROOT / name).resolve()) if each.exists()), None)
            if path is None or path.is_dir():
                link.replace_self(link.children)
                continue
            page = self._page(path)
            if page is not None:
                link[_LINK_OF_A_PAGE] = (page, section)
                continue
            download = addnodes.download_reference("", "", reftarget=f"/../{path.relative_to(ROOT)}", refdoc="")
            download.extend(link.children)
            link.replace_self(download)

    def _page(self, path: Path) -> str | None:
        elsewhere = _ELSEWHERE.get(str(path.relative_to(ROOT)))
        if elsewhere is not None:
            return elsewhere
        name = self.env.path2doc(path)
        return name if name in self.env.found_docs else None


def _resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for link in doctree.findall(nodes.reference):
        if _LINK_OF_A_PAGE in link:
            page, section = link[_LINK_OF_A_PAGE]
            uri = app.builder.get_relative_uri(docname, page)
            link["refuri"] = f"{uri}#{section}" if section else uri
            link["internal"] = True


class InterfaceDirective(SphinxDirective):
    """``.. interface:: airyd.interfaces.IEventSink``: its docstring, its methods and its attributes."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the documentation (docutils' interface)."""
        module, _, name = self.arguments[0].rpartition(".")
        interface = getattr(import_module(module), name)
        self.env.note_dependency(str(inspect.getsourcefile(import_module(module))))
        lines = StringList(list(_described(interface, module)), source=f"docstring of {self.arguments[0]}")
        holder = nodes.container()
        self.state.nested_parse(lines, self.content_offset, holder)
        return list(holder.children)


def _described(interface: InterfaceClass, module: str) -> Iterator[str]:
    yield f".. py:class:: {interface.__name__}"
    yield f"   :module: {module}"
    yield ""
    yield from _indented(interface.__doc__)
    bases = [base.__name__ for base in interface.__bases__ if base.__module__ == module]
    if bases:
        yield from _indented(f"Extends {', '.join(f':py:class:`{base}`' for base in bases)}.")
    for name, member in interface.namesAndDescriptions():
        if isinstance(member, Method):
            yield f"   .. py:method:: {name}{member.getSignatureString()}"
        else:
            yield f"   .. py:attribute:: {name}"
        yield ""
        yield from (f"   {line}".rstrip() for line in _indented(member.getDoc()))


def _indented(text: str) -> Iterator[str]:
    for line in inspect.cleandoc(text).splitlines():
        yield f"   {line}".rstrip()
    yield ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Add all of this to Sphinx (its interface)."""
    app.add_transform(FileLinks)
    app.connect("doctree-resolved", _resolve)
    app.add_directive("interface", InterfaceDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
