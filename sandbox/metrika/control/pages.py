"""The pages for people: what was accepted, and what can be configured. Everything that came from outside is escaped."""

import json
from collections.abc import Iterable, Sequence
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
th, td {{ padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }}
th {{ font-weight: 600; }}
pre {{ background: #f5f5f5; padding: .75rem; }}
</style>
</head>
<body>
<h1>Metrika simulator</h1>
<p><a href="/">What was accepted</a> · <a href="/_control">What can be configured</a></p>
{body}
</body>
</html>
"""
_EXAMPLES = """curl -X PATCH {url}/_control/config -d '{{"quota_status": 420, "bad_row": "lowers_line_quantity"}}'
curl {url}/_control/faults -d '[{{"match": "upload", "fault": "cut_after_accept", "times": 3}}]'
curl {url}/_control/faults -d '[{{"fault": "random", "probability": 0.2, "seed": 7, "times": null}}]'
curl {url}/_control/clock -d '{{"advance_days": 22}}'
curl -X PUT {url}/_control/goals/44147844 -d '["paid", "spam_lead"]'
curl {url}/_control/outage -d '{{"seconds": 5}}'"""


def overview_page(
    summary: dict[str, Any],
    *,
    counters: Sequence[dict[str, Any]],
    uploads: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    requests: Sequence[dict[str, Any]],
) -> str:
    """What was accepted: totals, by counter, the latest uploads, rows and requests."""
    answers = [
        (operation, label, times) for operation, labels in summary["answers"].items() for label, times in labels.items()
    ]
    rows_told = "{rows} rows: {distinct_rows} distinct, {overwritten_rows} overwritten, {doubled_rows} doubled"
    totals = "{uploads} uploads, " + rows_told + "; {orders} orders."
    parts = [
        f"<p>{totals.format(**summary)}</p>",
        "<h2>By counter</h2>",
        _objects(counters),
        "<h2>Latest uploads</h2>",
        _objects(uploads),
        "<h2>Answers since the start</h2>",
        _table(("operation", "answer", "times"), answers),
        "<h2>Latest requests</h2>",
        _objects(requests),
        "<h2>Latest rows</h2>",
        _objects(rows),
    ]
    return _DOCUMENT.format(body="\n".join(parts))


def configurable_page(
    url: str,
    *,
    settings: Iterable[Sequence[object]],
    faults: Iterable[Sequence[object]],
    operations: Iterable[str],
    routes: Iterable[Sequence[object]],
) -> str:
    """What can be configured: settings with their values, faults, routes, and commands to copy."""
    parts = [
        f"<pre>{escape(_EXAMPLES.format(url=url.rstrip('/')))}</pre>",
        "<h2>Routes</h2>",
        _table(("path", "methods", "what"), routes),
        "<h2>Settings</h2>",
        _table(("name", "now", "default", "what"), settings),
        "<h2>Faults</h2>",
        f"<p>A rule fails requests that <code>match</code> one of {escape(', '.join(operations))} (left out: any).</p>",
        _table(("fault", "what"), faults),
    ]
    return _DOCUMENT.format(body="\n".join(parts))


def _objects(found: Sequence[dict[str, Any]]) -> str:
    return _table(list(found[0]) if found else [], (one.values() for one in found))


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "\n".join("<tr>" + "".join(f"<td>{escape(_shown(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{lines}\n</table>" if lines else "<p>None.</p>"


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
