"""Import every module of the installed package: none may need what only Unix has. ``--without fcntl resource``."""

import importlib
import pkgutil
import sys

WITHOUT = set(sys.argv[sys.argv.index("--without") + 1 :]) if "--without" in sys.argv else set()


class Missing:
    """An importer that knows nothing of some modules, as Python on Windows does."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse the modules that are missing."""
        if name in WITHOUT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
for name in WITHOUT:
    sys.modules.pop(name, None)
import ncct_cta  # noqa: E402

count = 0
for module in pkgutil.walk_packages(ncct_cta.__path__, "ncct_cta."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        count += 1
print(f"{count} modules imported, without {', '.join(sorted(WITHOUT)) or 'nothing missing'}")
