"""Files of a run folder read as plain data: JSON, YAML and CSV that may be damaged, or somebody else's.

No content runs code, blocks, or takes more memory than its file's size explains: devices and pipes, huge files, deep
nesting, aliases of YAML (a few lines of which may stand for 10^9 nodes) and numbers of thousands of digits are refused.
"""

import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

KIB, MIB = 2**10, 2**20
DEEPEST = 40  # lists and mappings inside one another; the config of a run has 6
DIGITS = 300  # of a whole number: more are no float
LONG_NUMBER = re.compile(r"[-+0-9_:.a-fA-FxX]+")  # also octal, hexadecimal and sexagesimal ones


class DamagedFileError(Exception):
    """A file that cannot be used; its message continues the file's name: `is no JSON`."""


def read_bytes(path: str | Path, limit: int) -> bytes:
    """Return the content of a file of at most `limit` bytes. Raises OSError where the file cannot be opened."""
    # a pipe would block, and a device has no end
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedFileError("is a directory" if stat.S_ISDIR(status.st_mode) else "is no regular file")
        if status.st_size > limit:
            raise DamagedFileError(f"is larger than {limit // KIB:,} KiB")
        content = os.read(handle, status.st_size + 1)
        while len(content) <= limit and (more := os.read(handle, MIB)):  # a file that grows; a server's short answer
            content += more
        return content
    finally:
        os.close(handle)


def read_text(path: str | Path, limit: int) -> str:
    """Return the content of a UTF-8 file, with or without a byte order mark."""
    try:
        return read_bytes(path, limit).removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise DamagedFileError("is no UTF-8 text") from error


def read_json(path: str | Path, limit: int = 32 * MIB) -> Any:
    """Return the content of a JSON file. Raises OSError and DamagedFileError."""
    text = read_text(path, limit)
    try:
        content = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError("is no JSON") from error
    if text.count("[") + text.count("{") > DEEPEST:
        _refuse_deep([content])
    if "\\u" in text:
        _refuse_surrogates(content)
    return content


def read_yaml(path: str | Path, limit: int = 512 * KIB) -> Any:
    """Return the content of a YAML file. Raises OSError and DamagedFileError."""
    return parse_yaml(read_text(path, limit))


def parse_yaml(text: Any) -> Any:
    """Return YAML as mappings with plain keys, lists, texts, numbers, booleans and None. Raises DamagedFileError."""
    if not isinstance(text, str):
        raise DamagedFileError("is no text")
    try:
        refuse_yaml_tricks(text)
        content = yaml.load(text, LOADER)
    except DamagedFileError:
        raise
    except Exception as error:  # PyYAML raises half a dozen unrelated types for `!!int ""` and the like
        raise DamagedFileError("is no YAML") from error
    _refuse_objects([content])
    return content


def refuse_yaml_tricks(text: str) -> None:
    """Raise a DamagedFileError for aliases, tags, deep nesting and huge values, before anything is built from them."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise DamagedFileError("holds aliases (*name), which a run never writes")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise DamagedFileError(f"is nested more than {DEEPEST} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > DIGITS and LONG_NUMBER.fullmatch(event.value):
            raise DamagedFileError(f"holds a number of more than {DIGITS} digits")
        if (tag := getattr(event, "tag", None)) not in (None, "!"):
            raise DamagedFileError(f"holds a tag ({tag}), which a run never writes")


LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast


def is_plain(value: Any) -> bool:
    """Return whether a value is None, a boolean, a number that a float can hold, or a text."""
    return value is None or type(value) in (bool, float, str) or (type(value) is int and abs(value) < 10**DIGITS)


def _parse_int(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError("too many digits")
    return int(text)


_JSON = json.JSONDecoder(parse_int=_parse_int)


def _refuse_deep(values: Iterable[Any], left: int = DEEPEST) -> None:
    for value in values:
        kind = type(value)
        if kind is dict or kind is list:
            if not left:
                raise DamagedFileError(f"is nested more than {DEEPEST} deep")
            _refuse_deep(value.values() if kind is dict else value, left - 1)


def _refuse_surrogates(content: Any) -> None:
    """Raise a DamagedFileError for texts with half of a surrogate pair, which no terminal and no file takes."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DamagedFileError("holds text that is no Unicode") from error


def _refuse_objects(values: Iterable[Any]) -> None:
    """Raise a DamagedFileError for dates, bytes and sets, and for keys that are mappings."""
    for value in values:
        if isinstance(value, dict):
            _refuse_objects(value.values())
            if not all(map(is_plain, value)):
                raise DamagedFileError("holds a key that is no text")
        elif isinstance(value, list):
            _refuse_objects(value)
        elif not is_plain(value):
            what = f"a number of more than {DIGITS} digits" if isinstance(value, int) else f"a {type(value).__name__}"
            raise DamagedFileError(f"holds {what}, and must hold texts and numbers only")
