"""What was done to pictures on their way in, counted, and said in one line.

Counts are by a short word ("scaled", "turned", "skipped .txt"). They stay with the data set as `ImageData.remarks`, and
are said once as a warning of the kind `DataNote`, so that nothing is changed or left out in silence.
"""

import warnings
from collections.abc import Mapping

SKIPPED, ASIDE = (
    "skipped ",
    "left aside ",
)  # files that are no pictures, by ending; folders or splits that have no place


class DataNote(UserWarning):
    """Says what was changed or left out when a data set was read."""


def sentence(name: str, pictures: int, remarks: Mapping[str, int]) -> str:
    """Return one line that says what was done; empty if nothing was.

    >>> sentence("pets", 40, {"scaled": 12, "skipped .txt": 3, "turned": 1, "left aside val/": 1})
    'pets, 40 pictures: 12 scaled, 1 turned; 3 files skipped (.txt 3); left aside: val/'
    """
    done = [f"{count} {word}" for word, count in remarks.items() if not word.startswith((SKIPPED, ASIDE))]
    skipped = {word.removeprefix(SKIPPED): count for word, count in remarks.items() if word.startswith(SKIPPED)}
    aside = [word.removeprefix(ASIDE) for word in remarks if word.startswith(ASIDE)]
    parts = [", ".join(done)] if done else []
    if skipped:
        number, each = sum(skipped.values()), ", ".join(f"{ending} {count}" for ending, count in skipped.items())
        parts.append(f"{number} file{'s' * (number != 1)} skipped ({each})")
    if aside:
        parts.append(f"left aside: {', '.join(aside)}")
    return f"{name}, {pictures:,} pictures: {'; '.join(parts)}" if parts else ""


def say(name: str, pictures: int, remarks: Mapping[str, int]) -> None:
    """Warn of what was done, if anything was."""
    if text := sentence(name, pictures, remarks):
        warnings.warn(text, DataNote, stacklevel=3)


def say_plainly(silent: bool = False) -> None:
    """Let notes of this process be lines of a command, "unidd: note: …", without the place in the code.

    Args:
        silent: leave them out, as in all processes of a run but the first.
    """
    usual = warnings.formatwarning

    def formatted(message, category, *place, **line):
        return (
            f"unidd: note: {message}\n" if issubclass(category, DataNote) else usual(message, category, *place, **line)
        )

    warnings.formatwarning = formatted
    if silent:
        warnings.simplefilter("ignore", DataNote)
