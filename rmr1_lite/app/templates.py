"""The page's HTML, as templates that escape everything put into them."""

from __future__ import annotations

from jinja2 import Environment

# white space inside .rm-text is shown as is, so there must be none between the tags
_PIECES = """
{%- macro pieces(parts) -%}
{%- for part in parts -%}
{%- if part.cite is not none -%}<span class="rm-cite" role="button" tabindex="0" data-cite="{{ part.cite }}"
title="{{ part.title }}">{{ part.text }}</span>
{%- elif part.title -%}<span class="rm-astray" title="{{ part.title }}">{{ part.text }}</span>
{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{%- endmacro -%}
"""
JUDGMENT = (
    _PIECES
    + """
{%- macro block(part) %}
<section class="rm-part rm-{{ part.name }}" aria-label="{{ part.title }}"><h4>{{ part.title
}}{% if not part.closed %}
<span class="rm-busy" aria-hidden="true"></span>{% endif %}</h4><div
class="rm-text">{{ pieces(part.pieces) }}</div>
{%- if part.note %}<p class="rm-wrong">{{ part.note }}</p>{% endif %}</section>
{%- endmacro %}
<div class="rm-judgment" data-say="{{ say }}"{% if running %} data-running="yes"{% endif %}>
{% if head %}<h3>{{ head }}</h3>{% endif %}
{% if opened %}<div class="rm-notice rm-info">Opened from a file or a link: this shows what it holds.
Nothing was judged here.</div>{% endif %}
{% if summary %}<div class="{{ 'rm-progress' if running else 'rm-summary' }} rm-{{ summary.kind }}">
<strong>{{ summary.title }}</strong>
{% if orders %}<ul class="rm-orders" aria-label="Verdict by order">
{% for order in orders %}<li class="rm-order rm-{{ order.kind }}"><span>{{ order.title }}</span>
<b>{{ order.verdict }}</b></li>{% endfor %}
{% if agreement %}<li class="rm-agree rm-{{ agreement.kind }}"><b>{{ agreement.text }}</b></li>{% endif %}
</ul>{% endif %}
{% if summary.detail %}<span>{{ summary.detail }}</span>{% endif %}
{% if actions %}<div class="rm-actions">
<button type="button" data-save="{{ actions.file }}" data-name="{{ actions.name }}">Save as file</button>
<button type="button" data-copy="{{ actions.markdown }}">Copy as Markdown</button>
{% if actions.link %}<button type="button" data-link="{{ actions.link }}">Copy link</button>
{% else %}<small>Too long for a link; save it as a file.</small>{% endif %}
</div>{% endif %}
</div>{% endif %}
{% if sides %}<div class="rm-responses">
{% for side in sides %}<section class="rm-response" tabindex="0" aria-label="{{ side.title }}, as judged">
<h4>{{ side.title }} <small>as judged</small></h4><div class="rm-said">
{%- for text, cites in side.pieces -%}
{%- if cites -%}<mark data-cites=" {{ cites | join(' ') }} ">{{ text }}</mark>
{%- else -%}{{ text }}{%- endif -%}
{%- endfor -%}</div></section>{% endfor %}
</div>{% endif %}
{% if looks %}<div class="rm-looks">
{% for look in looks %}
<article class="rm-look" aria-label="{{ look.title }}"><header><b>{{ look.title }}</b>
<span class="rm-badge rm-{{ look.kind }}">{{ look.verdict }}</span></header>
{% if look.note %}<p class="rm-note">{{ look.note }}</p>{% endif %}
{% for part in look.parts %}{{ block(part) }}{% endfor %}
{% if look.text %}<details><summary>as written</summary><pre
class="rm-raw">{{ look.text }}</pre></details>{% endif %}
</article>
{% endfor %}
</div>{% endif %}
{% if differing %}<details class="rm-differ"><summary>Where the responses differ</summary><div
class="rm-responses">{% for title, parts in differing %}<section><h4>{{ title }}</h4><div class="rm-said">
{%- for text, only in parts -%}{%- if only -%}<ins>{{ text }}</ins>{%- else -%}{{ text }}{%- endif -%}
{%- endfor -%}</div></section>{% endfor %}</div></details>{% endif %}
</div>
"""
)
TABLE = """
<table class="rm-table"{% if say %} data-say="{{ say }}"{% endif %}><caption>{{ caption }}</caption>
<thead><tr>{% for name in head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table>
"""
NOTICE = '<div class="rm-notice rm-{{ kind }}" role="{{ role }}">{{ text }}</div>'
EMPTY = """
<div class="rm-empty"><p>{{ text }}</p>{% if keys %}<p><kbd>Ctrl</kbd>+<kbd>Enter</kbd> judges,
<kbd>Esc</kbd> stops.</p>{% endif %}</div>
"""
CARD = """
<div class="rm-card"><dl>{% for name, value, kind in rows %}<div class="rm-{{ kind or 'known' }}">
<dt>{{ name }}</dt><dd>{{ value }}</dd></div>{% endfor %}</dl></div>
"""
RESPONSES = """
<div class="rm-responses">{% for title, text in sides %}<section class="rm-response" tabindex="0"
aria-label="{{ title }}, as ranked"><h4>{{ title }}</h4><div class="rm-said">{{ text }}</div></section>
{% endfor %}</div>
"""
STATE = """
<div class="rm-notice rm-{{ kind }}" role="{{ role }}"><b>{{ spec }}</b>: {{ state }}{% if busy %}
<span class="rm-busy" aria-hidden="true"></span>{% endif %}{% if text %}<br>{{ text }}{% endif %}</div>
"""

_ENVIRONMENT = Environment(autoescape=True)
judgment, table, notice, empty, card, state, responses = map(
    _ENVIRONMENT.from_string, (JUDGMENT, TABLE, NOTICE, EMPTY, CARD, STATE, RESPONSES)
)
