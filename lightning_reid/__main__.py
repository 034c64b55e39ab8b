"""``python -m lightning_reid``."""

from lightning_reid.cli import main

if __name__ == "__main__":
    main()
