"""The kit's reward as files that run without the kit: verdict, rewards and types, copied with their imports
changed to the copy's name."""

from __future__ import annotations

from pathlib import Path

from rmr1_lite import __version__
from rmr1_lite.storage import atomic_write_text

PACKAGE = "rmr1_lite_reward"
KIT = Path(__file__).parents[2]
# file of the kit -> file of the copy; all of them import the standard library and each other
COPIED = {
    "types.py": "types.py",
    "training/rewards.py": "rewards.py",
    **{f"verdict/{path.name}": f"verdict/{path.name}" for path in sorted((KIT / "verdict").glob("*.py"))},
}
ABOUT = '''"""The reward of rmr1_lite {version}, copied: what it does is described in each file. Do not
edit."""
'''


def write_reward(folder: Path) -> Path:
    """Write the package into `folder`; returns its own folder."""
    package = folder / PACKAGE
    for source, copy in COPIED.items():
        text = (KIT / source).read_text(encoding="utf-8")
        atomic_write_text(package / copy, text.replace("from rmr1_lite.", f"from {PACKAGE}."))
    atomic_write_text(package / "__init__.py", ABOUT.format(version=__version__))
    return package
