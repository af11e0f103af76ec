"""The texts that a character model is trained on: any UTF-8 file, tiny Shakespeare, "hello".

Slide "RNN: Character-level" for the last. B streams, T characters in a window.
"""

from __future__ import annotations

from pathlib import Path

from ..arguments import wrong
from .characters import Characters, Parts
from .text_sources import TINY_SHAKESPEARE


class Text(Characters):
    """A text of one's own.

    Args:
        path: A file in UTF-8. It is read as it is, line ends included.
        val_share: Share of the characters to choose by, after the training part; 0: none.
        test_share: Share of the characters for the test, the last ones; 0: the test is the
            validation part again.
        batch_size: B, the streams of one process.
        window: T, over which gradients flow back.

    Raises:
        ValueError: An argument breaks its rule, or the file is no UTF-8.
        OSError: The file cannot be read.
    """

    name = "text"

    def __init__(
        self,
        path: str = "",
        val_share: float = 0.1,
        test_share: float = 0.1,
        batch_size: int = 64,
        window: int = 128,
    ):
        super().__init__(batch_size, window)
        if not path:
            raise wrong("path", "a text file in UTF-8", path)
        if not (min(val_share, test_share) >= 0 and 0 < val_share + test_share < 1):
            rule = "at least 0 and, with `test_share`, more than 0 and less than 1"
            raise wrong("val_share", rule, val_share)
        self.shares = (val_share, test_share)
        # Read at once: a model follows the vocabulary before anything else is asked for.
        self.text = read_utf8(Path(path).expanduser())
        self.prompt = "\n" if "\n" in self.parts.train else self.parts.train[0]

    def load(self) -> Parts:
        """Split the text by the shares."""
        val_share, test_share = self.shares
        count = len(self.text)
        test = count - round(count * test_share)
        val = test - round(count * val_share)
        held_out = self.text[val:test]
        return Parts(self.text[:val], held_out, self.text[test:] if test_share else held_out)


def read_utf8(path: Path) -> str:
    """A file's text, without a byte order mark.

    Raises:
        ValueError: It is no UTF-8.
        OSError: It cannot be read.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"not from byte {error.start} on ({error.reason})"
        refused = ValueError(f"`path` must be a text in UTF-8, but {path} is {place}.")
        refused.add_note(f"`iconv -t UTF-8 -f LATIN1 {path}` converts a text, here from Latin-1")
        raise refused from None


class TinyShakespeare(Characters):
    """Karpathy's tiny Shakespeare (2015): 1,115,394 characters, 65 different ones.

    The first 90 % are trained on and the rest is validated on, as everybody does. A third part is
    not published: the test is the validation part again, so a test figure is only as good as one
    that was chosen by.

    Args:
        data_dir: The folder that holds `input.txt`; default: the search of `files.py`, then a
            download.
        batch_size: B, the streams of one process.
        window: T, over which gradients flow back.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "tinyshakespeare"
    characters = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    source = TINY_SHAKESPEARE

    def __init__(self, data_dir: str | None = None, batch_size: int = 64, window: int = 128):
        super().__init__(batch_size, window)
        self.data_dir = data_dir

    def prepare_data(self) -> None:
        """Find the file or download it, and check it.

        Raises:
            FileNotFoundError: It is nowhere and cannot be downloaded; the note says what helps.
            ValueError: It is damaged, or too short for the streams.
        """
        _ = self.parts

    def load(self) -> Parts:
        """Read and check the file."""
        content = self.source.read(self.source.get(self.data_dir))
        text = content["input.txt"].decode("ascii")
        cut = len(text) * 9 // 10
        return Parts(text[:cut], text[cut:], text[cut:])


class Hello(Characters):
    """The deck's word: four characters to say after four. All three parts are the word itself.

    There is nothing to generalise to: the validation loss says whether the word is known by heart.

    Args:
        batch_size: B; 1 is all there is room for.
        window: T, at most 4.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "hello"
    characters = "helo"  # in the slide's order
    prompt = "h"

    def __init__(self, batch_size: int = 1, window: int = 4):
        super().__init__(batch_size, window)

    def load(self) -> Parts:
        """The word, three times."""
        return Parts("hello", "hello", "hello")
