"""``python -m lightning_reid``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts the current folder first, where files may be called like optional packages
    if not Path("lightning_reid", "__init__.py").exists() and sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]

    from lightning_reid.cli import main

    main()
