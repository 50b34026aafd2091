"""How pages are made from templates: escaping, the filters and the style sheet that all pages share.

Not here: the pages (page.py, audit/page.py).
"""

from collections.abc import Sequence

import jinja2
from jinja2.ext import Extension

from deepssim.evaluation.intervals import percent

_PACKAGE = "deepssim.reporting"


def page_environment(package: str = _PACKAGE, extensions: Sequence[type[Extension]] = ()) -> jinja2.Environment:
    """Return an environment for the templates of a package, which can include the shared `base.css`.

    Args:
        package: that has a folder `templates`.
        extensions: of Jinja.
    """
    loaders = [jinja2.PackageLoader(name) for name in dict.fromkeys((package, _PACKAGE))]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=list(extensions),
    )
    environment.filters["percent"] = percent
    return environment
