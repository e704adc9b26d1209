"""Reads NVIDIA machine code (SASS), as ``nvdisasm -hex`` prints it.

How often each instruction of a warp runs follows from the code alone. A warp is traced through it with those
registers and predicates whose values are known: constants, and what is calculated from them, which includes
the counters of loops of known length. Branches of known direction are followed. Where the direction is
unknown, the trace goes on behind the branch.
"""

from __future__ import annotations

import collections
import re
import struct
from dataclasses import dataclass, field
from functools import cached_property

LINE = re.compile(
    r"^\s+/\*(?P<address>[0-9a-f]{4,})\*/\s+(?:@(?P<guard>!?U?P\w+)\s+)?(?P<name>[A-Z][\w.]*)\s*(?P<operands>.*?)"
    r"\s*;\s*/\* 0x(?P<low>[0-9a-f]{16}) \*/\s*\n\s*/\* 0x(?P<high>[0-9a-f]{16}) \*/",
    re.MULTILINE,
)
REGISTER = re.compile(r"U?R(\d+|Z)$")
PREDICATE = re.compile(r"U?P(\d|T)$")
WORD = 0xFFFFFFFF
MAX_STEPS = 5_000_000
"""Maximum length of a trace, in instructions."""


@dataclass(frozen=True)
class Instruction:
    """One instruction."""

    address: int
    guard: str
    """The predicate under which it runs, as printed, such as "!P0"; empty if it always runs."""
    name: str
    """The operation with its modifiers, such as "IADD3.X"."""
    operands: tuple[str, ...]
    control: int
    """The scheduling fields: cycles until the next instruction, barriers that it sets and waits for."""

    @cached_property
    def operation(self) -> str:
        """The name without modifiers."""
        return self.name.split(".")[0]

    @cached_property
    def modifiers(self) -> frozenset[str]:
        return frozenset(self.name.split(".")[1:])

    @cached_property
    def target(self) -> int | None:
        """The address to which a branch or call jumps."""
        if self.operation not in ("BRA", "CALL", "JMP") or not self.operands:
            return None
        last = self.operands[-1]
        return int(last, 16) if last.startswith("0x") else None

    @property
    def traps(self) -> bool:
        """Whether it only jumps to itself, as the code after a kernel's end does."""
        return self.target == self.address

    @property
    def stall(self) -> int:
        """Cycles until the next instruction of the warp can issue."""
        return self.control & 15

    @property
    def set_when_written(self) -> int:
        """The barrier that is held until the result is written; 7: none."""
        return self.control >> 5 & 7

    @property
    def set_when_read(self) -> int:
        """The barrier that is held until the operands are read; 7: none."""
        return self.control >> 8 & 7

    @property
    def waits_for(self) -> int:
        """Mask of the six barriers for which it waits."""
        return self.control >> 11 & 63


@dataclass
class Trace:
    """What a warp runs."""

    runs: dict[int, int]
    """How often each instruction runs, by address."""
    order: list[Instruction]
    """The traced instructions, in order, with repetitions."""
    unknown_loops: list[int] = field(default_factory=list)
    """Addresses of backward branches whose number of repetitions is unknown; their loops are counted once."""


def parse(text: str) -> list[Instruction]:
    """Returns the instructions of a dump by ``nvdisasm -hex`` or ``cuobjdump -sass``.

    Raises ValueError if there are none."""
    found = [
        Instruction(
            int(m["address"], 16),
            m["guard"] or "",
            m["name"],
            _operands(m["operands"]),
            int(m["high"], 16) >> 41,
        )
        for m in LINE.finditer(text)
    ]
    if not found:
        raise ValueError("this is not a dump of machine code by nvdisasm -hex.")
    return found


def _operands(text: str) -> tuple[str, ...]:
    text = text.replace("`", "").replace(".reuse", "")
    return tuple(part.strip() for part in text.split(",")) if text else ()


