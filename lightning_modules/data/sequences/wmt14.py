"""WMT 2014's official files: Europarl v7, Common Crawl and News Commentary v9, and newstest.

They are read as the workshop's archives unpack them, in one folder or each in its own; the test is
newstest2014, whose German-English and English-German files hold the same sentences.
"""

from __future__ import annotations

from ..arguments import one_of, wrong
from .parallel_text import Parallel

CORPORA = ("europarl-v7", "commoncrawl", "news-commentary-v9")
# Folders inside the archives, and the archives' own.
_FOLDERS = (
    "",
    "training/",
    "training-parallel-europarl-v7/training/",
    "training-parallel-europarl-v7/",
    "training-parallel-commoncrawl/",
    "training-parallel-nc-v9/training/",
    "training-parallel-nc-v9/",
    "dev/",
    "test-full/",
    "test/",
)


class WMT14(Parallel):
    """News and parliament, English with German, French, Czech, Russian or Hindi.

    Args:
        source: Language to translate from; one of the two must be `en`.
        target: Language to translate to.
        corpora: Which of the training files are read; default: the three of German and French.
        batch_size: Training pairs per step and process.
        vocab_size: Most units of each language.
        max_length: Longest sentence to train on, in units; default: any.
        data_dir: The folder that holds the unpacked archives; default: `wmt14` where the search of
            `files.py` looks.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "wmt14"

    def __init__(
        self,
        source: str = "de",
        target: str = "en",
        corpora: list[str] | None = None,
        batch_size: int = 128,
        vocab_size: int = 32000,
        max_length: int | None = 100,
        data_dir: str | None = None,
    ):
        super().__init__(
            data_dir,
            source,
            target,
            batch_size=batch_size,
            vocab_size=vocab_size,
            max_length=max_length,
        )
        if "en" not in self.languages:
            raise wrong("target", f"en where `source` is {source!r}", target)
        self.other = source if target == "en" else target
        one_of("source" if target == "en" else "target", self.other, ("de", "fr", "cs", "ru", "hi"))
        for corpus in CORPORA if corpora is None else corpora:
            one_of("corpora", corpus, CORPORA)
        train = [f"{corpus}.{self.other}-en" for corpus in corpora or CORPORA]
        self.files = {"train": train, "val": ["newstest2013"], "test": ["newstest2014"]}

    def candidates(self, name: str, language: str) -> list[str]:
        """Plain files, and for the news also the `.sgm` files that the workshop scored with."""
        names = [f"{name}.{language}"]
        if name.startswith("newstest"):
            side = "src" if language == self.languages[0] else "ref"
            names += [f"{name}-{self.other}en-{side}.{language}.sgm"]
            names += [f"{name}-{side}.{language}.sgm"]
        return [folder + one for one in names for folder in _FOLDERS]
