"""Write the C side of the instruction set and of the command line; run when the project is built.

python sandbox/plan/header.py plan_ops.h plan_ops.c options.h engine_options.h
"""

from __future__ import annotations

import hashlib
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from sandbox.cli.options import OPTIONS  # noqa: E402 (needs the path above)
from sandbox.engine import options as engine  # noqa: E402
from sandbox.plan.encode import MAX_SIZE  # noqa: E402
from sandbox.plan.inputs import InputKind  # noqa: E402
from sandbox.plan.layout import HEADER_SIZE, INPUT_SIZE, MAGIC, fields, instruction_set  # noqa: E402
from sandbox.plan.ops import OPS, STAGES, Early, Flag, HookStage, LabelKind, ReadinessMode, TerminalMode  # noqa: E402

C_TYPES = {
    "U32": "uint32_t",
    "U64": "uint64_t",
    "Text": "uint32_t",
    "Texts": "struct plan_texts",
    "Blob": "struct plan_blob",
}


def snake(name: str) -> str:
    """BindMount → bind_mount."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def build_id() -> str:
    """Return a digest of everything that decides what a plan looks like."""
    digest = hashlib.sha256()
    for top in ("sandbox", "profiles", "nsinit"):
        for directory, subdirectories, names in os.walk(os.path.join(ROOT, top)):
            subdirectories[:] = sorted(d for d in subdirectories if d != "__pycache__")
            for name in sorted(names):
                if name.endswith((".py", ".toml", ".c", ".h")):
                    path = os.path.join(directory, name)
                    with open(path, "rb") as file:
                        digest.update(os.path.relpath(path, ROOT).encode() + b"\0" + file.read() + b"\0")
    return digest.hexdigest()[:32]


def constants(
    prefix: str, numbers: type[InputKind | Flag | TerminalMode | HookStage | LabelKind | Early | ReadinessMode]
) -> list[str]:
    return [f"\t{prefix}_{name} = {value}," for name, value in vars(numbers).items() if name.isupper()]


def header() -> str:
    """Return plan_ops.h: the structures, and the executors that nsinit has to have."""
    lines = ["/* Generated from sandbox/plan/ops.py. */", "#pragma once", '#include "plan_types.h"', ""]
    lines += [f'#define PLAN_MAGIC "{MAGIC.decode()}"', f"#define PLAN_INSTRUCTION_SET {instruction_set():#x}u"]
    lines += [f"#define PLAN_MAX_SIZE {MAX_SIZE}u", f'#define BUILD_ID "{build_id()}"']
    lines += [f'_Static_assert(sizeof(struct plan_header) == {HEADER_SIZE}, "header");']
    lines += [f'_Static_assert(sizeof(struct plan_input) == {INPUT_SIZE}, "input");', ""]
    lines += ["enum plan_flag {", *constants("PLAN", Flag), "};"]
    lines += [f"#define PLAN_FLAGS {sum(value for name, value in vars(Flag).items() if name.isupper()):#x}u"]
    lines += ["enum plan_input_kind {", *constants("INPUT", InputKind), "};"]
    lines += ["enum plan_terminal_mode {", *constants("TERMINAL", TerminalMode), "};"]
    lines += ["enum plan_hook_stage {", *constants("HOOK", HookStage), "};"]
    lines += ["enum plan_label_kind {", *constants("LABEL", LabelKind), "};"]
    lines += ["enum plan_readiness_mode {", *constants("READINESS", ReadinessMode), "};"]
    lines += ["enum plan_early {", *constants("EARLY", Early), "};"]
    lines += ["enum plan_opcode {", *(f"\tOP_{snake(cls.__name__).upper()} = {code:#x}," for code, cls in OPS.items())]
    lines += ["};", "", "struct run;"]
    for code, cls in OPS.items():
        name = snake(cls.__name__)
        placed, size = fields(cls)
        lines += ["", f"struct plan_{name} {{", "\tstruct plan_op head;"]
        lines += [f"\t{C_TYPES[kind]} {field};" for field, kind, _ in placed]
        lines += ["} __attribute__((aligned(8)));"]
        lines += [f'_Static_assert(sizeof(struct plan_{name}) == {size}, "{name}");']
        if STAGES[code] != "monitor":
            lines += [f"int op_{name}(struct run *run, const struct plan_{name} *op);"]
    return "\n".join(lines) + "\n"


def crc_table() -> list[list[int]]:
    """Return the tables of a reflected CRC-32 that takes eight bytes at a time: table[k][b] is byte b, k bytes on."""
    first = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
        first.append(crc)
    tables = [first]
    for _ in range(7):
        tables.append([crc >> 8 ^ first[crc & 255] for crc in tables[-1]])
    return tables


def tables() -> str:
    """Return plan_ops.c: what a valid operation looks like, and the dispatcher's table."""
    lines = [
        "/* Generated from sandbox/plan/ops.py. */",
        '#include "plan.h"',
        '#include "run.h"',
        "",
        "#include <errno.h>",
        "",
    ]
    for cls in OPS.values():
        placed, _ = fields(cls)
        rows = ", ".join(f"{{ {offset}, FIELD_{kind.upper()} }}" for _, kind, offset in placed)
        lines += [
            f"static const struct plan_field fields_{snake(cls.__name__)}[] = {{ {rows or '{ 0, FIELD_U32 }'} }};"
        ]
    lines += ["", "const struct plan_schema plan_schemas[PLAN_OPCODES] = {"]
    for code, cls in OPS.items():
        name = snake(cls.__name__)
        placed, size = fields(cls)
        stage = f"STAGE_{STAGES[code].upper()}"
        lines += [f"\t[{code:#x}] = {{ {size}, {len(placed)}, {stage}, fields_{name} }},"]
    lines += ["};", "", "const uint32_t plan_crc_table[8][256] = {"]
    lines += [f"\t{{ {', '.join(f'{crc:#x}' for crc in row)} }}," for row in crc_table()]
    lines += ["};", "", "int plan_dispatch(struct run *run, const struct plan_op *op)", "{", "\tswitch (op->code) {"]
    for code, cls in OPS.items():
        if STAGES[code] != "monitor":
            name = snake(cls.__name__)
            lines += [f"\tcase OP_{name.upper()}:", f"\t\treturn op_{name}(run, (const struct plan_{name} *)op);"]
    lines += ["\tdefault:", '\t\treturn refuse_with(run, EINVAL, "plan", "");', "\t}", "}"]
    return "\n".join(lines) + "\n"