def trace(code: list[Instruction]) -> Trace:
    """Traces a warp through a kernel.

    Instructions that the trace leaves out, but that can be reached, run as often as the innermost loop around
    them, or once: the result is an upper bound where both sides of a branch exist, and where whole blocks are
    skipped because no lane needs them. Code that only diverged warps reach is left out.

    Raises ValueError if the trace does not end."""
    place = {instruction.address: number for number, instruction in enumerate(code)}
    values = _Values()
    visits: collections.Counter[int] = collections.Counter()
    order: list[Instruction] = []
    unknown: dict[int, None] = {}
    returns: list[int] = []
    at = 0
    while at < len(code):
        if len(order) > MAX_STEPS:
            raise ValueError(f"the trace does not end within {MAX_STEPS:,} instructions.")
        now = code[at]
        runs = values.holds(now.guard)
        at += 1
        if now.operation == "NOP" or now.traps:
            continue
        visits[now.address] += 1
        order.append(now)
        if now.operation == "EXIT" and runs:
            break
        if now.operation == "RET":
            if not returns:
                break
            at = returns.pop()
        elif now.operation == "CALL" and now.target is not None and runs is not False:
            returns.append(at)
            at = place[now.target]
        elif now.operation == "BRA" and now.target is not None:
            taken = _both(runs, values.branch_operand(now))
            if taken:
                at = place[now.target]
            elif taken is None and now.target < now.address and "DIV" not in now.modifiers:
                unknown[now.address] = None
        elif now.operation in ("BRX", "JMX", "JMP"):
            raise ValueError(f"the target of {now.name} at {now.address:#x} is unknown.")
        elif runs is not False:
            values.run(now, certain=runs is True)
    reached = _reachable(code, place)
    loops = [(b.target, b.address) for b in code if b.target is not None and b.target < b.address]
    counts = {}
    for number, instruction in enumerate(code):
        if instruction.operation == "NOP" or instruction.traps or number not in reached:
            continue
        if instruction.address in visits:
            counts[instruction.address] = visits[instruction.address]
            continue
        around = [loop for loop in loops if loop[0] <= instruction.address <= loop[1]]
        inner = min(around, key=lambda loop: loop[1] - loop[0], default=None)
        counts[instruction.address] = max(1, visits[inner[0]]) if inner is not None else 1
        backward = instruction.target is not None and instruction.target < instruction.address
        if (
            backward
            and instruction.operation == "BRA"
            and (instruction.guard or len(instruction.operands) > 1)
        ):
            unknown[instruction.address] = None
    return Trace(counts, order, list(unknown))


def _reachable(code: list[Instruction], place: dict[int, int]) -> set[int]:
    """Returns the numbers of the instructions that a converged warp can reach."""
    seen: set[int] = set()
    todo = [0]
    while todo:
        at = todo.pop()
        while at < len(code) and at not in seen:
            seen.add(at)
            now = code[at]
            if now.target is not None and "DIV" not in now.modifiers:
                todo.append(place[now.target])
            always = not now.guard and (now.operation != "BRA" or len(now.operands) == 1)
            if always and now.operation in ("EXIT", "RET", "BRA"):
                break
            at += 1
    return seen


def _both(a: bool | None, b: bool | None) -> bool | None:
    """Returns ``a and b``, of which each may be unknown."""
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


