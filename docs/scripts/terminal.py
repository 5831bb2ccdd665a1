"""Write a terminal's text as SVG, with colours for recurring parts and without loading a font."""

import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-family: ui-sans-serif, Arial, sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""
THEME = TerminalTheme(
    (24, 28, 38),
    (222, 226, 234),
    [
        (24, 28, 38),
        (240, 113, 120),
        (152, 195, 121),
        (229, 192, 123),
        (97, 175, 239),
        (198, 120, 221),
        (86, 182, 194),
        (171, 178, 191),
    ],
    [
        (134, 144, 162),
        (240, 113, 120),
        (152, 195, 121),
        (229, 192, 123),
        (97, 175, 239),
        (198, 120, 221),
        (86, 182, 194),
        (255, 255, 255),
    ],
)
STYLES = (
    (r"^reuse\b", "green"),
    (r"^run\b", "bold yellow"),
    (r"\b[0-9a-f]{16}\b", "bright_black"),
    (r"\b\d+(?:\.\d+)?%", "bold cyan"),
    (r"^(?:model|\s+task) .*$", "bold"),
    (r"^[├└│╭╰╮╯─ ]*(?=\w)|[─│├└╭╮╰╯┬▼]", "bright_black"),
)


def write(file: Path, command: str, text: str, *, columns: int) -> None:
    """Write a command and its output; lines that are too long end in ``…``."""
    console = Console(record=True, width=columns, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    console.print(Text.assemble(("$ ", "green"), (command, "bold")), overflow="ellipsis", no_wrap=True)
    for line in text.rstrip().splitlines():
        shown = Text(line)
        for pattern, style in STYLES:
            for match in re.finditer(pattern, line):
                shown.stylize(style, *match.span())
        console.print(shown, overflow="ellipsis", no_wrap=True)
    console.print()  # rich cuts off the last row of pixels
    svg = console.export_svg(title="", theme=THEME, code_format=FORMAT, unique_id=file.stem)
    file.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), encoding="utf-8")
