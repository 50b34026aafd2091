"""Two folders to a verdict: inventory, subjects, retrieval, evidence, calibration, controls, figures, page.

The room has the name of the notebook's call `deepssim.audit(...)`, and importing any of its modules makes it an attribute
of the package; so the room itself can be called.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepssim.audit.result import AuditResult


class _CallableRoom(ModuleType):
    def __call__(self, *folders: Any, **settings: Any) -> "AuditResult":
        """Run an audit; see `deepssim.audit.run.audit_images`."""
        from deepssim.audit.run import audit_images

        return audit_images(*folders, **settings)


sys.modules[__name__].__class__ = _CallableRoom
