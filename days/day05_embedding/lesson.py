"""Day 5: embedding, one block for each token."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import BFLOAT16, FLOAT32, INT32, check_array

THREADS = 256  # of a block; the kernel is compiled for this number
MAX_TOKENS = np.iinfo(np.int32).max  # blocks that one grid can have along x
MAX_HIDDEN = MAX_TOKENS + 1 - THREADS  # the kernel's column index is an int, and steps by THREADS past the last column
ELEMENTS = {FLOAT32: "float", BFLOAT16: "__nv_bfloat16"}


def token_ids(ids: Sequence[int], vocabulary: int) -> Any:
    """A text's token ids, checked and brought to the device: what `embedding` reads.

    Args:
        ids: on the host, as a tokenizer gives them. An empty text is a text.
        vocabulary: how many tokens there are; an id is at least 0 and less than that.

    Returns:
        [tokens], int32, on the device.

    Raises:
        ValueError: an id is not in the vocabulary; the message names the first such id, its position in `ids`, and how large
            the vocabulary is. Or they are no whole numbers, or none that 64 bits hold.
    """
    host = np.array(ids)
    if host.ndim != 1 or (host.size and host.dtype.kind not in "iu"):
        raise ValueError(f"ids has shape {host.shape}, {host.dtype}: expected [tokens], whole numbers of 64 bits")
    raise NotImplementedError("day 5: refuse ids that are not in the vocabulary, then bring the others to the device")


def embedding_kernel(dtype: np.dtype) -> Any:
    """The kernel in kernel.cu, compiled for a table of that dtype."""
    source = device.source_beside(__file__, "embedding.cu")
    return device.load_module(source, {"ELEMENT": ELEMENTS[dtype], "THREADS": THREADS}).get_function("embedding")


def check_arguments(ids: Any, table: Any) -> None:
    """Refuse what the kernel would misread. The ids themselves are not looked at: they are on the device.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("ids", ids, ("tokens",), INT32)
    check_array("table", table, ("vocabulary", "hidden"), *ELEMENTS)
    if ids.shape[0] > MAX_TOKENS:
        raise ValueError(f"ids has shape {ids.shape}: expected at most {MAX_TOKENS} tokens")
    if table.shape[1] > MAX_HIDDEN:
        raise ValueError(f"table has shape {table.shape}: expected at most {MAX_HIDDEN} columns")


def embedding(ids: Any, table: Any) -> Any:
    """The row of the table for each token.

    Args:
        ids: [tokens], int32, on the device, each in [0, vocabulary): from `token_ids`, or computed on the device.
        table: [vocabulary, hidden], float32 or bfloat16, on the device.

    Returns:
        A new array of `device.xp` (NumPy in the emulator, CuPy on a GPU), [tokens, hidden], dtype as the table, bit for bit.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(ids, table)
    raise NotImplementedError("day 5: launch the kernel with one block for each token")
