"""Changes a module of the product right after it was imported, before anybody took a name out of it."""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from dunlin_faults import mutations, points


class _After(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        mutations.mutate(module)
        points.place(module)


class _Finder(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in points.MODULES and name not in mutations.MODULES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _After(spec.loader)
        return spec


def install() -> None:
    """For the life of this process."""
    sys.meta_path.insert(0, _Finder())
