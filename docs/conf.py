"""How Sphinx builds the pages: ``python -m sphinx -W -b html docs docs/_build``, with the extra ``docs``.

The Markdown pages are the ones that are read in the repository; the reference comes from the docstrings, and the
gallery from running `examples/`.
"""

import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path

from sphinx.util.nodes import make_refnode

from deconvnet import __version__

HERE = Path(__file__).parent
os.environ.setdefault("TQDM_DISABLE", "1")  # a bar in a page is many lines

project = "deconvnet"
author = copyright = "the deconvnet developers"
version = release = __version__
html_title = f"deconvnet {release}"

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
html_theme = "furo"
html_copy_source = False
default_role = "py:obj"
nitpicky = True
#: Names that need an extra, or that no page has: base classes of the standard library and private ones.
nitpick_ignore = [
    ("py:obj", "cupy"),
    ("py:obj", "cupyx.scipy.ndimage"),
    ("py:class", "torch.nn.Module"),
    ("py:class", "deconvnet.interop.torch._Named"),
    ("py:class", "abc.ABC"),
]
add_module_names = False
suppress_warnings = ["myst.header"]  # a program writes a part of performance.md
myst_heading_anchors = 4  # as in the repository's own view of these pages

# Types and shapes stand in the docstrings.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_imported_members = False
numpydoc_show_class_members = False

#: Without these extras, their pages are made all the same: the example is shown and not run, the module's base classes
#: are stand-ins.
missing = [name for name in ("torch",) if importlib.util.find_spec(name) is None]
autodoc_mock_imports = missing
NEEDS = {"torch": "pytorch"}
not_run = "|".join(NEEDS[name] for name in missing)

sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples"),
    "gallery_dirs": "gallery",
    "filename_pattern": rf"/plot_(?!\d_({not_run})\.py)" if not_run else "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "min_reported_time": 5,
}
if missing:
    print(f"not installed, so that its example is shown and not run: {', '.join(missing)}", file=sys.stderr)

#: Links to Markdown files that lie outside this folder.
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+\.md)(?:#[^)]*)?\)")


def files_of_the_repository(app, page, source):
    """The logs and cards that pages link to are no pages here: hand over the files."""
    source[0] = OUTSIDE.sub(r"{download}`\1 <\2>`", source[0])


def _exists(path):
    """Whether a dotted name can be imported, up to attributes of its last part."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
            for name in parts[count:]:
                found = getattr(found, name)
        except (ImportError, AttributeError):
            continue
        return True
    return False


def name_of_another_module(app, env, node, contnode):
    """Docstrings name things without their modules: the one page that fits, or no link if there is such a thing."""
    target, domain = node["reftarget"], env.get_domain("py")
    fitting = [name for name in domain.objects if name.endswith(f".{target}")]
    if len(fitting) == 1:
        entry = domain.objects[fitting[0]]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, fitting[0])
    module, inside = node.get("py:module"), node.get("py:class")
    places = [target, f"deconvnet.{target}", *([f"{module}.{target}"] if module else [])]
    places += [f"{module}.{inside}.{target}", f"{inside}.{target}"] if inside else []
    return contnode if fitting or any(map(_exists, places)) else None


def setup(app):
    """What Sphinx calls."""
    app.connect("source-read", files_of_the_repository)
    app.connect("missing-reference", name_of_another_module)
