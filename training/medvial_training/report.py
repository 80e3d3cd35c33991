"""Self-contained HTML reports: one file, no network, fit to be mailed, printed and archived."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from medvial.outputs import write_bytes

TEMPLATES = Path(__file__).parent / "templates"
NOTHING = "–"  # a value that cannot be given
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def write_report(path: Path, template: Path, context: Mapping[str, Any]) -> None:
    """Fill a template and write it, whole or not at all; see `render`."""
    write_bytes(path, render(template, context).encode())


def render(template: Path, context: Mapping[str, Any]) -> Markup:
    """Fill a template.

    Args:
        template: A Jinja template named *.html, so that values are escaped; it may extend
            `base.html`.
        context: What the template names; a missing name is an error, never an empty place.

    Returns:
        HTML that another template takes as it is.
    """
    loader = FileSystemLoader([template.parent, TEMPLATES])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.lstrip_blocks = True
    environment.filters |= {"fixed": fixed, "signed": signed, "interval": interval}
    environment.globals["css"] = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return Markup(environment.get_template(template.name).render(context))


def figure_png(figure: Figure, dpi: int = 180) -> bytes:
    """A Matplotlib figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def image_uri(content: bytes) -> str:
    """The bytes of a PNG or JPEG file as a data URI."""
    kind = next(kind for magic, kind in _KINDS.items() if content.startswith(magic))
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals and a true minus sign; a dash for None."""
    if value is None:
        return NOTHING
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, digits: int = 2) -> str:
    """As `fixed`, with a plus sign before positive numbers."""
    text = fixed(value, digits)
    positive = value is not None and float(f"{value:.{digits}f}") > 0
    return f"+{text}" if positive else text


def interval(estimate: Mapping[str, float | None], digits: int = 2) -> str:
    """The ends of an estimate's interval, "1.17 to 1.29"; a dash if it has none."""
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return NOTHING
    return f"{fixed(low, digits)} to {fixed(high, digits)}"