class _Values:
    """The known registers (unsigned words) and predicates of a warp's threads."""

    def __init__(self) -> None:
        self.registers: dict[str, int] = {"RZ": 0, "URZ": 0}
        self.predicates: dict[str, bool] = {"PT": True, "UPT": True}

    def holds(self, operand: str) -> bool | None:
        """Returns a predicate, such as "!P0"; True for the empty operand, None if it is unknown."""
        if not operand:
            return True
        value = self.predicates.get(operand.lstrip("!"))
        return None if value is None else value != operand.startswith("!")

    def branch_operand(self, branch: Instruction) -> bool | None:
        """Returns whether a branch's own condition holds; that of BRA.DIV is false in a converged warp."""
        if "DIV" in branch.modifiers:
            return False
        conditions = branch.operands[:-1]
        result: bool | None = True
        for condition in conditions:
            result = _both(result, self.holds(condition) if PREDICATE.match(condition.lstrip("!")) else None)
        return result

    def word(self, operand: str) -> int | None:
        """Returns the value of a source operand; None if it is unknown."""
        sign = operand.startswith("-")
        inverted = operand.startswith("~")
        name = operand.lstrip("-~")
        if name.startswith("0x"):
            value: int | None = int(name, 16)
        else:
            value = self.registers.get(name)
        if value is None:
            return None
        return (-value if sign else ~value if inverted else value) & WORD

    def run(self, instruction: Instruction, certain: bool) -> None:
        """Notes the results of an instruction.

        Args:
            instruction: the instruction.
            certain: whether it surely runs; otherwise its results become unknown.
        """
        registers, predicates = self._results(instruction)
        words, flags = self._calculate(instruction) if certain else ({}, {})
        for name in registers:
            self.registers.pop(name, None)
            if (word := words.get(name)) is not None:
                self.registers[name] = word & WORD
        for name in predicates:
            self.predicates.pop(name, None)
            if (flag := flags.get(name)) is not None:
                self.predicates[name] = flag
        self.registers.update(RZ=0, URZ=0)
        self.predicates.update(PT=True, UPT=True)

    def _results(self, instruction: Instruction) -> tuple[list[str], list[str]]:
        """Returns the registers and predicates that an instruction may write."""
        operands = instruction.operands
        if operands and operands[0] == "PR":  # all predicates
            return [], [f"P{number}" for number in range(7)]
        predicates = [name for name in operands[:3] if PREDICATE.match(name)]
        if instruction.operation in ("ISETP", "UISETP", "FSETP", "DSETP", "HSETP2", "PLOP3", "UPLOP3"):
            return [], predicates[:2]
        first = next((name for name in operands[:3] if REGISTER.match(name)), None)
        if first is None or not any(map(REGISTER.match, operands[:1] + tuple(predicates and operands[:3]))):
            return [], predicates
        kind, number = first.rstrip("0123456789Z"), first.lstrip("UR")
        if number == "Z":
            return [first], predicates
        return [f"{kind}{int(number) + k}" for k in range(_width(instruction))], predicates

    def _calculate(self, instruction: Instruction) -> tuple[dict[str, int | None], dict[str, bool | None]]:
        """Returns the values of the results of an instruction that loop counters are made of; nothing for
        other instructions."""
        operation, modifiers, operands = instruction.operation, instruction.modifiers, instruction.operands
        if operation in ("MOV", "UMOV"):
            return {operands[0]: self.word(operands[1])}, {}
        if operation == "CS2R" and operands[1] == "SRZ":
            number = int(operands[0][1:])
            return {f"R{number + k}": 0 for k in range(_width(instruction))}, {}
        if operation == "R2UR" or (operation == "S2UR" and operands[1] in self.registers):
            return {operands[0]: self.word(operands[1])}, {}
        if operation == "HFMA2" and operands[1:3] == ("-RZ", "RZ") and all(map(_is_number, operands[3:5])):
            high, low = (struct.pack("<e", float(operand)) for operand in operands[3:5])
            return {operands[0]: int.from_bytes(low + high, "little")}, {}  # a constant, as two halves
        if operation == "P2R" and operands[1] == "PR":
            return {operands[0]: self._packed(self.word(operands[2]), int(operands[3], 16))}, {}
        if operation in ("VIADD", "UVIADD"):
            return {operands[0]: _sum(self.word(operands[1]), self.word(operands[2]))}, {}
        if operation in ("IMAD", "UIMAD") and not modifiers & {"WIDE", "HI", "X"}:
            a, b, c = (self.word(operand) for operand in operands[-3:])
            if "MOV" in modifiers or a == 0 or b == 0:
                return {operands[0]: c}, {}
            return {operands[0]: None if None in (a, b, c) else a * b + c}, {}  # type: ignore[operator]
        if operation in ("IADD3", "UIADD3") or (operation in ("IMAD", "UIMAD") and "X" in modifiers):
            return self._add(instruction)
        if operation in ("ISETP", "UISETP"):
            return {}, self._compare(instruction)
        if operation in ("PLOP3", "UPLOP3"):
            return {}, self._combine(instruction)
        return {}, {}

    def _packed(self, word: int | None, mask: int) -> int | None:
        """Returns a word with those bits of ``mask`` replaced by the predicates of the same numbers."""
        flags = [self.holds(f"P{bit}") if mask >> bit & 1 else False for bit in range(7)]
        if word is None or None in flags or mask >> len(flags):
            return None
        return word & ~mask | sum(1 << bit for bit, flag in enumerate(flags) if flag)

    def _add(self, instruction: Instruction) -> tuple[dict[str, int | None], dict[str, bool | None]]:
        """Adds three words, with carries."""
        operands = instruction.operands
        carries = [name for name in operands[1:3] if PREDICATE.match(name)]
        sources = [name for name in operands[1 + len(carries) :] if not PREDICATE.match(name.lstrip("!"))][:3]
        incoming = [n for n in operands[1 + len(carries) :] if PREDICATE.match(n.lstrip("!"))]
        if instruction.operation in ("IMAD", "UIMAD"):  # a * b + c + carry
            a, b, c = (self.word(operand) for operand in sources)
            words = [0 if a == 0 or b == 0 else None if a is None or b is None else a * b, c]
        else:
            words = [self.word(operand) for operand in sources]
        if "X" in instruction.modifiers:
            for name in incoming:
                carry = self.holds(name)
                words.append(None if carry is None else int(carry))
        total = None
        if None not in words:
            total = sum(word for word in words if word is not None)
        # An addend -x is ~x + 1, whose carry out is that of the plain sum of words.
        flags: dict[str, bool | None] = {}
        if carries:
            flags[carries[0]] = None if total is None else total > WORD
        for name in carries[1:]:
            flags[name] = None if total is None else total > 2 * WORD + 1
        return {operands[0]: total}, flags

    def _compare(self, instruction: Instruction) -> dict[str, bool | None]:
        """Compares two words, or the upper words of longer numbers, given the result of the lower ones."""
        operands, modifiers = instruction.operands, instruction.modifiers
        a, b = self.word(operands[2]), self.word(operands[3])
        result: bool | None = None
        if a is not None and b is not None:
            if "U32" not in modifiers:
                a, b = (word - (1 << 32) if word >> 31 else word for word in (a, b))
            equal = a == b
            lower = self.holds(operands[5]) if "EX" in modifiers and len(operands) > 5 else None
            tie = modifiers & {"LE", "GE", "EQ"} != frozenset() if "EX" not in modifiers else lower
            if "EQ" in modifiers:
                result = equal and tie if equal else False
            elif "NE" in modifiers:
                result = (False if "EX" not in modifiers else lower) if equal else True
            elif modifiers & {"LT", "LE"}:
                result = tie if equal else a < b
            elif modifiers & {"GT", "GE"}:
                result = tie if equal else a > b
        other = self.holds(operands[4])
        first = second = None
        if "AND" in modifiers:
            first = _both(result, other)
            second = _both(None if result is None else not result, other)
        elif "OR" in modifiers and result is not None and other is not None:
            first, second = result or other, (not result) or other
        return {operands[0]: first, operands[1]: second}

    def _combine(self, instruction: Instruction) -> dict[str, bool | None]:
        """Looks three predicates up in a table."""
        results, sources = instruction.operands[:2], instruction.operands[2:5]
        tables = [int(operand, 16) for operand in instruction.operands[5:7]]
        flags = [self.holds(source) for source in sources]
        values: dict[str, bool | None] = {}
        for name, table in zip(results, tables, strict=False):
            outcomes = {
                bool(table >> (a * 4 + b * 2 + c) & 1)
                for a in _options(flags[0])
                for b in _options(flags[1])
                for c in _options(flags[2])
            }
            values[name] = outcomes.pop() if len(outcomes) == 1 else None
        return values


def _is_number(operand: str) -> bool:
    return operand.lstrip("+-")[:1].isdigit()


def _options(flag: bool | None) -> tuple[int, ...]:
    return (0, 1) if flag is None else (int(flag),)


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _width(instruction: Instruction) -> int:
    """Returns the number of registers that an instruction may write."""
    modifiers, operation = instruction.modifiers, instruction.operation
    if operation in ("HGMMA", "QGMMA", "IGMMA", "BGMMA"):
        shape = next(part for part in modifiers if re.fullmatch(r"\d+x\d+x\d+", part))
        return int(shape.split("x")[1]) // 2
    if "128" in modifiers or operation in ("HMMA", "IMMA") or (operation == "LDSM" and "4" in modifiers):
        return 4
    wide = modifiers & {"64", "WIDE", "F64"} or operation in ("DADD", "DMUL", "DFMA", "DMNMX")
    if wide or operation == "LDSM" or (operation == "CS2R" and "32" not in modifiers):
        return 2
    return 1
