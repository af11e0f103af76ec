"""The files of Multi30k; nothing here imports torch, so that `paceline data` answers at once.

The digests are those of the unpacked files, computed from a copy of the authors' repository.
"""

from __future__ import annotations

from ..files import DataFile, FileSource

MULTI30K = FileSource(
    name="multi30k",
    origin="Elliott, Frank, Sima'an and Specia (2016), 31,014 pairs German-English, "
    "arXiv:1605.00459",
    files=(
        DataFile(
            "train.de",
            2_110_398,
            "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
        ),
        DataFile(
            "train.en",
            1_801_238,
            "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
        ),
        DataFile(
            "val.de",
            75_981,
            "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
        ),
        DataFile(
            "val.en",
            63_297,
            "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
        ),
        DataFile(
            "test_2016_flickr.de",
            70_649,
            "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
        ),
        DataFile(
            "test_2016_flickr.en",
            62_076,
            "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
        ),
    ),
    url="https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw",
    layouts=("multi30k/data/task1/raw", "dataset/data/task1/raw"),
    remedies=("put the six original files into a folder and name it with `--data.data_dir`",),
)
