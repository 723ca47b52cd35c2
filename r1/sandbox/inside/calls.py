"""Calls between two boxes: the test's code in one, the program in the other, plain data in between.

Test code (`assert f(2) == 4`) holds the expected answers, so it never shares a process with the program it judges. The program's
box serves calls; in the test's box a function of the program is a `Remote` that asks for them. What crosses over is JSON with
tags for Python's other plain types; an object of a class of the program stays where it is, and only a number for it crosses, so
its own idea of `==` is never asked. Each call carries a nonce: a line that the program prints by itself answers nothing.
"""

import itertools
import json
import sys

MOST_ITEMS = 10_000  # of an iterator


def encode(value, refs):
    """Plain data as JSON data. Exact types first, then what they derive from; all else becomes a number in `refs`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        value = int(value)
        return value if abs(value) < 1 << 62 else {"t": "int", "v": hex(value)}  # hex: no limit of digits, linear time
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [encode(v, refs) for v in value]
    if isinstance(value, dict):
        return {"t": "dict", "v": [[encode(k, refs), encode(v, refs)] for k, v in value.items()]}
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {"t": kind.__name__, "v": [encode(v, refs) for v in value]}
    if isinstance(value, bytes | bytearray):
        return {"t": type(value).__name__, "v": value.hex()}
    if isinstance(value, complex):
        return {"t": "complex", "v": [value.real, value.imag]}
    if isinstance(value, range):
        return {"t": "range", "v": [value.start, value.stop, value.step]}
    if isinstance(value, Remote):
        return {"t": "ref", "v": value._id}
    if type(value).__module__ == "collections" and type(value).__name__ == "deque":
        return {"t": "deque", "v": [encode(v, refs) for v in value]}
    if type(value).__name__ in ("Decimal", "Fraction"):
        return {"t": type(value).__name__, "v": str(value)}
    if type(value).__name__ in ("dict_keys", "dict_values", "dict_items"):
        return {"t": "tuple", "v": [encode(v, refs) for v in value]}
    if hasattr(type(value), "__next__"):
        return {"t": "iterator", "v": [encode(v, refs) for v in itertools.islice(value, MOST_ITEMS)]}
    refs.append(value)
    return {"t": "ref", "v": len(refs) - 1}


def decode(data, resolve):
    """The reverse; `resolve` says what a number stands for."""
    if isinstance(data, list):
        return [decode(v, resolve) for v in data]
    if not isinstance(data, dict):
        return data
    kind, value = data["t"], data["v"]
    if kind == "ref":
        return resolve(value)
    if kind == "int":
        return int(value, 16)
    if kind == "dict":
        return {decode(k, resolve): decode(v, resolve) for k, v in value}
    if kind in ("bytes", "bytearray"):
        return (bytes if kind == "bytes" else bytearray).fromhex(value)
    if kind in ("complex", "range"):
        return (complex if kind == "complex" else range)(*value)
    if kind in ("Decimal", "Fraction"):
        return getattr(__import__("decimal" if kind == "Decimal" else "fractions"), kind)(value)
    items = [decode(v, resolve) for v in value]
    if kind == "deque":
        return __import__("collections").deque(items)
    return {"tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter}[kind](items)


def serve(names):
    """In the program's box: answer calls until the other side is done."""
    refs = []
    requests, replies = open(3, "rb"), open(4, "wb", buffering=0)  # noqa: SIM115, process 1 gave us these
    write = replies.write

    def reply(*content):
        data = memoryview(json.dumps(content).encode() + b"\n")
        while data:
            data = data[write(data) :]

    for line in requests:
        nonce, target, attribute, arguments, keywords = json.loads(line)
        try:
            arguments = decode(arguments, refs.__getitem__)
            keywords = {name: decode(value, refs.__getitem__) for name, value in keywords.items()}
            before = [encode(a, refs) if isinstance(a, list | dict | set) else None for a in arguments]
            result = call(names, refs, target, attribute, arguments, keywords)
            result = encode(result, refs)
            # A function may work in place: say what has become of the arguments that can change.
            after = [encode(a, refs) if isinstance(a, list | dict | set) else None for a in arguments]
            changed = {str(i): a for i, (a, b) in enumerate(zip(after, before, strict=True)) if a != b}
        except Exception as error:
            reply(nonce, "raised", type(error).__name__, str(error)[:300])
        else:
            reply(nonce, "value", result, changed)


def call(names, refs, target, attribute, arguments, keywords):
    """`target(...)`, `target.attribute(...)`, or, for a method of a class that was never made, `target().attribute(...)`."""
    if isinstance(target, int):
        found = refs[target]
    elif target in names:
        found = names[target]
    elif isinstance(names.get("Solution"), type) and hasattr(names["Solution"], target):
        found = getattr(names["Solution"](), target)
    else:
        raise NameError(f"name {target!r} is not defined")
    if attribute:
        found = getattr(found, attribute)
    return found(*arguments, **keywords) if arguments is not None else found


class Remote:
    """In the test's box: something of the program, by name or by number. Calling it asks the other box."""

    def __init__(self, link, target, attribute=""):
        self._link, self._id, self._attribute = link, target, attribute

    def __call__(self, *arguments, **keywords):
        return self._link.call(self._id, self._attribute, arguments, keywords)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Remote(self._link, self._id, name)


class Link:
    """The line to the program's box."""

    def __init__(self, nonce):
        self.nonce, self.count = nonce, 0
        self.requests, self.replies = open(4, "wb", buffering=0), open(3, "rb")  # noqa: SIM115, process 1 gave us these

    def say(self, *content):
        data = memoryview(json.dumps(content).encode() + b"\n")
        while data:
            data = data[self.requests.write(data) :]

    def call(self, target, attribute, arguments, keywords):
        self.count += 1
        nonce = f"{self.nonce}/{self.count}"
        encoded = [encode(a, []) for a in arguments], {name: encode(value, []) for name, value in keywords.items()}
        self.say(nonce, target, attribute, *encoded)
        answer = json.loads(self.replies.readline() or b"[null]")
        if answer[0] != nonce:
            raise RuntimeError("the program answered out of turn")
        if answer[1] == "raised":
            raise self.exception(answer[2])(answer[3])
        for index, value in answer[3].items():
            self.update(arguments[int(index)], decode(value, self.remote))
        return decode(answer[2], self.remote)

    def remote(self, number):
        return Remote(self, number)

    @staticmethod
    def exception(name):
        kind = getattr(__builtins__, name, None) if not isinstance(__builtins__, dict) else __builtins__.get(name)
        return (
            kind if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError) else Exception
        )

    @staticmethod
    def update(old, new):
        if isinstance(old, list):
            old[:] = new
        else:
            old.clear()
            old.update(new)


def judge(nonce, setup, code, names):
    """In the test's box: run `setup`, then the test, with the program's functions by their names; say "done" at the end.

    Names that `setup` defines stay its own (a helper that the question gives), except those the test is about, in `names`.
    """
    sys.modules["__main__"].__dict__.clear()
    link = Link(nonce)
    space = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(setup, space)
    space.update({name: Remote(link, name) for name in names})
    exec(code, space)
    link.say(nonce, "done")
