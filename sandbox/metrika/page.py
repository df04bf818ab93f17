"""The page at `/`: what the simulator has accepted, for people. Everything that came from outside is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Any

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Metrika simulator</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; }}
table {{ border-collapse: collapse; margin-bottom: 2rem; }}
th, td {{ padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: left; }}
th {{ font-weight: 600; }}
</style>
</head>
<body>
<h1>Metrika simulator</h1>
<p>{uploads} uploads, {rows} rows, {distinct_rows} distinct, {doubled_rows} doubled.</p>
<h2>Answers since the start</h2>
{answers}
<h2>Latest rows</h2>
{latest}
<p>As JSON: <a href="/_control/summary">summary</a>, <a href="/_control/accepted">accepted rows</a>,
<a href="/_control/conversions?at_least=2">doubled conversions</a>, <a href="/_control/faults">scripted faults</a>,
<a href="/_control/config">configuration</a>.</p>
</body>
</html>
"""


def page_html(summary: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The page for `Simulator.summary()` and some rows of `Uploads.deliveries()`."""
    answers = [
        (operation, label, times) for operation, labels in summary["answers"].items() for label, times in labels.items()
    ]
    columns = list(rows[0]) if rows else []
    return _DOCUMENT.format(
        **{name: summary[name] for name in ("uploads", "rows", "distinct_rows", "doubled_rows")},
        answers=_table(("operation", "answer", "times"), answers),
        latest=_table(columns, (row.values() for row in rows)),
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = ("".join(f"<td>{escape('' if cell is None else str(cell))}</td>" for cell in row) for row in rows)
    lines = "\n".join(f"<tr>{cells}</tr>" for cells in body)
    return f"<table>\n<tr>{head}</tr>\n{lines}\n</table>" if lines else "<p>None.</p>"
