# @title Set-up: finds the kit and installs what is missing
# The only place that names the kit's source. Empty: a checkout, an uploaded zip, or a dataset added on
# Kaggle.
REPO_URL = ""

import subprocess
import sys
import zipfile
from pathlib import Path

here, inputs = Path.cwd(), Path("/kaggle/input")
is_kit = lambda folder: (
    (folder / "rmr1_lite" / "types.py").is_file() and (folder / "requirements-colab.txt").is_file()
)
places = lambda: [here, *here.parents, *sorted(here.glob("rmr1_lite*")), *sorted(here.glob("rmr1_lite*/*"))]
root, how = next(filter(is_kit, places()), None), "found here"
newer = [
    zipped for zipped in sorted(here.glob("*.zip")) if root and zipped.stat().st_mtime > root.stat().st_mtime
]
# a zip uploaded after the one that was unpacked
root = None if newer and "rmr1_lite_kit" in str(root) else root
if root is None and REPO_URL:
    done = subprocess.run(
        ["git", "clone", "--depth", "1", REPO_URL, "rmr1_lite_kit"], capture_output=True, text=True
    )
    shown = REPO_URL.rpartition("@")[2]  # an address may hold a token
    why = done.stderr.strip()[-200:].replace(REPO_URL, shown)
    print(f"Cloning {shown} failed: {why}" if done.returncode else f"Cloned {shown}")
    root, how = next(filter(is_kit, places()), None), f"cloned from {shown}"
if root is None:  # no address, or no internet
    root, how = next(filter(is_kit, sorted(inputs.glob("**/"))), None), "a dataset added on Kaggle"
for archive in [] if root else [*sorted(here.glob("*.zip")), *sorted(inputs.glob("**/*.zip"))]:
    with zipfile.ZipFile(archive) as held:
        inside = [name for name in held.namelist() if name.endswith("rmr1_lite/types.py")]
        if inside:
            held.extractall(here / "rmr1_lite_kit")
            root, how = here / "rmr1_lite_kit" / Path(inside[0]).parents[1], f"unpacked from {archive.name}"
            break
if root is None:
    raise RuntimeError(
        "The kit was not found. Upload its zip into this folder (Colab: the folder icon on the left), add it "
        "as a dataset (Kaggle: Add Input), or write its address into REPO_URL above; then run this cell "
        "again."
    )
sys.path.insert(0, str(root))

from rmr1_lite.notebook.setup import set_up

set_up(root, how)
