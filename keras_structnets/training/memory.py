"""What the process does with memory that is free again."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of mallopt(3)


def keep_memory() -> bool:
    """Keep memory that is free again for the next arrays, where glibc would give it back to Linux.

    On a CPU a step of training frees hundreds of MiB and asks for them again at once. By default
    glibc unmaps arrays above 32 MiB, and Linux then clears each page of the next ones: much of a
    step of JAX, see docs/backends.md. The commands of `structnets` call this. For `model.fit` in
    a program of your own call it once, before the first array. The process does not shrink then.

    Returns:
        Whether the C library is glibc, and so could be told; elsewhere nothing changes.

    Example:
        >>> import platform
        >>> ksn.training.keep_memory() == (platform.libc_ver()[0] == "glibc")
        True
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.gnu_get_libc_version and libc.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = {_M_TRIM_THRESHOLD: -1, _M_MMAP_MAX: 0, _M_ARENA_MAX: 1}  # one heap, never cut
    return all(map(mallopt, settings, settings.values()))