def options() -> str:
    """Return options.h: by which the launcher finds where the command of `run` begins, and takes a plain `exec`."""
    lines = ["/* Generated from sandbox/cli/options.py. */", "#pragma once", "", "struct option_entry {"]
    lines += ["\tconst char *name;", "\tchar letter;", "\tchar takes_value;", "\tchar keeps_plan;", "};", ""]
    for verb, table in (("run", "option_table"), ("exec", "exec_option_table")):
        lines += [f"static const struct option_entry {table}[] = {{"]
        for option in OPTIONS:
            if verb in option.verbs:
                letter = f"'{option.short[1]}'" if option.short else "0"
                row = f"{letter}, {int(bool(option.metavar))}, {int(option.keeps_plan)}"
                lines += [f'\t{{ "{name}", {row} }},' for name in option.names]
        lines += ["};"]
    return "\n".join(lines) + "\n"


def engine_options() -> str:
    """Return engine_options.h: by which sandbox-oci takes the plain spellings of the hot verbs itself."""
    hot = [engine.VERBS[name] for name in engine.HOT]
    everywhere = [*engine.GLOBAL, *(option for verb in hot for option in verb.options)]
    names = sorted({option.field for option in everywhere})
    lines = ["/* Generated from sandbox/engine/options.py. */", "#pragma once", ""]
    lines += ["enum engine_value {", *(f"\tENGINE_{name.upper()}," for name in names), "\tENGINE_VALUES,", "};"]
    lines += ["enum engine_verb {", *(f"\tVERB_{verb.name.upper()}," for verb in hot), "\tVERBS,", "};", ""]
    lines += ["struct engine_option {", "\tconst char *name;", "\tchar letter;", "\tchar takes_value;"]
    lines += ["\tchar keeps_plan;", "\tenum engine_value value;", "};", ""]
    lines += ["struct engine_verb_entry {", "\tconst char *name;", "\tint least, most; /* arguments; -1: any number */"]
    lines += ["\tint interspersed;", "\tconst struct engine_option *options;", "};", ""]
    for name, options in (("global", engine.GLOBAL), *((verb.name, verb.options) for verb in hot)):
        lines += [f"static const struct engine_option engine_{name}_options[] = {{"]
        for option in options:
            letter = f"'{option.short}'" if option.short else "0"
            row = f"{letter}, {int(option.takes_value)}, {int(option.keeps_plan)}, ENGINE_{option.field.upper()}"
            lines += [f'\t{{ "{option.long}", {row} }},']
        lines += ["\t{ 0 },", "};"]
    lines += ["static const struct engine_verb_entry engine_verbs[] = {"]
    for verb in hot:
        most = -1 if verb.most is None else verb.most
        row = f'"{verb.name}", {verb.least}, {most}, {int(verb.interspersed)}, engine_{verb.name}_options'
        lines += [f"\t[VERB_{verb.name.upper()}] = {{ {row} }},"]
    return "\n".join([*lines, "};"]) + "\n"


if __name__ == "__main__":
    texts = (header(), tables(), options(), engine_options())
    for path, text in zip(sys.argv[1:5], texts, strict=True):
        with open(path, "w") as file:
            file.write(text)
