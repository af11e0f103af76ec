"""The text of tiny Shakespeare; nothing here imports torch: `paceline data` must answer at once.

The digest was computed from the file. The files of Multi30k are in `multi30k_files.py`.
"""

from __future__ import annotations

from ..files import DataFile, FileSource
from ..sources import ShippedSource

TINY_SHAKESPEARE = FileSource(
    name="tinyshakespeare",
    origin="Karpathy (2015), 40,000 lines of Shakespeare's plays, github.com/karpathy/char-rnn",
    files=(
        DataFile(
            "input.txt",
            1_115_394,
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",
    packed=False,
    layouts=("tiny-shakespeare", "char-rnn/data/tinyshakespeare"),
    remedies=("put the file `input.txt` into a folder and name it with `--data.data_dir`",),
)

HELLO = ShippedSource("hello", "the five characters of the deck's character model", "paceline")
