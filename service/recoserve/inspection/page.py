"""Writes a map as an HTML page in one file: the SVG, a search field, and a script that loads nothing."""

import base64
import hashlib
from html import escape

from recoserve.inspection.drawing import Chart, svg

STYLE = """
body{margin:0;background:#f4f4f2;color:#333;font:14px system-ui,sans-serif}
main{max-width:1080px;margin:16px auto;padding:0 16px}
svg{display:block;width:100%;max-height:84vh;background:#fff;border:1px solid #dcdcda;border-radius:6px}
form{display:flex;gap:14px;align-items:center;margin:0 0 12px}
input{font:inherit;padding:6px 10px;width:280px;max-width:45%;border:1px solid #bbb;border-radius:6px}
output{flex:1;overflow:hidden;white-space:nowrap;text-overflow:ellipsis}
.key{cursor:pointer}.key.off{opacity:.35}.dots circle.off{opacity:.07}.dots circle.hit{stroke:#222;stroke-width:1.2;r:5px}
"""

# Titles come from whoever made the bundle, so the script writes them as textContent, never as markup.
SCRIPT = """
const field = document.querySelector('input'), output = document.querySelector('output');
const dots = [...document.querySelectorAll('.dots circle')], keys = [...document.querySelectorAll('.key')];
const title = dot => dot.querySelector('title').textContent;
let key = null;
function show() {
  const text = field.value.trim().toLowerCase();
  let hits = 0;
  for (const dot of dots) {
    const hit = title(dot).toLowerCase().includes(text) && (key === null || dot.classList.contains(key));
    dot.classList.toggle('off', !hit);
    dot.classList.toggle('hit', hit && text !== '');
    hits += hit;
  }
  for (const line of keys) line.classList.toggle('off', key !== null && line.dataset.key !== key);
  output.textContent = hits + ' of ' + dots.length + ' shown';
}
function choose(chosen) {
  key = key === chosen ? null : chosen;
  show();
}
for (const dot of dots) dot.addEventListener('mouseenter', () => { output.textContent = title(dot); });
for (const line of keys) line.addEventListener('click', () => choose(line.dataset.key));
field.addEventListener('input', show);
field.form.addEventListener('submit', event => event.preventDefault());
show();
"""


def html(chart: Chart) -> str:
    """The map as an HTML document; its Content-Security-Policy lets the browser run only this script, and load nothing."""
    policy = f"default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; script-src 'sha256-{_digest(SCRIPT)}'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(chart.heading)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<form><input type="search" placeholder="find a title" aria-label="find a title" autocomplete="off"><output></output></form>
{svg(chart)}</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
