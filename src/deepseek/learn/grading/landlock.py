"""Writes only where they are allowed, held by the Linux kernel (Landlock, since 5.13) for a process and its children.

Needs no rights. Where the kernel has none, the guard of guard.py stands alone, which native code passes by.
Source: include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same number on every architecture
_SET_NO_NEW_PRIVILEGES = 38
_RULE_PATH_BENEATH = 1
_ASK_VERSION = 1
#: WRITE_FILE, REMOVE_DIR, REMOVE_FILE and MAKE_* of character devices to symbolic links.
_WRITES = 1 << 1 | sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # from versions 2 and 3
_FILE_WRITES = 1 << 1 | _TRUNCATE


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def restrict_writes(allowed: Sequence[Path]) -> bool:
    """From now on this process writes only below `allowed`. False where the kernel cannot hold it."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    if version < 1:
        return False
    handled = _WRITES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = _Ruleset(handled)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for path in allowed:
            if not path.exists():
                continue
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            access = handled if path.is_dir() else handled & _FILE_WRITES
            rule = _PathRule(access, parent)
            done = libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
            os.close(parent)
            if done:
                return False
        if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            return False
        return not libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
