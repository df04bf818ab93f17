"""The consent page and the page that shows a code. Everything that came from outside is escaped."""

from collections.abc import Iterable, Mapping
from html import escape

_DOCUMENT = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 32rem; color: #222; }}
input, button {{ font: inherit; padding: .3rem .6rem; }} code {{ font-size: 1.4rem; }}</style></head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def consent_page(fields: Mapping[str, str], logins: Iterable[str]) -> str:
    """Asks a person who they are and whether they agree; `fields` are the request's, and come back with the answer."""
    hidden = "\n".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )
    known = "\n".join(f'<option value="{escape(login)}">' for login in logins)
    login = escape(fields.get("login_hint") or "shop")
    body = f"""<p>The application <b>{escape(fields["client_id"])}</b> asks for access to your Metrika counters
({escape(fields.get("scope") or "the scopes of its registration")}). This is a simulator: take any login.</p>
<form method="post" action="/authorize">
{hidden}
<p><label>Login <input name="login" list="logins" value="{login}" required></label></p>
<datalist id="logins">{known}</datalist>
<button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Deny</button>
</form>"""
    return _DOCUMENT.format(title="Yandex OAuth (simulator)", body=body)


def code_page(code: str) -> str:
    """Shows the code to be typed into the application, as Yandex does at `/verification_code`."""
    body = f"<p>Enter this code in the application:</p>\n<p><code>{escape(code)}</code></p>"
    return _DOCUMENT.format(title="Confirmation code", body=body)


def error_page(problem: str) -> str:
    """Says why there is no consent to give."""
    return _DOCUMENT.format(title="Yandex OAuth (simulator)", body=f"<p>{escape(problem)}</p>")
