"""The phrases that say what a text finder looks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from samgeo.errors import OptionError

__all__ = ["check_lengths", "read_phrases"]


def read_phrases(what: str | Sequence[str]) -> tuple[str, ...]:
    """Return the phrases of a text or of a sequence, with single spaces between their words.

    Parameters
    ----------
    what : str or sequence of str
        Phrases that are separated by commas, or one phrase for each item.

    Raises
    ------
    OptionError
        If there is no phrase, a phrase is empty, or two phrases are equal. Upper and lower case are the same to the models.

    Examples
    --------
    >>> from samgeo.finding.text.phrases import read_phrases
    >>> read_phrases("solar panel,  swimming   pool")
    ('solar panel', 'swimming pool')
    """
    parts = what.split(",") if isinstance(what, str) else list(what)
    phrases = tuple(" ".join(part.split()) for part in parts)
    if not phrases or phrases == ("",):
        raise OptionError('there is no phrase to look for; give one or more, for example "solar panel, swimming pool".')
    if "" in phrases:
        raise OptionError(f"phrase {phrases.index('') + 1} of {len(phrases)} is empty; leave out the comma or the item.")
    twice = [phrase for phrase, count in Counter(phrase.lower() for phrase in phrases).items() if count > 1]
    if twice:
        raise OptionError(f"the phrase {twice[0]!r} is given twice; give each phrase once.")
    return phrases


def check_lengths(phrases: Sequence[str], counts: Sequence[int], most: int, model: str) -> None:
    """Check the number of tokens of each phrase, with the tokens at its start and end.

    Raises
    ------
    OptionError
        If a phrase has more tokens than the model reads.
    """
    for phrase, count in zip(phrases, counts, strict=True):
        if count > most:
            raise OptionError(
                f"the phrase {phrase!r} has {count} tokens, and {model} reads at most {most} tokens of a phrase; shorten it."
            )
