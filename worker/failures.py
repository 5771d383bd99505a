"""Where an error came from, without what it says: a library's text can hold a phone number or an address."""

from pathlib import Path
from traceback import walk_tb

_ROOT = Path(__file__).resolve().parent.parent
_OURS = (str(_ROOT / "worker"), str(_ROOT / "tasks"))


def where(error: BaseException) -> str:
    """The last place in our own code that the error passed, as file and line."""
    for frame, line in reversed(list(walk_tb(error.__traceback__))):
        path = Path(frame.f_code.co_filename)
        if str(path).startswith(_OURS):
            return f"{path.relative_to(_ROOT).as_posix()}:{line}"
    return "a library"
